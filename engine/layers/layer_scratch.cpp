#include "engine/layers/layer_scratch.h"

#include <algorithm>

#include "base/workspace.h"

namespace krasis {
namespace {

/// What is largest among the layers of a model: elements of a token's row, and bytes of workspaces.
struct Largest {
  std::int64_t max_context = 0;
  KvElement element = KvElement::Bf16;
  std::int64_t q = 0, kv = 0, dense_width = 0;
  std::size_t attention_workspace = 0;

  void operator()(const GroupedAttention& a) {
    q = std::max(q, std::int64_t{a.heads} * a.head_dim);
    kv = std::max(kv, std::int64_t{a.kv_heads} * a.head_dim);
    attention_workspace = std::max(attention_workspace, attention_workspace_bytes(1, a.heads, a.head_dim));
    if (element != KvElement::Fp8) return;
    attention_workspace = std::max(attention_workspace, widened_cache_bytes(max_context, a.kv_heads, a.head_dim));
  }
  void operator()(const DenseMlp& m) { dense_width = std::max(dense_width, m.width); }
  void operator()(const RoutedExperts&) {}  // all alike: ModelSpec::routed
};

}  // namespace

void LayerScratch::carve(Carver& carver, std::string_view place, const ModelSpec& spec, std::int64_t tokens,
                         std::int64_t max_context, KvElement kv_element, const ExpertLayout& expert) {
  Largest largest{.max_context = max_context, .element = kv_element};
  for (const LayerSpec& layer : spec.layers) {
    std::visit(largest, layer.mixer);
    std::visit(largest, layer.feed_forward);
  }
  carver(place, normed, tokens * spec.hidden);
  carver(place, attention.q, tokens * largest.q);
  carver(place, attention.k, tokens * largest.kv);
  carver(place, attention.v, tokens * largest.kv);
  carver(place, attention.attended, tokens * largest.q);
  const auto of_attention = [&](Carver& c) {
    c(place, attention.workspace, static_cast<std::int64_t>(largest.attention_workspace));
  };
  const auto of_experts = [&](Carver& c) {
    const std::size_t bytes = experts_workspace_bytes(tokens, spec.top_k(), expert);
    c(place, experts.workspace, static_cast<std::int64_t>(bytes));
  };
  carver.in_turn(place, of_attention, of_experts);
  carver(place, experts.router_logits, tokens * spec.experts());
  carver(place, experts.ids, tokens * spec.top_k());
  carver(place, experts.weights, tokens * spec.top_k());
  carver(place, mlp.gate, tokens * largest.dense_width);
  carver(place, mlp.up, tokens * largest.dense_width);
  carver(place, mlp.activated, tokens * largest.dense_width);
}

}  // namespace krasis

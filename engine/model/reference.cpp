#include "engine/model/reference.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "engine/model/qwen3_moe.h"
#include "kernels/host/operations/operations.h"

namespace krasis {
namespace {

/// One token's activations, and the KV cache of all layers; every vector is what its name says in the formulas.
class ReferencePass {
 public:
  ReferencePass(const PackedModel& model, KvElement kv_element, int tokens)
      : model_(model), c_(model.config), frequencies_(qwen3_moe::inverse_frequencies(model.config)) {
    residual_.resize(static_cast<std::size_t>(c_.hidden));
    normed_.resize(residual_.size());
    q_.resize(static_cast<std::size_t>(c_.heads * c_.head_dim));
    attended_.resize(q_.size());
    k_.resize(static_cast<std::size_t>(c_.kv_heads * c_.head_dim));
    v_.resize(k_.size());
    const auto width = static_cast<std::size_t>(std::max(c_.dense_width, c_.expert_width));
    gate_.resize(width);
    up_.resize(width);
    activated_.resize(width);
    router_logits_.resize(static_cast<std::size_t>(c_.experts));
    ids_.resize(static_cast<std::size_t>(c_.top_k));
    weights_.resize(ids_.size());
    workspace_.resize(std::max(experts_workspace_bytes(1, c_.top_k, model.gpu_expert_layout),
                               experts_workspace_bytes(1, c_.top_k, model.cpu_expert_layout)));
    const auto heads = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(c_.kv_heads);
    const bool fp8 = kv_element == KvElement::Fp8;
    planes_.resize(static_cast<std::size_t>(c_.layers) * 2);
    for (Plane& plane : planes_) {
      plane.values.resize(heads * static_cast<std::size_t>(c_.head_dim) * (fp8 ? 1 : 2));
      plane.scales.resize(fp8 ? heads : 0);
    }
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      caches_.push_back({kv_element, tokens, c_.kv_heads, c_.head_dim, planes_[2 * layer].view(), planes_[2 * layer + 1].view()});
    }
  }

  void step(std::int32_t id, std::int32_t position, const std::function<bool(int, int, int)>& on_gpu) {
    position_ = position;
    ops_.embedding({model_.embedding, {&id, 1}, view(residual_)});
    int expert_layer = 0;
    for (std::size_t l = 0; l < model_.layers.size(); ++l) {
      const PackedLayer& layer = model_.layers[l];
      attend(layer, caches_[l]);
      ops_.rms_norm({view(residual_), layer.post_attention_norm, view(normed_), c_.hidden, c_.rms_norm_epsilon});
      if (layer.gpu_experts.empty()) {
        dense_mlp(layer);
      } else {
        experts(layer, expert_layer++, on_gpu);
      }
    }
  }

  void logits(float* out) {
    ops_.rms_norm({view(residual_), model_.final_norm, view(normed_), c_.hidden, c_.rms_norm_epsilon});
    ops_.matmul({.x = view(normed_), .weight = model_.lm_head,
                 .out_f32 = {out, static_cast<std::size_t>(c_.vocabulary)}, .tokens = 1});
  }

 private:
  struct Plane {
    std::vector<std::byte> values;
    std::vector<float> scales;
    KvPlane view() { return {{values.data(), values.size()}, {scales.data(), scales.size()}}; }
  };
  template <class T>
  static View<T> view(std::vector<T>& v) {
    return {v.data(), v.size()};
  }

  void attend(const PackedLayer& layer, const KvCache& cache) {
    const SequenceSpan span{0, 1, 0};
    const Batch batch{1, {&position_, 1}, {&span, 1}};
    ops_.rms_norm({view(residual_), layer.input_norm, view(normed_), c_.hidden, c_.rms_norm_epsilon});
    ops_.matmul({.x = view(normed_), .weight = layer.q_proj, .out_bf16 = view(q_), .tokens = 1});
    ops_.matmul({.x = view(normed_), .weight = layer.k_proj, .out_bf16 = view(k_), .tokens = 1});
    ops_.matmul({.x = view(normed_), .weight = layer.v_proj, .out_bf16 = view(v_), .tokens = 1});
    ops_.head_norm({view(q_), layer.q_norm, c_.head_dim, c_.rms_norm_epsilon});
    ops_.head_norm({view(k_), layer.k_norm, c_.head_dim, c_.rms_norm_epsilon});
    ops_.rotary({view(q_), view(frequencies_), batch, c_.heads, c_.head_dim});
    ops_.rotary({view(k_), view(frequencies_), batch, c_.kv_heads, c_.head_dim});
    ops_.kv_append({view(k_), view(v_), cache, batch});
    ops_.attention({view(q_), cache, batch, view(attended_), c_.heads, 1.0f / std::sqrt(static_cast<float>(c_.head_dim))});
    ops_.matmul({.x = view(attended_), .weight = layer.o_proj, .accumulate = view(residual_), .tokens = 1});
  }

  void dense_mlp(const PackedLayer& layer) {
    const auto width = static_cast<std::size_t>(c_.dense_width);
    const View<float> gate = view(gate_).sub(0, width), up = view(up_).sub(0, width);
    const View<bf16> activated = view(activated_).sub(0, width);
    ops_.matmul({.x = view(normed_), .weight = layer.gate_proj, .out_f32 = gate, .tokens = 1});
    ops_.matmul({.x = view(normed_), .weight = layer.up_proj, .out_f32 = up, .tokens = 1});
    ops_.swiglu({gate, up, activated});
    ops_.matmul({.x = activated, .weight = layer.down_proj, .accumulate = view(residual_), .tokens = 1});
  }

  void experts(const PackedLayer& layer, int expert_layer, const std::function<bool(int, int, int)>& on_gpu) {
    ops_.matmul({.x = view(normed_), .weight = layer.router, .out_f32 = view(router_logits_), .tokens = 1});
    ops_.router({view(router_logits_), view(ids_), view(weights_), c_.experts, c_.top_k, c_.renormalize});
    for (const bool gpu : {true, false}) {
      const ExpertLayout& layout = gpu ? model_.gpu_expert_layout : model_.cpu_expert_layout;
      std::vector<std::int64_t> offsets(static_cast<std::size_t>(c_.experts), -1);
      for (int e = 0; e < c_.experts; ++e) {
        if (on_gpu(expert_layer, e, position_) == gpu) {
          offsets[static_cast<std::size_t>(e)] = static_cast<std::int64_t>(static_cast<std::size_t>(e) * layout.bytes());
        }
      }
      ops_.experts({view(normed_), view(ids_), view(weights_), gpu ? layer.gpu_experts : layer.cpu_experts,
                    {offsets.data(), offsets.size()}, layout, c_.top_k, view(residual_), view(workspace_)});
    }
  }

  const PackedModel& model_;
  const ModelConfig& c_;
  const HostOperations& ops_ = scalar_operations();
  std::vector<float> frequencies_;
  std::int32_t position_ = 0;
  std::vector<float> residual_, gate_, up_, router_logits_, weights_;
  std::vector<bf16> normed_, q_, k_, v_, attended_, activated_;
  std::vector<std::int32_t> ids_;
  std::vector<std::byte> workspace_;
  std::vector<Plane> planes_;
  std::vector<KvCache> caches_;
};

}  // namespace

Expected<std::vector<float>> reference_logits(const PackedModel& model, KvElement kv_element,
                                              std::span<const std::int32_t> tokens,
                                              std::span<const std::int32_t> positions,
                                              const std::function<bool(int, int, int)>& on_gpu,
                                              const std::function<bool(std::size_t, std::size_t)>& go_on) {
  const bool rising = std::is_sorted(positions.begin(), positions.end(), std::less_equal<>());
  if (tokens.empty() || !rising || (!positions.empty() && (positions.front() < 0 || static_cast<std::size_t>(positions.back()) >= tokens.size()))) {
    return fail(ErrorCode::InvalidArgument, fmt::format("{} positions do not fit {} tokens.", positions.size(), tokens.size()),
                "Give rising positions below the number of tokens.");
  }
  ReferencePass pass(model, kv_element, static_cast<int>(tokens.size()));
  const auto vocabulary = static_cast<std::size_t>(model.config.vocabulary);
  std::vector<float> logits(positions.size() * vocabulary);
  std::size_t next = 0;
  const std::size_t needed = positions.empty() ? 0 : static_cast<std::size_t>(positions.back()) + 1;
  for (std::size_t t = 0; t < needed; ++t) {
    pass.step(tokens[t], static_cast<std::int32_t>(t), on_gpu);
    if (positions[next] == static_cast<std::int32_t>(t)) pass.logits(logits.data() + vocabulary * next++);
    if (go_on && !go_on(t + 1, needed)) return fail(ErrorCode::Cancelled, "The reference was stopped.");
  }
  return logits;
}

}  // namespace krasis

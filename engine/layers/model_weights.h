#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/layers/dense_mlp.h"
#include "engine/layers/grouped_attention.h"
#include "engine/layers/precision.h"
#include "engine/layers/routed_experts.h"
#include "engine/model/model_spec.h"

namespace krasis {

/// Everything but the routed experts of one layer, in host memory or on the device that owns the layer. The
/// alternatives are those of its LayerSpec.
struct LayerWeights {
  std::variant<GroupedAttentionWeights> mixer;
  std::variant<DenseMlpWeights, RoutedExpertsWeights> feed_forward;

  LayerWeights() = default;
  explicit LayerWeights(const LayerSpec& layer) {
    std::visit([&]<class Part>(const Part&) { mixer.emplace<typename PartOf<Part>::Weights>(); }, layer.mixer);
    std::visit([&]<class Part>(const Part&) { feed_forward.emplace<typename PartOf<Part>::Weights>(); },
               layer.feed_forward);
  }
};

/// The weights of a layer (weight_slot.h): the mixer's, then the feed-forward part's.
template <class Visit, class... W>
void visit_layer(const LayerSpec& layer, std::int64_t hidden, Visit&& visit, W&... weights) {
  const auto mixer = [&]<class Part>(const Part& part) {
    visit_weights(part, hidden, visit, std::get<typename PartOf<Part>::Weights>(weights.mixer)...);
  };
  const auto feed_forward = [&]<class Part>(const Part& part) {
    visit_weights(part, hidden, visit, std::get<typename PartOf<Part>::Weights>(weights.feed_forward)...);
  };
  std::visit(mixer, layer.mixer);
  std::visit(feed_forward, layer.feed_forward);
}

/// What belongs to no layer. A tied `lm_head` has no slot of its own: it is the embedding, or a copy of it in another
/// precision.
struct HeadWeights {
  Matrix embedding;             ///< BF16 [vocabulary, hidden]
  Matrix lm_head;               ///< [vocabulary, hidden]
  View<const bf16> final_norm;  ///< [hidden]
};

inline WeightSlot lm_head_slot(const ModelSpec& spec) {
  return {"lm_head", spec.vocabulary, spec.hidden, WeightClass::LmHead, Draw::Gaussian, 1};
}

template <class Visit, class... W>
void visit_head(const ModelSpec& spec, Visit&& visit, W&... w) {
  visit(WeightSlot{"embedding", spec.vocabulary, spec.hidden, WeightClass::Exact, Draw::Embedding, 0}, w.embedding...);
  if (!spec.tied_embeddings) visit(lm_head_slot(spec), w.lm_head...);
  visit(norm_slot("final_norm", spec.hidden, 2, Draw::FinalNorm), w.final_norm...);
}

/// Whether the LM head is the embedding itself: tied, and not packed once more in another precision.
inline bool head_is_embedding(const ModelSpec& spec, const Precision& precision) {
  return spec.tied_embeddings && precision.lm_head == Element::Bf16;
}

/// The matrices of a layer's mixer as one piece of memory, vectors between them included: what streamed attention
/// copies.
struct StreamedRange {
  std::size_t begin = 0, end = 0;  ///< bytes from the layer's begin
  std::size_t bytes() const { return end - begin; }
};
StreamedRange streamed_range(const LayerSpec& layer, std::int64_t hidden, const Precision& precision);

/// Bytes of a layer without its experts, as packed one weight after another; and of embedding, head and final norm.
std::size_t layer_bytes(const LayerSpec& layer, std::int64_t hidden, const Precision& precision);
std::size_t head_bytes(const ModelSpec& spec, const Precision& precision);

/// Bytes of a packed model's regions in host memory: what the plan counts and the loader reserves.
struct PackedBytes {
  std::size_t dense = 0;  ///< everything but the experts
  std::size_t gpu_experts = 0;
  std::size_t cpu_experts = 0;  ///< 0 when the precisions are equal: one copy serves both
};
PackedBytes packed_bytes(const ModelSpec& spec, const Precision& precision);

/// The experts' block in a precision.
ExpertLayout expert_layout(const ModelSpec& spec, Element element, int group_size);

std::int64_t parameter_count(const ModelSpec& spec);         ///< in all
std::int64_t active_parameter_count(const ModelSpec& spec);  ///< per token, LM head included, embedding lookup not
/// "5 layers, hidden 256, 16 experts, top-4, 10.1 M parameters (3.9 M active)"
std::string model_summary(const ModelSpec& spec);

}  // namespace krasis

#pragma once

#include "base/workspace.h"
#include "engine/layers/weight_slot.h"
#include "engine/model/model_spec.h"

/// The shapes of RoutedExperts: weights and scratch. Its forward step, up to the experts, is in routed_experts.cpp; the
/// experts themselves are the pipelines' business: who computes them, and from which memory.
namespace krasis {

struct RoutedExpertsWeights {
  View<const bf16> norm;  ///< [hidden]
  Matrix router;          ///< BF16 [experts, hidden]
};
template <>
struct PartOf<RoutedExperts> {
  using Weights = RoutedExpertsWeights;
};

template <class Visit, class... W>
void visit_weights(const RoutedExperts& e, std::int64_t hidden, Visit&& visit, W&... w) {
  visit(norm_slot("feed_forward.norm", hidden, 4, Draw::RoutersNorm), w.norm...);
  visit(WeightSlot{"router", e.router.experts, hidden, WeightClass::Exact, Draw::Router, 11}, w.router...);
}

/// One expert, whose matrices lie in a block (base/format.h, ExpertLayout): calls visit(slot, matrix, offset) with
/// pointers to ExpertLayout's members: the matrix's layout, and the function that gives its offset in the block.
template <class Visit>
void visit_expert(const RoutedExperts& e, std::int64_t hidden, Visit&& visit) {
  using L = ExpertLayout;
  using enum WeightClass;
  visit(WeightSlot{"expert.gate_proj", e.width, hidden, Expert, Draw::Gaussian, 15}, &L::gate, &L::gate_offset);
  visit(WeightSlot{"expert.up_proj", e.width, hidden, Expert, Draw::Gaussian, 16}, &L::up, &L::up_offset);
  visit(WeightSlot{"expert.down_proj", hidden, e.width, Expert, Draw::ResidualWriter, 17}, &L::down, &L::down_offset);
}

struct RoutedExpertsScratch {
  View<float> router_logits;  ///< [tokens, experts]
  View<std::int32_t> ids;     ///< [tokens, top_k]: the picks
  View<float> weights;        ///< [tokens, top_k]
  View<std::byte> workspace;  ///< experts_workspace_bytes
};

}  // namespace krasis

#pragma once

#include "engine/layers/weight_slot.h"
#include "engine/model/model_spec.h"

/// The shapes of DenseMlp: weights and scratch. Its forward step is in dense_mlp.cpp.
namespace krasis {

struct DenseMlpWeights {
  View<const bf16> norm;      ///< [hidden]
  Matrix gate_proj, up_proj;  ///< [width, hidden]
  Matrix down_proj;           ///< [hidden, width]
};
template <>
struct PartOf<DenseMlp> {
  using Weights = DenseMlpWeights;
};

template <class Visit, class... W>
void visit_weights(const DenseMlp& m, std::int64_t hidden, Visit&& visit, W&... w) {
  visit(norm_slot("feed_forward.norm", hidden, 4, Draw::RoutersNorm), w.norm...);
  visit(WeightSlot{"mlp.gate_proj", m.width, hidden, WeightClass::DenseMlp, Draw::Gaussian, 12}, w.gate_proj...);
  visit(WeightSlot{"mlp.up_proj", m.width, hidden, WeightClass::DenseMlp, Draw::Gaussian, 13}, w.up_proj...);
  visit(WeightSlot{"mlp.down_proj", hidden, m.width, WeightClass::DenseMlp, Draw::ResidualWriter, 14}, w.down_proj...);
}

struct DenseMlpScratch {
  View<float> gate, up;  ///< [tokens, width]
  View<bf16> activated;  ///< [tokens, width]
};

}  // namespace krasis

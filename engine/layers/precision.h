#pragma once

#include "base/format.h"
#include "engine/layers/weight_slot.h"

namespace krasis {

/// The precision of each class of weights. Embedding, norms and routers stay BF16.
struct Precision {
  Element gpu_experts = Element::Int4;
  Element cpu_experts = Element::Int4;
  Element attention = Element::Int8;
  Element dense_mlp = Element::Int8;
  Element lm_head = Element::Int8;
  int group_size = 128;
  bool operator==(const Precision&) const = default;

  /// Of all but experts, which may have two.
  Element of(WeightClass weight_class) const {
    return weight_class == WeightClass::Attention  ? attention
           : weight_class == WeightClass::DenseMlp ? dense_mlp
           : weight_class == WeightClass::LmHead   ? lm_head
                                                   : Element::Bf16;
  }
  MatrixLayout layout(const WeightSlot& slot) const {
    return {fit_format(of(slot.weight_class), group_size, slot.columns), slot.rows, slot.columns};
  }
};

}  // namespace krasis

#pragma once

#include <vector>

#include "engine/layers/state_part.h"
#include "engine/layers/weight_slot.h"
#include "engine/model/model_spec.h"

/// The shapes of GroupedAttention: weights, state and scratch. Its forward step is in grouped_attention.cpp.
namespace krasis {

struct GroupedAttentionWeights {
  View<const bf16> norm;            ///< [hidden]
  Matrix q_proj;                    ///< [heads * head_dim, hidden]
  Matrix k_proj, v_proj;            ///< [kv_heads * head_dim, hidden]
  View<const bf16> q_norm, k_norm;  ///< [head_dim]; empty without qk_norm
  Matrix o_proj;                    ///< [hidden, heads * head_dim]
};
template <>
struct PartOf<GroupedAttention> {
  using Weights = GroupedAttentionWeights;
};

template <class Visit, class... W>
void visit_weights(const GroupedAttention& a, std::int64_t hidden, Visit&& visit, W&... w) {
  using enum WeightClass;
  const std::int64_t q_rows = std::int64_t{a.heads} * a.head_dim;
  const std::int64_t kv_rows = std::int64_t{a.kv_heads} * a.head_dim;
  visit(norm_slot("attention.norm", hidden, 3), w.norm...);
  visit(WeightSlot{"attention.q_proj", q_rows, hidden, Attention, Draw::Gaussian, 7}, w.q_proj...);
  visit(WeightSlot{"attention.k_proj", kv_rows, hidden, Attention, Draw::Gaussian, 8}, w.k_proj...);
  visit(WeightSlot{"attention.v_proj", kv_rows, hidden, Attention, Draw::Gaussian, 9}, w.v_proj...);
  if (a.qk_norm) {
    visit(norm_slot("attention.q_norm", a.head_dim, 5), w.q_norm...);
    visit(norm_slot("attention.k_norm", a.head_dim, 6), w.k_norm...);
  }
  visit(WeightSlot{"attention.o_proj", hidden, q_rows, Attention, Draw::ResidualWriter, 10}, w.o_proj...);
}

/// Keys and values of every position.
inline std::vector<StatePart> state_parts(const GroupedAttention& a, KvElement element) {
  return {PositionState{"keys", element, a.kv_heads, a.head_dim, a.heads},
          PositionState{"values", element, a.kv_heads, a.head_dim, a.heads}};
}

struct GroupedAttentionScratch {
  View<bf16> q, attended;     ///< [tokens, heads, head_dim]
  View<bf16> k, v;            ///< [tokens, kv_heads, head_dim]
  View<std::byte> workspace;  ///< AttentionArgs::workspace: for a decode step, and for an FP8 cache of all positions
};

}  // namespace krasis

#pragma once

#include "engine/layers/carver.h"
#include "engine/layers/dense_mlp.h"
#include "engine/layers/grouped_attention.h"
#include "engine/layers/routed_experts.h"
#include "engine/model/model_spec.h"

namespace krasis {

/// Activations of up to some number of tokens on one device: enough for each kind of layer of a model. Contents are
/// undefined between steps, but for `normed` and the picks, which a routed layer leaves for its experts.
struct LayerScratch {
  View<bf16> normed;  ///< [tokens, hidden]
  GroupedAttentionScratch attention;
  DenseMlpScratch mlp;
  RoutedExpertsScratch experts;

  /// Asks `carver` for all of it, as `place`.
  ///
  /// @param tokens       of a step
  /// @param max_context  of a sequence
  /// @param expert       the block that the device's experts operation computes with
  void carve(Carver& carver, std::string_view place, const ModelSpec& spec, std::int64_t tokens,
             std::int64_t max_context, KvElement kv_element, const ExpertLayout& expert);
};

}  // namespace krasis

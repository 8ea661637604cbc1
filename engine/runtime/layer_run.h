#pragma once

#include "engine/layers/layer_step.h"
#include "engine/runtime/picks.h"
#include "engine/runtime/streamed_attention.h"

namespace krasis {

/// Tokens that pass through a layer together on the device that owns it.
struct LayerTokens {
  Batch batch;
  View<float> residual;   ///< [batch.tokens, hidden]
  std::size_t first = 0;  ///< their place in the hooks
  bool first_use = true;  ///< of the layer in this pass: its mixer's matrices may still have to arrive
  bool last_use = true;   ///< of the layer in this pass
};

/// Enqueues one layer of prefill or decode: its mixer, its feed-forward part and, where it has experts, the hooks and
/// then `experts()`, which adds what the picked ones give to the residual.
template <class Experts>
void run_layer(const ModelSpec& spec, DeviceState& owner, StreamedAttention& attention, std::int64_t layer,
               std::int64_t expert_layer, const LayerTokens& tokens, const PickHooks& hooks, const Experts& experts) {
  const auto l = static_cast<std::size_t>(layer);
  const LayerStep step{spec,
                       spec.layers[l],
                       owner.weights[l],
                       owner.inverse_frequencies[l],
                       owner.sequence.layer(layer),
                       tokens.batch,
                       tokens.residual,
                       owner.scratch,
                       owner.max_context};
  if (tokens.first_use) attention.acquire(layer);
  mix(*owner.device, owner.compute, step);
  if (tokens.last_use) attention.release(layer);
  feed_forward(*owner.device, owner.compute, step);
  if (!spec.has_experts(layer)) return;
  apply_hooks(owner, spec, hooks, expert_layer, tokens.first, static_cast<std::size_t>(tokens.batch.tokens));
  experts();
}

}  // namespace krasis

#include "engine/runtime/picks.h"

#include <algorithm>

namespace krasis {

void apply_hooks(DeviceState& state, const ModelSpec& spec, const PickHooks& hooks, std::int64_t expert_layer,
                 std::size_t first, std::size_t count) {
  const auto top_k = static_cast<std::size_t>(spec.top_k());
  const std::size_t size = count * top_k;
  const std::size_t offset = (static_cast<std::size_t>(expert_layer) * hooks.tokens + first) * top_k;
  const View<std::int32_t> ids = state.scratch.experts.ids.sub(0, size);
  const View<float> weights = state.scratch.experts.weights.sub(0, size);
  Device& device = *state.device;
  if (hooks.recorded != nullptr) {
    copy(device, state.compute, View<std::int32_t>{hooks.recorded->ids.data() + offset, size}, ids, "record picks");
    copy(device, state.compute, View<float>{hooks.recorded->weights.data() + offset, size}, weights, "record picks");
  }
  if (hooks.forced != nullptr) {
    copy(device, state.compute, ids, View<const std::int32_t>{hooks.forced->ids.data() + offset, size}, "force picks");
    copy(device, state.compute, weights, View<const float>{hooks.forced->weights.data() + offset, size}, "force picks");
  }
  if (hooks.count) {
    const auto experts = static_cast<std::size_t>(spec.experts());
    device.run(state.compute,
               CountExpertsArgs{ids, state.pick_counts.sub(static_cast<std::size_t>(expert_layer) * experts, experts)});
  }
}

}  // namespace krasis

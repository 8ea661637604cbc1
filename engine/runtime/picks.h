#pragma once

#include "engine/runtime/device_state.h"
#include "engine/runtime/engine.h"

namespace krasis {

/// What evaluation does with the router's choice on its way to the experts. Both default to nothing.
struct PickHooks {
  const RouterPicks* forced = nullptr;
  RouterPicks* recorded = nullptr;
  std::size_t tokens = 0;  ///< of the whole sequence: the picks' second dimension
  bool count = false;      ///< adds to the heatmap
};

/// Enqueues, behind the router: record, replace and count the picks of tokens [first, first + count) of one layer.
void apply_hooks(DeviceState& state, const ModelSpec& spec, const PickHooks& hooks, std::int64_t expert_layer,
                 std::size_t first, std::size_t count);

}  // namespace krasis

#pragma once

#include <span>
#include <vector>

#include "engine/runtime/picks.h"

namespace krasis {

/// Prefill by layer groups: group g+1's experts are copied while group g computes; each weight crosses the link once per
/// prompt, since all chunks of the prompt pass through a group before the next one (group outside, chunk inside).
///
/// Ordering: a device's copy stream fills group buffer b; its compute stream waits for that ("group is loaded"), and the
/// next copy into b waits for the compute stream's last use of it ("group buffer is free"). Between groups of different
/// devices the residual moves ("residual arrives").
class Prefill {
 public:
  Prefill(const PackedModel& model, const RunConfiguration& configuration, const std::vector<LayerGroup>& groups,
          std::span<DeviceState> devices)
      : model_(model), configuration_(configuration), groups_(groups), devices_(devices) {}

  /// Enqueues the prefill of the first `tokens` of device 0's `prompt`, whose chunk spans are on every device.
  /// Afterwards the residual of all tokens is on device 0, on whose compute stream everything is ordered.
  void enqueue(std::int64_t tokens, const PickHooks& hooks);

 private:
  void load(std::size_t group, Event buffer_is_free);
  void compute(std::size_t group, std::int64_t tokens, const PickHooks& hooks);
  /// The next group after `group` that the same device loads into the same buffer; groups_.size() = none.
  std::size_t next_of_buffer(std::size_t group) const;

  const PackedModel& model_;
  const RunConfiguration& configuration_;
  const std::vector<LayerGroup>& groups_;
  std::span<DeviceState> devices_;
  std::vector<Event> loaded_;  ///< [groups]
};

/// The first `elements` of the residual, from one device to another, ordered behind the first one's compute stream.
void move_residual(DeviceState& from, DeviceState& to, std::size_t elements);

}  // namespace krasis

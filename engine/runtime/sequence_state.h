#pragma once

#include <vector>

#include "engine/layers/state_part.h"
#include "kernels/device.h"

namespace krasis {

/// What one sequence has left behind in the layers of one device. Rows of positions beyond its length hold nothing of
/// meaning; fixed parts have seen every position, so they begin at zero and go back only to where they were saved.
/// All functions enqueue on a stream; the order of their copies with the layers' steps is that stream's.
class SequenceState {
 public:
  SequenceState() = default;
  /// `parts` and `memory`: [layers], one as long as the other in each. The memory is the caller's and outlives this.
  SequenceState(std::vector<std::vector<StatePart>> parts, std::vector<LayerState> memory);

  /// A new sequence begins.
  void begin(Device& device, Stream stream) const;
  /// Whether the sequence may be cut back to any earlier position: only where no part is fixed.
  bool can_truncate() const { return fixed_.empty(); }
  /// Of all fixed parts.
  std::size_t snapshot_bytes() const;
  /// Copies the fixed parts to `snapshot`, snapshot_bytes() of any memory, or back from there.
  void save(Device& device, Stream stream, View<std::byte> snapshot) const;
  void restore(Device& device, Stream stream, View<const std::byte> snapshot) const;

  const LayerState& layer(std::int64_t layer) const { return memory_[static_cast<std::size_t>(layer)]; }

 private:
  std::vector<LayerState> memory_;
  std::vector<View<std::byte>> fixed_;
};

}  // namespace krasis

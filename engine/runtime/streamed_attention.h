#pragma once

#include <span>
#include <vector>

#include "engine/runtime/device_state.h"

namespace krasis {

/// Attention weights that live in host memory alone: each pass through the layers copies them into their places on the
/// devices (DeviceMemory::streamed_places), the next layers' behind the current layers' compute. Does nothing where
/// attention is resident.
///
/// Ordering: a device's copy stream fills a place, the compute stream waits for it before the layer's attention
/// ("attention is loaded"); the place's next layer is copied behind that attention ("attention buffer is free"), the first
/// layers of a pass behind the pass before ("last attention is done").
class StreamedAttention {
 public:
  StreamedAttention(const PackedModel& model, std::span<DeviceState> devices);

  /// While paused, layers compute with whatever lies in their places: as fast as resident ones, and wrong.
  void pause(bool paused) { paused_ = paused; }
  /// Begins a pass: enqueues the copies of the layers that come first in their places.
  void begin();
  /// The layer's attention is enqueued next on its owner's compute stream.
  void acquire(std::int64_t layer);
  /// It has been, for the last time in this pass.
  void release(std::int64_t layer);
  /// Bytes that one pass copies.
  std::size_t bytes() const;

 private:
  struct Layer {
    DeviceState* owner = nullptr;  ///< null: resident
    View<std::byte> place;
    View<const std::byte> weights;
    bool first = false;      ///< in its place
    std::int64_t next = -1;  ///< in its place
    Event loaded;
  };
  void load(Layer& layer);

  std::vector<Layer> layers_;  ///< [layers]
  bool paused_ = false;
};

/// The StreamedRange of a layer in host memory.
View<const std::byte> streamed_weights(const PackedModel& model, std::int64_t layer);

}  // namespace krasis

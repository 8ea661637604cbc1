#pragma once

#include <vector>

#include "engine/placement/engine_memory.h"
#include "engine/runtime/sequence_state.h"
#include "engine/weights/packed_model.h"
#include "kernels/device.h"

namespace krasis {

/// Host arrays that are copied to every device once.
struct HostConstants {
  std::vector<std::int32_t> positions;       ///< [max_context] 0, 1, 2, ...
  std::vector<std::int64_t> stream_offsets;  ///< [layers with experts, experts]: nothing is cached
  std::vector<SequenceSpan> decode_span;     ///< [1]
  std::vector<std::int64_t> zero{0};

  HostConstants(const PackedModel& model, const RunConfiguration& configuration);
};

/// One device of the engine: streams, and the memory that the plan measured.
struct DeviceState : DeviceMemory {
  Device* device = nullptr;
  int index = 0;
  Stream compute, loader;
  std::vector<std::int64_t> layers;    ///< that it owns
  SequenceState sequence;              ///< of those
  int max_context = 0;                 ///< positions that it has rows for
  View<const std::byte> cache_memory;  ///< what cache_offsets count in: cache_pool, and group buffers lent to it
  std::vector<std::vector<View<const std::byte>>>
      cached_blocks;            ///< [layers with experts]: what cache_offsets name (ExpertsArgs::blocks)
  std::vector<Buffer> buffers;  ///< owns what the views show

  /// Allocates all of it and enqueues the copies of resident weights and constants. `model` and `constants` stay alive
  /// until they are done.
  static Expected<DeviceState> create(Device& device, int index, const PackedModel& model,
                                      const RunConfiguration& configuration, const HostConstants& constants);

 private:
  void enqueue_uploads(const PackedModel& model, const HostConstants& constants);
};

}  // namespace krasis

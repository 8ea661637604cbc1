#pragma once

#include <vector>

#include "engine/model/qwen3_moe.h"
#include "engine/placement/plan.h"
#include "engine/runtime/resident_weights.h"
#include "engine/runtime/sequence_state.h"

namespace krasis {

/// A run of `lgs` layers whose experts are on a device together while prefilling.
struct LayerGroup {
  std::int64_t first = 0;
  std::int64_t count = 0;
  int owner = 0;          ///< device
  int buffer = 0;         ///< of the owner's group buffers
  std::size_t bytes = 0;  ///< of all its experts; 0 = only dense layers, nothing to load
};

std::vector<LayerGroup> layer_groups(const PackedModel& model, const RunConfiguration& configuration);

/// Everything that the engine keeps on one device: streams, weights, KV cache, activations, buffers and tables.
struct DeviceState {
  Device* device = nullptr;
  int index = 0;
  Stream compute, loader;
  std::vector<std::int64_t> layers;  ///< that it owns
  ResidentWeights resident;
  SequenceState sequence;

  qwen3_moe::Workspace workspace;     ///< of one chunk
  View<float> residual;               ///< [max_context, hidden]
  View<std::int32_t> prompt_positions; ///< [max_context], 0, 1, 2, ...
  View<SequenceSpan> chunk_span;      ///< [2]: of a whole chunk and of the last one
  View<std::int32_t> position;        ///< [1], of the token that decode works on
  View<SequenceSpan> decode_span;     ///< [1]
  View<std::int32_t> id, token;       ///< [1] each: the step's input, the sampled output (device 0; others: idle copies)
  View<float> cpu_sum, cached_sum;    ///< [most_together, hidden] each: experts computed elsewhere

  /// Streamed attention: [layers of the model], where q, k, v and o of its own layers are copied to. Two buffers of a group
  /// each in turn, a place for each layer. Empty if attention is resident.
  std::vector<View<std::byte>> attention_places;
  std::vector<Buffer> group_buffers;
  View<std::int64_t> stream_offsets;  ///< [layers with experts, experts]: expert e is the e-th block of its slot; -1 = cached here
  Buffer cache_pool;                  ///< the expert cache
  View<const std::byte> cache_memory; ///< what cache_offsets count in: cache_pool, and group buffers lent to it
  View<std::int64_t> cache_offsets;   ///< [layers with experts, experts], -1 = not cached here
  View<std::int64_t> gathered;        ///< [1]: blocks that gather_experts copied since the start
  std::vector<std::vector<View<const std::byte>>> cached_blocks;  ///< [layers with experts]: what cache_offsets name (ExpertsArgs::blocks)
  View<std::int64_t> pick_counts;     ///< [layers with experts, experts]: the heatmap, if hcs needs one

  // Device 0 alone
  View<std::int32_t> prompt;          ///< [max_context]
  View<std::int32_t> history;         ///< [max_context]
  View<float> logits;                 ///< [vocabulary]
  View<SamplingState> sampling;       ///< [1]

  std::vector<Buffer> buffers;        ///< owns what the views above show

  /// Allocates all of it as the plan says and enqueues the constant parts' copies. `frequencies` and `constants` stay
  /// alive until they are done.
  static Expected<DeviceState> create(Device& device, int index, const PackedModel& model,
                                      const RunConfiguration& configuration, const std::vector<LayerGroup>& groups,
                                      View<const float> frequencies, const struct HostConstants& constants);
};

/// Up to how many tokens a prompt may take its picked experts alone.
std::int64_t most_picked(const RunConfiguration& configuration);

/// How many tokens may pass between devices and CPU experts together: a short prompt's.
std::int64_t most_together(const RunConfiguration& configuration);

/// Host arrays that are copied to every device once.
struct HostConstants {
  std::vector<std::int32_t> positions;       ///< [max_context] 0, 1, 2, ...
  std::vector<std::int64_t> stream_offsets;  ///< [layers with experts, experts]: nothing is cached
  std::vector<SequenceSpan> decode_span;     ///< [1]
  std::vector<std::int64_t> zero{0};
};

}  // namespace krasis

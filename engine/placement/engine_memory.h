#pragma once

#include <cstdint>
#include <vector>

#include "engine/config/run_configuration.h"
#include "engine/layers/carver.h"
#include "engine/layers/layer_scratch.h"
#include "engine/layers/layer_state.h"
#include "engine/layers/model_weights.h"
#include "engine/placement/layer_groups.h"
#include "kernels/operations.h"

/// All memory of an engine beside the packed weights, declared once: the plan measures what the engine allocates.
namespace krasis {

/// The names of places, as plans and memory reports have them.
namespace place {
inline constexpr std::string_view kResident = "resident weights";
inline constexpr std::string_view kStreamed = "attention buffers";
inline constexpr std::string_view kHead = "embedding and head";
inline constexpr std::string_view kGroups = "group buffers";
inline constexpr std::string_view kState = "kv cache";
inline constexpr std::string_view kActivations = "activations";
inline constexpr std::string_view kTables = "expert tables";
inline constexpr std::string_view kCache = "expert cache";
inline constexpr std::string_view kStaging = "staging";
inline constexpr std::string_view kDriver = "driver";  ///< of GPUs: kDriverBytes, a bound, beside the budget
}  // namespace place

/// Tokens from one decision of an adaptive expert cache to the next.
inline constexpr int kTokensPerAdmission = 4;

/// The expert cache of a device.
struct CacheSize {
  std::int64_t experts = 0;  ///< that it begins with: the most used ones
  std::int64_t spare =
      0;  ///< slots more, which an adaptive cache copies newcomers into: as many as it exchanges at a time
};

/// What an engine keeps on one device.
struct DeviceMemory {
  // Weights: [layers of the model]; empty entries for other devices' layers.
  std::vector<LayerWeights> weights;
  std::vector<View<float>> inverse_frequencies;  ///< equal tables are one
  /// Streamed attention: [layers of the model], where the mixer's matrices are copied to (StreamedRange). Empty if
  /// attention is resident.
  std::vector<View<std::byte>> streamed_places;
  HeadWeights head;  ///< device 0 alone

  std::vector<LayerState> states;              ///< [layers of the model]
  std::vector<View<std::byte>> group_buffers;  ///< up to two

  LayerScratch scratch;                 ///< of one chunk
  View<float> residual;                 ///< [max_context, hidden]
  View<std::int32_t> prompt_positions;  ///< [max_context], 0, 1, 2, ...
  View<SequenceSpan> chunk_span;        ///< [2]: of a whole chunk and of the last one
  View<std::int32_t> position;          ///< [1], of the token that decode works on
  View<SequenceSpan> decode_span;       ///< [1]
  View<std::int32_t> id, token;     ///< [1] each: the step's input, the sampled output (device 0; others: idle copies)
  View<float> cpu_sum, cached_sum;  ///< [most_together, hidden] each: experts computed elsewhere

  View<std::int64_t>
      stream_offsets;  ///< [layers with experts, experts]: expert e is the e-th block of its slot; -1 = cached here
  View<std::int64_t> cache_offsets;  ///< [layers with experts, experts], -1 = not cached here
  View<std::int64_t> gathered;       ///< [1]: blocks that gather_experts copied since the start
  View<std::int64_t> pick_counts;    ///< [layers with experts, experts]: the heatmap, if hcs needs one
  View<std::byte> cache_pool;        ///< the expert cache

  // Device 0 alone
  View<std::int32_t> prompt;     ///< [max_context]
  View<std::int32_t> history;    ///< [max_context]
  View<float> logits;            ///< [vocabulary]
  View<SamplingState> sampling;  ///< [1]

  /// All of it but the expert cache, whose size may be what the rest leaves.
  void carve(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration, int device);
  void carve_cache(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration, const CacheSize& size);
};

/// What passes between the devices and the host's CPU experts; page-locked. For up to most_together() tokens at once.
struct DecodeStaging {
  View<bf16> x;               ///< [tokens, hidden]
  View<std::int32_t> ids;     ///< [tokens, top_k]
  View<float> weights;        ///< [tokens, top_k]
  View<float> sum;            ///< [tokens, hidden]
  View<std::byte> workspace;  ///< of the CPU's experts operation
};

/// Page-locked host memory that the pipelines read and write.
struct StagingMemory {
  View<std::int32_t> prompt;      ///< [max_context]
  View<SequenceSpan> chunk_span;  ///< [2]
  View<std::int32_t> position;    ///< [1]
  View<std::int32_t> forced;      ///< [1]
  View<SamplingState> sampling;   ///< [1]
  View<float> logits;             ///< [vocabulary]
  View<std::int32_t> tokens;      ///< [2]: token i of a sequence in place i % 2
  View<std::int64_t>
      gathered;  ///< [2, devices]: DeviceMemory::gathered before and after the last prompt by picked experts
  View<std::int64_t> cache_tables;  ///< of ExpertCache, unless hcs is off
  DecodeStaging decode;

  void carve(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration);
};

/// What a device of this kind holds beside what is allocated there; 0 for the host device.
std::size_t driver_bytes(const RunConfiguration& configuration);

/// hcs_share of the experts of the device's own layers (multi), or of all layers (on, device 0 alone), rounded down;
/// with a share of 0 (auto) as many as the VRAM budget leaves. An adaptive cache exchanges at most a 64th of what its
/// layers pick meanwhile, so that its copies take a small part of the link's and the host memory's time.
CacheSize cache_size(const ModelSpec& spec, const RunConfiguration& configuration, int device);
/// The same where the bytes of DeviceMemory::carve are known.
CacheSize cache_size(const ModelSpec& spec, const RunConfiguration& configuration, int device, std::size_t rest);
/// cache_size().experts
std::int64_t hot_experts(const ModelSpec& spec, const RunConfiguration& configuration, int device);

}  // namespace krasis

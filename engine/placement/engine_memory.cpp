#include "engine/placement/engine_memory.h"

#include <algorithm>
#include <cmath>

#include "base/driver_bytes.h"

namespace krasis {
namespace {

/// The layers of one device.
template <class F>
void for_own_layers(const ModelSpec& spec, const RunConfiguration& configuration, int device, const F& f) {
  for (std::int64_t layer = 0; layer < spec.layer_count(); ++layer) {
    if (owner_of_layer(layer, configuration) == device) f(static_cast<std::size_t>(layer));
  }
}

/// Two buffers, each for the mixers of the largest group; the groups take them in turn, a place for each layer. All
/// places are as large as the largest mixer, so that a layer's place has one layer before it and one behind.
std::vector<View<std::byte>> carve_streamed(Carver& carver, const ModelSpec& spec,
                                            const RunConfiguration& configuration, const Precision& precision,
                                            int device) {
  std::size_t stride = 0;
  for_own_layers(spec, configuration, device, [&](std::size_t layer) {
    stride = std::max(stride, streamed_range(spec.layers[layer], spec.hidden, precision).bytes());
  });
  std::int64_t own = 0, largest = 0;
  const auto groups = layer_groups(spec, configuration);
  for (const LayerGroup& group : groups) {
    if (group.owner != device) continue;
    ++own;
    largest = std::max(largest, group.count);
  }
  std::vector<View<std::byte>> halves(static_cast<std::size_t>(std::min<std::int64_t>(own, 2)));
  const std::int64_t bytes = largest * static_cast<std::int64_t>(stride);
  for (View<std::byte>& half : halves) carver(place::kStreamed, half, bytes);

  std::vector<View<std::byte>> places(spec.layers.size());
  std::size_t half = 0;
  for (const LayerGroup& group : groups) {
    if (group.owner != device) continue;
    std::byte* data = halves[half++ % 2].data;
    for (std::int64_t l = group.first; l < group.first + group.count; ++l) {
      const auto layer = static_cast<std::size_t>(l);
      places[layer] = {data, streamed_range(spec.layers[layer], spec.hidden, precision).bytes()};
      if (data != nullptr) data += stride;
    }
  }
  return places;
}

/// Takes memory for each weight that it visits, but for those that lie in a streamed place.
class WeightCarver {
 public:
  WeightCarver(Carver& carver, std::string_view place, const Precision& precision)
      : carver_(carver), place_(place), precision_(precision) {}

  void operator()(const WeightSlot& slot, Matrix& field) {
    const MatrixLayout layout = precision_.layout(slot);
    field = {layout, data(slot, layout.bytes())};
  }
  void operator()(const WeightSlot& slot, View<const bf16>& field) {
    const std::size_t bytes = precision_.layout(slot).bytes();
    field = {reinterpret_cast<const bf16*>(data(slot, bytes)), static_cast<std::size_t>(slot.columns)};
  }
  /// The next weights are of a layer whose `range` lies at `place`.
  void begin_layer(View<std::byte> place, const StreamedRange& range) {
    streamed_ = place;
    range_ = range;
    offset_ = 0;
  }

 private:
  std::byte* data(const WeightSlot& slot, std::size_t bytes) {
    const std::size_t offset = offset_;
    offset_ += bytes;
    if (!streamed_.empty() && slot.weight_class == WeightClass::Attention) {
      return streamed_.data == nullptr ? nullptr : streamed_.data + (offset - range_.begin);
    }
    View<std::byte> memory;
    carver_(place_, memory, static_cast<std::int64_t>(bytes));
    return memory.data;
  }

  Carver& carver_;
  std::string_view place_;
  const Precision& precision_;
  View<std::byte> streamed_;
  StreamedRange range_;
  std::size_t offset_ = 0;  ///< in the layer, as the host has it
};

/// Experts of the layers that `device` caches: its own with hcs = multi, all of them on device 0 with hcs = on.
std::int64_t cacheable_experts(const ModelSpec& spec, const RunConfiguration& r, int device) {
  if (r.hcs == HotCache::Off || (r.hcs == HotCache::On && device != 0)) return 0;
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < spec.layer_count(); ++layer) {
    const bool here = r.hcs == HotCache::On || owner_of_layer(layer, r) == device;
    if (here && spec.has_experts(layer)) count += spec.experts();
  }
  return count;
}

}  // namespace

void DeviceMemory::carve(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration, int device) {
  const Precision precision = precision_of(configuration);
  const KvElement element = kv_element_of(configuration);
  const ExpertLayout expert = expert_layout(spec, precision.gpu_experts, precision.group_size);
  const std::int64_t context = configuration.max_context;

  if (configuration.attention == "streamed") {
    streamed_places = carve_streamed(carver, spec, configuration, precision, device);
  }
  WeightCarver resident(carver, place::kResident, precision);
  weights.assign(spec.layers.size(), {});
  inverse_frequencies.assign(spec.layers.size(), {});
  states.assign(spec.layers.size(), {});
  std::vector<std::size_t> tables;  // layers with a table of their own
  for_own_layers(spec, configuration, device, [&](std::size_t layer) {
    const LayerSpec& declared = spec.layers[layer];
    weights[layer] = LayerWeights(declared);
    resident.begin_layer(streamed_places.empty() ? View<std::byte>{} : streamed_places[layer],
                         streamed_range(declared, spec.hidden, precision));
    visit_layer(declared, spec.hidden, resident, weights[layer]);
  });
  for_own_layers(spec, configuration, device, [&](std::size_t layer) {
    const Rotary* const rotary = rotary_of(spec.layers[layer]);
    if (rotary == nullptr) return;
    const auto like = std::find_if(tables.begin(), tables.end(),
                                   [&](std::size_t other) { return *rotary_of(spec.layers[other]) == *rotary; });
    if (like != tables.end()) {
      inverse_frequencies[layer] = inverse_frequencies[*like];
      return;
    }
    tables.push_back(layer);
    const auto count = static_cast<std::int64_t>(rotary->inverse_frequencies.size());
    carver(place::kResident, inverse_frequencies[layer], count);
  });
  if (device == 0) {
    WeightCarver of_head(carver, place::kHead, precision);
    visit_head(spec, of_head, head);
    if (head_is_embedding(spec, precision)) {
      head.lm_head = head.embedding;
    } else if (spec.tied_embeddings) {
      of_head(lm_head_slot(spec), head.lm_head);
    }
  }
  for_own_layers(spec, configuration, device, [&](std::size_t layer) {
    states[layer] = carve_state(carver, place::kState, state_parts(spec.layers[layer], element), context);
  });

  std::size_t largest_group = 0, loaded_groups = 0;
  for (const LayerGroup& group : layer_groups(spec, configuration)) {
    if (group.owner != device) continue;
    largest_group = std::max(largest_group, group.bytes);
    loaded_groups += group.bytes > 0;
  }
  group_buffers.assign(std::min<std::size_t>(loaded_groups, 2), {});
  for (View<std::byte>& buffer : group_buffers) {
    carver(place::kGroups, buffer, static_cast<std::int64_t>(largest_group));
  }

  const std::string_view activations = place::kActivations;
  scratch.carve(carver, activations, spec, chunk_of(configuration), context, element, expert);
  carver(activations, residual, context * spec.hidden);
  carver(activations, prompt_positions, context);
  carver(activations, chunk_span, 2);
  carver(activations, position, 1);
  carver(activations, decode_span, 1);
  carver(activations, id, 1);
  carver(activations, token, 1);
  carver(activations, cpu_sum, most_together(configuration) * spec.hidden);
  carver(activations, cached_sum, most_together(configuration) * spec.hidden);
  if (device == 0) {
    carver(activations, prompt, context);
    carver(activations, history, context);
    carver(activations, logits, spec.vocabulary);
    carver(activations, sampling, 1);
  }
  const std::int64_t all_experts = spec.expert_layers() * spec.experts();
  carver(place::kTables, stream_offsets, all_experts);
  carver(place::kTables, cache_offsets, all_experts);
  carver(place::kTables, gathered, 1);
  if (configuration.hcs != HotCache::Off) carver(place::kTables, pick_counts, all_experts);
}

void DeviceMemory::carve_cache(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration,
                               const CacheSize& size) {
  const Precision precision = precision_of(configuration);
  const std::size_t block = expert_layout(spec, precision.gpu_experts, precision.group_size).bytes();
  carver(place::kCache, cache_pool, (size.experts + size.spare) * static_cast<std::int64_t>(block));
}

void StagingMemory::carve(Carver& carver, const ModelSpec& spec, const RunConfiguration& configuration) {
  const std::string_view staging = place::kStaging;
  const std::int64_t together = most_together(configuration);
  carver(staging, prompt, configuration.max_context);
  carver(staging, chunk_span, 2);
  carver(staging, position, 1);
  carver(staging, forced, 1);
  carver(staging, sampling, 1);
  carver(staging, logits, spec.vocabulary);
  if (configuration.hcs != HotCache::Off) {
    carver(staging, cache_tables, configuration.device_count * spec.expert_layers() * spec.experts());
  }
  carver(staging, decode.x, together * spec.hidden);
  carver(staging, decode.ids, together * spec.top_k());
  carver(staging, decode.weights, together * spec.top_k());
  carver(staging, decode.sum, together * spec.hidden);
  const ExpertLayout expert = expert_layout(spec, precision_of(configuration).cpu_experts, configuration.group_size);
  carver(staging, decode.workspace, static_cast<std::int64_t>(experts_workspace_bytes(together, spec.top_k(), expert)));
  carver(staging, tokens, 2);
  carver(staging, gathered, 2 * configuration.device_count);
}

std::size_t driver_bytes(const RunConfiguration& configuration) {
  return configuration.device == "cuda" ? kDriverBytes : 0;
}

CacheSize cache_size(const ModelSpec& spec, const RunConfiguration& configuration, int device, std::size_t rest) {
  const std::int64_t cacheable = cacheable_experts(spec, configuration, device);
  const std::int64_t layers = cacheable / spec.experts();
  const bool adaptive = configuration.hcs_policy == "adaptive";
  const std::int64_t exchanged =
      adaptive ? std::max<std::int64_t>(2, kTokensPerAdmission * layers * spec.top_k() / 64) : 0;
  std::int64_t experts = 0;
  if (configuration.hcs_share > 0) {
    experts = static_cast<std::int64_t>(std::floor(configuration.hcs_share * static_cast<double>(cacheable) + 1e-9));
  } else if (cacheable > 0) {
    const std::size_t budget = static_cast<std::size_t>(configuration.vram_budget_mib) << 20;
    const std::size_t needed = rest + budget / 256;  // what allocations are rounded up by
    const Precision precision = precision_of(configuration);
    const std::size_t block = expert_layout(spec, precision.gpu_experts, precision.group_size).bytes();
    const auto slots = static_cast<std::int64_t>((budget - std::min(budget, needed)) / block);
    experts = slots >= cacheable ? cacheable : std::max<std::int64_t>(0, slots - exchanged);
  }
  return {experts, std::min(exchanged, cacheable - experts)};
}

CacheSize cache_size(const ModelSpec& spec, const RunConfiguration& configuration, int device) {
  MeasuringCarver rest;
  if (configuration.hcs != HotCache::Off && !(configuration.hcs_share > 0)) {
    DeviceMemory().carve(rest, spec, configuration, device);
  }
  return cache_size(spec, configuration, device, rest.bytes());
}

std::int64_t hot_experts(const ModelSpec& spec, const RunConfiguration& configuration, int device) {
  return cache_size(spec, configuration, device).experts;
}

}  // namespace krasis

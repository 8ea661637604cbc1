#include "engine/runtime/device_state.h"

#include <algorithm>

#include "engine/runtime/engine.h"
#include "engine/runtime/streamed_attention.h"

namespace krasis {
namespace {

/// Allocates views of one place, each its own buffer.
class Allocator {
 public:
  Allocator(Device& device, std::vector<Buffer>& buffers) : device_(device), buffers_(buffers) {}

  template <class T>
  Expected<void> operator()(const char* place, View<T>& view, std::int64_t count) {
    KRASIS_TRY(Buffer buffer, device_.allocate(place, static_cast<std::size_t>(count) * sizeof(T), MemorySpace::Device));
    view = buffer.view<T>(0, static_cast<std::size_t>(count));
    buffers_.push_back(std::move(buffer));
    return {};
  }

 private:
  Device& device_;
  std::vector<Buffer>& buffers_;
};

Expected<void> allocate_workspace(Allocator& allocate, qwen3_moe::Workspace& w, const PackedModel& model,
                                  const RunConfiguration& configuration) {
  const ModelConfig& c = model.config;
  const std::int64_t chunk = std::min(configuration.chunk_tokens, configuration.max_context);
  constexpr const char* kPlace = "activations";
  KRASIS_CHECK(allocate(kPlace, w.normed, chunk * c.hidden));
  KRASIS_CHECK(allocate(kPlace, w.q, chunk * c.heads * c.head_dim));
  KRASIS_CHECK(allocate(kPlace, w.k, chunk * c.kv_heads * c.head_dim));
  KRASIS_CHECK(allocate(kPlace, w.v, chunk * c.kv_heads * c.head_dim));
  KRASIS_CHECK(allocate(kPlace, w.attended, chunk * c.heads * c.head_dim));
  std::size_t attention = attention_workspace_bytes(1, c.heads, c.head_dim);
  if (configuration.kv_cache == "fp8") {
    attention = std::max(attention, widened_cache_bytes(configuration.max_context, c.kv_heads, c.head_dim));
  }
  const std::size_t experts =
      c.expert_layers() > 0 ? experts_workspace_bytes(chunk, c.top_k, model.gpu_expert_layout) : 0;
  View<std::byte> shared;  // attention and experts take turns on the compute stream
  KRASIS_CHECK(allocate(kPlace, shared, static_cast<std::int64_t>(std::max(attention, experts))));
  w.attention = shared.sub(0, attention);
  w.experts = shared.sub(0, experts);
  KRASIS_CHECK(allocate(kPlace, w.router_logits, chunk * c.experts));
  KRASIS_CHECK(allocate(kPlace, w.ids, chunk * c.top_k));
  KRASIS_CHECK(allocate(kPlace, w.weights, chunk * c.top_k));
  if (c.expert_layers() < c.layers) {
    KRASIS_CHECK(allocate(kPlace, w.gate, chunk * c.dense_width));
    KRASIS_CHECK(allocate(kPlace, w.up, chunk * c.dense_width));
    KRASIS_CHECK(allocate(kPlace, w.activated, chunk * c.dense_width));
  }
  return {};
}

/// Allocates the "attention buffers" and gives each of the device's layers its place there.
Expected<void> place_attention(DeviceState& s, const PackedModel& model, const std::vector<LayerGroup>& groups) {
  const std::size_t bytes = attention_weights(model.layers.front()).bytes();  // of any layer
  std::int64_t own = 0, largest = 0;
  for (const LayerGroup& group : groups) {
    if (group.owner != s.index) continue;
    ++own;
    largest = std::max(largest, group.count);
  }
  std::vector<View<std::byte>> halves;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(own, 2); ++i) {
    KRASIS_TRY(Buffer buffer, s.device->allocate("attention buffers", static_cast<std::size_t>(largest) * bytes, MemorySpace::Device));
    halves.push_back(buffer.view<std::byte>());
    s.buffers.push_back(std::move(buffer));
  }
  s.attention_places.resize(model.layers.size());
  std::size_t half = 0;
  for (const LayerGroup& group : groups) {
    if (group.owner != s.index) continue;
    for (std::int64_t i = 0; i < group.count; ++i) {
      s.attention_places[static_cast<std::size_t>(group.first + i)] = halves[half % 2].sub(static_cast<std::size_t>(i) * bytes, bytes);
    }
    ++half;
  }
  return {};
}

}  // namespace

std::int64_t most_together(const RunConfiguration& configuration) {
  return std::min({kMostCpuPrompt, configuration.chunk_tokens, configuration.max_context});
}

std::int64_t most_picked(const RunConfiguration& configuration) {
  return std::min({kMostPickedPrompt, configuration.chunk_tokens, configuration.max_context});
}

std::vector<LayerGroup> layer_groups(const PackedModel& model, const RunConfiguration& configuration) {
  std::vector<LayerGroup> groups;
  std::vector<int> loaded(static_cast<std::size_t>(configuration.device_count), 0);
  for (std::int64_t first = 0; first < model.config.layers; first += configuration.lgs) {
    LayerGroup group{first, std::min<std::int64_t>(configuration.lgs, model.config.layers - first),
                     owner_of_layer(first, configuration), 0, 0};
    for (std::int64_t layer = first; layer < first + group.count; ++layer) {
      group.bytes += model.layers[static_cast<std::size_t>(layer)].gpu_experts.size;
    }
    if (group.bytes > 0) group.buffer = loaded[static_cast<std::size_t>(group.owner)]++ % 2;
    groups.push_back(group);
  }
  return groups;
}

Expected<DeviceState> DeviceState::create(Device& device, int index, const PackedModel& model,
                                          const RunConfiguration& configuration, const std::vector<LayerGroup>& groups,
                                          View<const float> frequencies, const HostConstants& constants) {
  const ModelConfig& c = model.config;
  DeviceState s;
  s.device = &device;
  s.index = index;
  s.compute = device.create_stream("compute " + std::to_string(index), Lane::Compute);
  s.loader = device.create_stream("copy " + std::to_string(index), Lane::Copy);

  std::size_t largest_group = 0;
  std::int64_t loaded_groups = 0;
  for (const LayerGroup& group : groups) {
    if (group.owner != index) continue;
    for (std::int64_t layer = group.first; layer < group.first + group.count; ++layer) s.layers.push_back(layer);
    largest_group = std::max(largest_group, group.bytes);
    loaded_groups += group.bytes > 0;
  }
  if (configuration.attention == "streamed") KRASIS_CHECK(place_attention(s, model, groups));
  KRASIS_TRY(s.resident, ResidentWeights::upload(device, s.compute, model, s.layers, s.attention_places, frequencies, index == 0));
  KRASIS_TRY(s.sequence, SequenceState::create(device, c, configuration, s.layers));
  for (std::int64_t i = 0; i < std::min<std::int64_t>(loaded_groups, 2); ++i) {
    KRASIS_TRY(Buffer buffer, device.allocate("group buffers", largest_group, MemorySpace::Device));
    s.group_buffers.push_back(std::move(buffer));
  }

  Allocator allocate(device, s.buffers);
  constexpr const char* kPlace = "activations";
  const std::int64_t context = configuration.max_context;
  KRASIS_CHECK(allocate_workspace(allocate, s.workspace, model, configuration));
  KRASIS_CHECK(allocate(kPlace, s.residual, context * c.hidden));
  KRASIS_CHECK(allocate(kPlace, s.prompt_positions, context));
  KRASIS_CHECK(allocate(kPlace, s.chunk_span, 2));
  KRASIS_CHECK(allocate(kPlace, s.position, 1));
  KRASIS_CHECK(allocate(kPlace, s.decode_span, 1));
  KRASIS_CHECK(allocate(kPlace, s.id, 1));
  KRASIS_CHECK(allocate(kPlace, s.token, 1));
  KRASIS_CHECK(allocate(kPlace, s.cpu_sum, most_together(configuration) * c.hidden));
  KRASIS_CHECK(allocate(kPlace, s.cached_sum, most_together(configuration) * c.hidden));
  if (index == 0) {
    KRASIS_CHECK(allocate(kPlace, s.prompt, context));
    KRASIS_CHECK(allocate(kPlace, s.history, context));
    KRASIS_CHECK(allocate(kPlace, s.logits, c.vocabulary));
    KRASIS_CHECK(allocate(kPlace, s.sampling, 1));
  }

  const std::int64_t all_experts = c.expert_layers() * c.experts;
  KRASIS_CHECK(allocate("expert tables", s.stream_offsets, all_experts));
  KRASIS_CHECK(allocate("expert tables", s.cache_offsets, all_experts));
  KRASIS_CHECK(allocate("expert tables", s.gathered, 1));
  if (configuration.hcs != HotCache::Off) KRASIS_CHECK(allocate("expert tables", s.pick_counts, all_experts));
  s.cached_blocks.resize(static_cast<std::size_t>(c.expert_layers()));
  const CacheSize cache = cache_size(c, configuration, index);
  if (const auto slots = static_cast<std::size_t>(cache.experts + cache.spare); slots > 0) {
    KRASIS_TRY(s.cache_pool, device.allocate("expert cache", slots * model.gpu_expert_layout.bytes(), MemorySpace::Device));
  }

  const auto upload = [&](auto view, const auto& host) {
    copy(device, s.compute, view, View{host.data(), host.size()}, "upload constants");
  };
  upload(s.prompt_positions, constants.positions);
  upload(s.stream_offsets, constants.stream_offsets);
  upload(s.decode_span, constants.decode_span);
  upload(s.gathered, constants.zero);
  return s;
}

}  // namespace krasis

#include "engine/runtime/prefill.h"

#include <algorithm>

#include "engine/runtime/layer_run.h"

namespace krasis {

void move_residual(DeviceState& from, DeviceState& to, std::size_t elements) {
  move_residual(from, to, 0, elements, from.device->record(from.compute));
}

void move_residual(DeviceState& from, DeviceState& to, std::size_t first, std::size_t elements, Event computed) {
  to.device->wait(to.compute, computed, "residual arrives");
  copy(*to.device, to.compute, to.residual.sub(first, elements), from.residual.sub(first, elements), "move residual");
}

Prefill::Prefill(const PackedModel& model, const RunConfiguration& configuration, const std::vector<LayerGroup>& groups,
                 std::span<DeviceState> devices)
    : model_(model), configuration_(configuration), groups_(groups), devices_(devices), attention_(model, devices) {
  const std::int64_t experts = model.spec.experts();
  slot_bytes_ = static_cast<std::size_t>(experts) * model.gpu_expert_layout.bytes();
  layers_.resize(model.layers.size());
  std::int64_t index = 0;
  for (const LayerGroup& group : groups) {
    int slot = 0;
    for (std::int64_t l = group.first; l < group.first + group.count; ++l) {
      if (model.layers[static_cast<std::size_t>(l)].gpu_experts.empty()) continue;
      layers_[static_cast<std::size_t>(l)] = {index++, slot++, {{0, experts}}, false, {}};
    }
    slots_ = std::max(slots_, static_cast<std::size_t>(slot));
  }
}

void Prefill::use_cache(const std::vector<int>& cached_on) {
  const std::int64_t experts = model_.spec.experts();
  for (const LayerGroup& group : groups_) {
    for (std::int64_t l = group.first; l < group.first + group.count; ++l) {
      ExpertLayer& layer = layers_[static_cast<std::size_t>(l)];
      if (layer.index < 0) continue;
      layer.streamed.clear();
      for (std::int64_t e = 0; e < experts; ++e) {
        if (cached_on[static_cast<std::size_t>(layer.index * experts + e)] == group.owner) {
          layer.cached = true;
        } else if (!layer.streamed.empty() && layer.streamed.back().first + layer.streamed.back().count == e) {
          ++layer.streamed.back().count;
        } else {
          layer.streamed.push_back({e, 1});
        }
      }
    }
  }
}

std::size_t Prefill::copied_bytes() const {
  std::int64_t experts = 0;
  for (const ExpertLayer& layer : layers_) {
    for (const Run& run : layer.streamed) experts += run.count;
  }
  return static_cast<std::size_t>(experts) * model_.gpu_expert_layout.bytes() + attention_.bytes();
}

std::size_t Prefill::next_of_buffer(std::size_t group) const {
  for (std::size_t next = group + 1; next < groups_.size(); ++next) {
    if (groups_[next].bytes > 0 && groups_[next].owner == groups_[group].owner &&
        groups_[next].buffer == groups_[group].buffer) {
      return next;
    }
  }
  return groups_.size();
}

void Prefill::load(std::size_t index, int slot) {
  const LayerGroup& group = groups_[index];
  const auto first = layers_.begin() + group.first;
  const auto found = std::find_if(first, first + group.count, [&](const ExpertLayer& layer) { return layer.index >= 0 && layer.slot == slot; });
  if (found == first + group.count || found->streamed.empty()) return;
  DeviceState& state = devices_[static_cast<std::size_t>(group.owner)];
  if (const Event free = last_use(group, slot)) state.device->wait(state.loader, free, "group buffer is free");
  const View<std::byte> buffer = state.group_buffers[static_cast<std::size_t>(group.buffer)];
  const View<const std::byte> experts = model_.layers[static_cast<std::size_t>(found - layers_.begin())].gpu_experts;
  const std::size_t block = model_.gpu_expert_layout.bytes();
  for (const Run& run : found->streamed) {
    const std::size_t offset = static_cast<std::size_t>(run.first) * block, bytes = static_cast<std::size_t>(run.count) * block;
    state.device->copy(state.loader, buffer.sub(static_cast<std::size_t>(slot) * slot_bytes_ + offset, bytes),
                       experts.sub(offset, bytes), "load experts");
  }
  found->loaded = state.device->record(state.loader);
}

void Prefill::gather(DeviceState& state, const LayerGroup& group, std::int64_t l, std::size_t tokens) {
  const ExpertLayer& layer = layers_[static_cast<std::size_t>(l)];
  if (layer.streamed.empty()) return;
  const auto experts = static_cast<std::size_t>(model_.spec.experts());
  const View<std::byte> buffer = state.group_buffers[static_cast<std::size_t>(group.buffer)];
  state.device->run(
      state.compute,
      GatherExpertsArgs{.ids = state.scratch.experts.ids.sub(0, tokens * static_cast<std::size_t>(model_.spec.top_k())),
                        .offsets = state.stream_offsets.sub(static_cast<std::size_t>(layer.index) * experts, experts),
                        .from = model_.layers[static_cast<std::size_t>(l)].gpu_experts,
                        .to = buffer.sub(static_cast<std::size_t>(layer.slot) * slot_bytes_, slot_bytes_),
                        .block_bytes = model_.gpu_expert_layout.bytes(),
                        .copied = state.gathered});
}

void Prefill::compute_experts(DeviceState& state, const LayerGroup& group, const ExpertLayer& layer, std::size_t tokens,
                              View<float> residual) {
  const auto top_k = static_cast<std::size_t>(model_.spec.top_k());
  const auto experts = static_cast<std::size_t>(model_.spec.experts());
  const auto row = static_cast<std::size_t>(layer.index) * experts;
  ExpertsArgs args = experts_args(model_.spec.routed(), model_.gpu_expert_layout);
  args.x = state.scratch.normed.sub(0, residual.size);
  args.ids = state.scratch.experts.ids.sub(0, tokens * top_k);
  args.weights = state.scratch.experts.weights.sub(0, tokens * top_k);
  args.out = residual;
  args.workspace = state.scratch.experts.workspace;
  if (!layer.streamed.empty()) {
    const View<std::byte> buffer = state.group_buffers[static_cast<std::size_t>(group.buffer)];
    args.pool = buffer.sub(static_cast<std::size_t>(layer.slot) * slot_bytes_, slot_bytes_);
    args.offsets = state.stream_offsets.sub(row, experts);
    state.device->run(state.compute, args);
  }
  if (layer.cached) {
    args.pool = state.cache_memory;
    args.offsets = state.cache_offsets.sub(row, experts);
    args.blocks = &state.cached_blocks[static_cast<std::size_t>(layer.index)];
    state.device->run(state.compute, args);
  }
}

void Prefill::mark(const LayerGroup& group, std::int64_t count, std::int64_t tokens) {
  constexpr double kMarks = 16;
  marked_work_ += group.count * count;
  const double share = static_cast<double>(marked_work_) / static_cast<double>(model_.spec.layer_count() * tokens);
  if (!marks_.empty() && share < 1 && share - marks_.back().share < 1 / kMarks) return;
  DeviceState& state = devices_[static_cast<std::size_t>(group.owner)];
  marks_.push_back({state.device, state.device->record(state.compute), share});
}

void Prefill::compute(std::size_t index, std::int64_t tokens, const PickHooks& hooks) {
  const LayerGroup& group = groups_[index];
  DeviceState& state = devices_[static_cast<std::size_t>(group.owner)];
  const std::size_t next = group.bytes > 0 && !picked_ ? next_of_buffer(index) : groups_.size();
  const std::int64_t chunk = chunk_of(configuration_);
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
    const std::int64_t count = std::min(chunk, tokens - begin);
    const auto first = static_cast<std::size_t>(begin);
    const auto size = static_cast<std::size_t>(count);
    const Batch batch{static_cast<int>(count), state.prompt_positions.sub(first, size),
                      state.chunk_span.sub(count == chunk ? 0 : 1, 1)};
    const auto hidden = static_cast<std::size_t>(model_.spec.hidden);
    const View<float> residual = state.residual.sub(first * hidden, size * hidden);
    Event& computed = computed_[static_cast<std::size_t>(begin / chunk)];
    if (owner_ != group.owner)
      move_residual(devices_[static_cast<std::size_t>(owner_)], state, first * hidden, size * hidden, computed);
    const LayerTokens those{batch, residual, first, begin == 0, begin + count == tokens};
    for (std::int64_t l = group.first; l < group.first + group.count; ++l) {
      const ExpertLayer& experts = layers_[static_cast<std::size_t>(l)];
      run_layer(model_.spec, state, attention_, l, experts.index, those, hooks, [&] {
        if (picked_) gather(state, group, l, size);
        if (begin == 0 && experts.loaded) state.device->wait(state.compute, experts.loaded, "group is loaded");
        compute_experts(state, group, experts, size, residual);
        if (begin + count < tokens || next == groups_.size()) return;
        last_use(group, experts.slot) = state.device->record(state.compute);
        load(next, experts.slot);
      });
    }
    if (devices_.size() > 1) computed = state.device->record(state.compute);
    if (marked_) mark(group, count, tokens);
  }
  owner_ = group.owner;
  // Slots that only the next group has.
  if (next == groups_.size()) return;
  const auto used = std::count_if(layers_.begin() + group.first, layers_.begin() + group.first + group.count,
                                  [](const ExpertLayer& layer) { return layer.index >= 0; });
  for (int slot = static_cast<int>(used); slot < static_cast<int>(slots_); ++slot) load(next, slot);
}

void Prefill::enqueue(std::int64_t tokens, const PickHooks& hooks) {
  picked_ = false;
  attention_.begin();
  for (ExpertLayer& layer : layers_) layer.loaded = {};
  last_use_.assign(devices_.size() * 2 * slots_, Event{});
  // Both buffers of every device fill at once; later groups follow behind the last use of their slots.
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const bool first_use = std::none_of(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(g), [&](const LayerGroup& before) {
      return before.bytes > 0 && before.owner == groups_[g].owner && before.buffer == groups_[g].buffer;
    });
    if (groups_[g].bytes == 0 || !first_use) continue;
    for (int slot = 0; slot < static_cast<int>(slots_); ++slot) load(g, slot);
  }
  enqueue_layers(tokens, hooks);
}

void Prefill::enqueue_picked(std::int64_t tokens, const PickHooks& hooks) {
  picked_ = true;
  attention_.begin();
  for (ExpertLayer& layer : layers_) layer.loaded = {};
  enqueue_layers(tokens, hooks);
}

void Prefill::enqueue_layers(std::int64_t tokens, const PickHooks& hooks) {
  marks_.clear();
  marked_work_ = 0;
  DeviceState& home = devices_[0];
  const auto elements = static_cast<std::size_t>(tokens * model_.spec.hidden);
  home.device->run(home.compute,
                   EmbeddingArgs{home.head.embedding, home.prompt.sub(0, static_cast<std::size_t>(tokens)),
                                 home.residual.sub(0, elements)});
  const std::int64_t chunk = chunk_of(configuration_);
  owner_ = 0;
  computed_.assign(static_cast<std::size_t>((tokens + chunk - 1) / chunk), home.device->record(home.compute));
  for (std::size_t g = 0; g < groups_.size(); ++g) compute(g, tokens, hooks);
  if (owner_ != 0) move_residual(devices_[static_cast<std::size_t>(owner_)], home, elements);
}

}  // namespace krasis

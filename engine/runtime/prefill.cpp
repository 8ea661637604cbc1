#include "engine/runtime/prefill.h"

#include <algorithm>

namespace krasis {

void move_residual(DeviceState& from, DeviceState& to, std::size_t elements) {
  to.device->wait(to.compute, from.device->record(from.compute), "residual arrives");
  copy(*to.device, to.compute, to.residual.sub(0, elements), from.residual.sub(0, elements), "move residual");
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

void Prefill::load(std::size_t index, Event buffer_is_free) {
  const LayerGroup& group = groups_[index];
  DeviceState& state = devices_[static_cast<std::size_t>(group.owner)];
  if (buffer_is_free) state.device->wait(state.loader, buffer_is_free, "group buffer is free");
  const Buffer& buffer = state.group_buffers[static_cast<std::size_t>(group.buffer)];
  std::size_t offset = 0;
  for (std::int64_t layer = group.first; layer < group.first + group.count; ++layer) {
    const View<const std::byte> experts = model_.layers[static_cast<std::size_t>(layer)].gpu_experts;
    if (experts.empty()) continue;
    state.device->copy(state.loader, buffer.view<std::byte>(offset, experts.size), experts, "load experts");
    offset += experts.size;
  }
  loaded_[index] = state.device->record(state.loader);
}

void Prefill::compute(std::size_t index, std::int64_t tokens, const PickHooks& hooks) {
  const LayerGroup& group = groups_[index];
  const ModelConfig& c = model_.config;
  DeviceState& state = devices_[static_cast<std::size_t>(group.owner)];
  if (group.bytes > 0) state.device->wait(state.compute, loaded_[index], "group is loaded");
  const std::int64_t chunk = std::min(configuration_.chunk_tokens, configuration_.max_context);
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
    const std::int64_t count = std::min(chunk, tokens - begin);
    const auto first = static_cast<std::size_t>(begin);
    const auto size = static_cast<std::size_t>(count);
    const Batch batch{static_cast<int>(count), state.prompt_positions.sub(first, size),
                      state.chunk_span.sub(count == chunk ? 0 : 1, 1)};
    const auto hidden = static_cast<std::size_t>(c.hidden);
    const View<float> residual = state.residual.sub(first * hidden, size * hidden);
    std::size_t offset = 0;
    for (std::int64_t l = group.first; l < group.first + group.count; ++l) {
      const qwen3_moe::Layer layer{c, state.resident.layer(l), state.resident.inverse_frequency(), state.sequence.layer(l),
                                   batch, residual, state.workspace};
      qwen3_moe::attend(*state.device, state.compute, layer);
      const View<const std::byte> experts = model_.layers[static_cast<std::size_t>(l)].gpu_experts;
      if (experts.empty()) {
        qwen3_moe::dense_mlp(*state.device, state.compute, layer);
        continue;
      }
      qwen3_moe::route(*state.device, state.compute, layer);
      apply_hooks(state, c, hooks, expert_layer_index(c, l), first, size);
      const auto picks = size * static_cast<std::size_t>(c.top_k);
      const Buffer& buffer = state.group_buffers[static_cast<std::size_t>(group.buffer)];
      state.device->experts(state.compute, {.x = state.workspace.normed.sub(0, size * hidden),
                                            .ids = state.workspace.ids.sub(0, picks),
                                            .weights = state.workspace.weights.sub(0, picks),
                                            .pool = buffer.view<const std::byte>(offset, experts.size),
                                            .offsets = state.group_offsets,
                                            .layout = model_.gpu_expert_layout,
                                            .top_k = c.top_k,
                                            .out = residual,
                                            .workspace = state.workspace.experts});
      offset += experts.size;
    }
  }
}

void Prefill::enqueue(std::int64_t tokens, const PickHooks& hooks) {
  const ModelConfig& c = model_.config;
  loaded_.assign(groups_.size(), Event{});
  // Both buffers of every device fill at once; later groups follow behind the last use of their buffer.
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const bool first_use = std::none_of(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(g), [&](const LayerGroup& before) {
      return before.bytes > 0 && before.owner == groups_[g].owner && before.buffer == groups_[g].buffer;
    });
    if (groups_[g].bytes > 0 && first_use) load(g, {});
  }
  DeviceState& home = devices_[0];
  const auto elements = static_cast<std::size_t>(tokens * c.hidden);
  home.device->embedding(home.compute, {home.resident.embedding(), home.prompt.sub(0, static_cast<std::size_t>(tokens)),
                                        home.residual.sub(0, elements)});
  int current = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const int owner = groups_[g].owner;
    DeviceState& state = devices_[static_cast<std::size_t>(owner)];
    if (owner != current) move_residual(devices_[static_cast<std::size_t>(current)], state, elements);
    current = owner;
    compute(g, tokens, hooks);
    if (const std::size_t next = groups_[g].bytes > 0 ? next_of_buffer(g) : groups_.size(); next < groups_.size()) {
      load(next, state.device->record(state.compute));
    }
  }
  if (current != 0) move_residual(devices_[static_cast<std::size_t>(current)], home, elements);
}

}  // namespace krasis

#include "engine/runtime/decode.h"

#include <algorithm>
#include <array>

#include "engine/runtime/prefill.h"

namespace krasis {
namespace {

template <class T>
View<std::byte> bytes_of(View<T> view) {
  return {reinterpret_cast<std::byte*>(view.data), view.bytes()};
}

}  // namespace

void compute_cpu_experts(const PackedModel& model, const HostCompute& cpu, const DecodeStaging& staging, std::int64_t layer,
                         std::size_t tokens, View<const std::int64_t> offsets) {
  const auto top_k = static_cast<std::size_t>(model.config.top_k);
  const auto hidden = static_cast<std::size_t>(model.config.hidden);
  const View<float> sum = staging.sum.sub(0, tokens * hidden);
  std::fill_n(sum.data, sum.size, 0.0f);
  const ThreadTeam::Scope scope(cpu.team.get());
  cpu.operations->experts({.x = staging.x.sub(0, tokens * hidden),
                           .ids = staging.ids.sub(0, tokens * top_k),
                           .weights = staging.weights.sub(0, tokens * top_k),
                           .pool = model.layers[static_cast<std::size_t>(layer)].cpu_experts,
                           .offsets = offsets,
                           .layout = model.cpu_expert_layout,
                           .top_k = model.config.top_k,
                           .out = sum,
                           .workspace = staging.workspace});
}

Decode::Decode(const PackedModel& model, std::span<DeviceState> devices, const DecodeStaging& staging,
               const HostCompute& cpu, ExpertCache& cache)
    : model_(model), devices_(devices), attention_(model, devices), staging_(staging), cpu_(cpu), cache_(cache) {
  cpu_lane_ = devices_[0].device->create_stream("CPU experts", Lane::Host);
  for (DeviceState& state : devices_) {
    to_cpu_.push_back(state.device->create_signal("to CPU " + std::to_string(state.index)));
    from_cpu_.push_back(state.device->create_signal("from CPU " + std::to_string(state.index)));
  }
}

void Decode::compute_on_cpu(const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer) {
  const auto count = static_cast<std::size_t>(tokens.count);
  if (!tokens.prompt) cache_.count(expert_layer, staging_.ids.sub(0, count * static_cast<std::size_t>(model_.config.top_k)));
  compute_cpu_experts(model_, cpu_, staging_, layer, count, cache_.cpu_offsets(expert_layer));
}

void Decode::enqueue_cached(DeviceState& owner, DeviceState& cache, const Tokens& tokens, std::int64_t expert_layer) {
  const ModelConfig& c = model_.config;
  const auto count = static_cast<std::size_t>(tokens.count);
  const std::size_t elements = count * static_cast<std::size_t>(c.hidden);
  const std::size_t picks = count * static_cast<std::size_t>(c.top_k);
  const auto experts = static_cast<std::size_t>(c.experts);
  const bool away = owner.index != cache.index;
  const View<bf16> x = cache.workspace.normed.sub(0, elements);
  const View<std::int32_t> ids = cache.workspace.ids.sub(0, picks);
  const View<float> weights = cache.workspace.weights.sub(0, picks);
  const View<float> cached_sum = cache.cached_sum.sub(0, elements);
  if (away) {
    Device& device = *cache.device;
    device.wait(cache.compute, owner.device->record(owner.compute), "activations arrive at the cache");
    copy(device, cache.compute, x, owner.workspace.normed.sub(0, elements), "activations to the cache");
    copy(device, cache.compute, ids, owner.workspace.ids.sub(0, picks), "picks to the cache");
    copy(device, cache.compute, weights, owner.workspace.weights.sub(0, picks), "picks to the cache");
    device.fill(cache.compute, {cached_sum, 0.0f});
  }
  cache.device->experts(cache.compute,
                        {.x = x,
                         .ids = ids,
                         .weights = weights,
                         .pool = cache.cache_memory,
                         .offsets = cache.cache_offsets.sub(static_cast<std::size_t>(expert_layer) * experts, experts),
                         .layout = model_.gpu_expert_layout,
                         .top_k = c.top_k,
                         .out = away ? cached_sum : owner.residual.sub(0, elements),
                         .workspace = cache.workspace.experts,
                         .blocks = &cache.cached_blocks[static_cast<std::size_t>(expert_layer)]});
  if (away) {
    owner.device->wait(owner.compute, cache.device->record(cache.compute), "cached experts are done");
    copy(*owner.device, owner.compute, owner.cached_sum.sub(0, elements), cached_sum, "sum from the cache");
    owner.device->add(owner.compute, {owner.cached_sum.sub(0, elements), owner.residual.sub(0, elements)});
  }
}

void Decode::enqueue_experts(DeviceState& owner, const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer) {
  const std::size_t elements = static_cast<std::size_t>(tokens.count * model_.config.hidden);
  const bool cpu = cache_.needs_cpu(expert_layer);
  if (cpu) hand_to_cpu(owner, tokens, layer, expert_layer);
  if (const int cache = cache_.device_of(expert_layer); cache >= 0) {
    enqueue_cached(owner, devices_[static_cast<std::size_t>(cache)], tokens, expert_layer);
  }
  if (!cpu) return;
  owner.device->await_and_add(owner.compute, from_cpu_[static_cast<std::size_t>(owner.index)], "CPU experts are done",
                              {staging_.sum.sub(0, elements), owner.residual.sub(0, elements)}, owner.cpu_sum.sub(0, elements));
}

void Decode::hand_to_cpu(DeviceState& owner, const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer) {
  Device& device = *owner.device;
  const auto index = static_cast<std::size_t>(owner.index);
  const auto count = static_cast<std::size_t>(tokens.count);
  const std::size_t elements = count * static_cast<std::size_t>(model_.config.hidden);
  const std::size_t picks = count * static_cast<std::size_t>(model_.config.top_k);
  const View<bf16> x = staging_.x.sub(0, elements);
  const View<std::int32_t> ids = staging_.ids.sub(0, picks);
  const View<float> weights = staging_.weights.sub(0, picks);
  device.copy_and_raise(owner.compute,
                        std::array{CopyArgs{bytes_of(x), bytes_of(owner.workspace.normed.sub(0, elements)), "activations to the CPU"},
                                   CopyArgs{bytes_of(ids), bytes_of(owner.workspace.ids.sub(0, picks)), "picks to the CPU"},
                                   CopyArgs{bytes_of(weights), bytes_of(owner.workspace.weights.sub(0, picks)), "picks to the CPU"}},
                        to_cpu_[index]);

  Device& home = *devices_[0].device;
  home.await(cpu_lane_, to_cpu_[index], "activations are on the host");
  const std::array reads{Access::of(x), Access::of(ids), Access::of(weights),
                         Access::of(model_.layers[static_cast<std::size_t>(layer)].cpu_experts),
                         Access::of(cache_.cpu_offsets(expert_layer))};
  const std::array writes{Access::of(staging_.sum.sub(0, elements)), Access::of(staging_.workspace),
                          Access::of(cache_.counted(expert_layer))};
  home.host_task(cpu_lane_, "CPU experts", reads, writes,
                 [this, tokens, layer, expert_layer] { compute_on_cpu(tokens, layer, expert_layer); });
  home.raise(cpu_lane_, from_cpu_[index]);
}

void Decode::enqueue_layers(const Tokens& tokens, const PickHooks& hooks) {
  const ModelConfig& c = model_.config;
  const auto count = static_cast<std::size_t>(tokens.count);
  const std::size_t elements = count * static_cast<std::size_t>(c.hidden);
  DeviceState& home = devices_[0];
  DeviceState* current = &home;
  std::int64_t expert_layer = 0;
  attention_.begin();
  for (std::int64_t l = 0; l < c.layers; ++l) {
    DeviceState& owner = *std::find_if(devices_.begin(), devices_.end(), [&](const DeviceState& state) {
      return std::binary_search(state.layers.begin(), state.layers.end(), l);
    });
    if (&owner != current) move_residual(*current, owner, elements);
    current = &owner;
    const Batch batch = tokens.prompt ? Batch{static_cast<int>(tokens.count), owner.prompt_positions.sub(0, count),
                                              owner.chunk_span.sub(1, 1)}
                                      : Batch{1, owner.position, owner.decode_span};
    const qwen3_moe::Layer layer{c,
                                 owner.resident.layer(l),
                                 owner.resident.inverse_frequency(),
                                 owner.sequence.layer(l),
                                 batch,
                                 owner.residual.sub(0, elements),
                                 owner.workspace};
    attention_.acquire(l);
    qwen3_moe::attend(*owner.device, owner.compute, layer);
    attention_.release(l);
    if (!c.has_experts[static_cast<std::size_t>(l)]) {
      qwen3_moe::dense_mlp(*owner.device, owner.compute, layer);
      continue;
    }
    qwen3_moe::route(*owner.device, owner.compute, layer);
    apply_hooks(owner, c, hooks, expert_layer, tokens.first, count);
    enqueue_experts(owner, tokens, l, expert_layer++);
  }
  if (current != &home) move_residual(*current, home, elements);
}

void Decode::enqueue(const PickHooks& hooks, std::size_t token_index) {
  const ModelConfig& c = model_.config;
  const auto hidden = static_cast<std::size_t>(c.hidden);
  DeviceState& home = devices_[0];
  for (DeviceState& state : devices_) state.device->advance(state.compute, {state.token, state.id, state.position});
  home.device->embedding(home.compute, {home.resident.embedding(), home.id, home.residual.sub(0, hidden)});
  enqueue_layers({.first = token_index}, hooks);
  qwen3_moe::head(*home.device, home.compute, c, home.residual.sub(0, hidden), home.resident.final_norm(),
                  home.resident.lm_head(), home.workspace.normed, home.logits);
  home.device->sample(home.compute, {home.logits, home.sampling, home.history, home.token});
}

void Decode::enqueue_prompt(std::int64_t tokens, const PickHooks& hooks) {
  DeviceState& home = devices_[0];
  const auto count = static_cast<std::size_t>(tokens);
  home.device->embedding(home.compute, {home.resident.embedding(), home.prompt.sub(0, count),
                                        home.residual.sub(0, count * static_cast<std::size_t>(model_.config.hidden))});
  enqueue_layers({.count = tokens, .prompt = true}, hooks);
}

}  // namespace krasis

#include "engine/runtime/decode.h"

#include <algorithm>
#include <array>

#include "engine/runtime/layer_run.h"
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
  const auto top_k = static_cast<std::size_t>(model.spec.top_k());
  const auto hidden = static_cast<std::size_t>(model.spec.hidden);
  const View<float> sum = staging.sum.sub(0, tokens * hidden);
  std::fill_n(sum.data, sum.size, 0.0f);
  const ThreadTeam::Scope scope(cpu.team.get());
  ExpertsArgs args = experts_args(model.spec.routed(), model.cpu_expert_layout);
  args.x = staging.x.sub(0, tokens * hidden);
  args.ids = staging.ids.sub(0, tokens * top_k);
  args.weights = staging.weights.sub(0, tokens * top_k);
  args.pool = model.layers[static_cast<std::size_t>(layer)].cpu_experts;
  args.offsets = offsets;
  args.out = sum;
  args.workspace = staging.workspace;
  cpu.operations->run(args);
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
  if (!tokens.prompt)
    cache_.count(expert_layer, staging_.ids.sub(0, count * static_cast<std::size_t>(model_.spec.top_k())));
  compute_cpu_experts(model_, cpu_, staging_, layer, count, cache_.cpu_offsets(expert_layer));
}

void Decode::enqueue_cached(DeviceState& owner, DeviceState& cache, const Tokens& tokens, std::int64_t expert_layer) {
  const ModelSpec& c = model_.spec;
  const auto count = static_cast<std::size_t>(tokens.count);
  const std::size_t elements = count * static_cast<std::size_t>(c.hidden);
  const std::size_t picks = count * static_cast<std::size_t>(c.top_k());
  const auto experts = static_cast<std::size_t>(c.experts());
  const bool away = owner.index != cache.index;
  const View<bf16> x = cache.scratch.normed.sub(0, elements);
  const View<std::int32_t> ids = cache.scratch.experts.ids.sub(0, picks);
  const View<float> weights = cache.scratch.experts.weights.sub(0, picks);
  const View<float> cached_sum = cache.cached_sum.sub(0, elements);
  if (away) {
    Device& device = *cache.device;
    device.wait(cache.compute, owner.device->record(owner.compute), "activations arrive at the cache");
    copy(device, cache.compute, x, owner.scratch.normed.sub(0, elements), "activations to the cache");
    copy(device, cache.compute, ids, owner.scratch.experts.ids.sub(0, picks), "picks to the cache");
    copy(device, cache.compute, weights, owner.scratch.experts.weights.sub(0, picks), "picks to the cache");
    device.run(cache.compute, FillArgs{cached_sum, 0.0f});
  }
  ExpertsArgs args = experts_args(c.routed(), model_.gpu_expert_layout);
  args.x = x;
  args.ids = ids;
  args.weights = weights;
  args.pool = cache.cache_memory;
  args.offsets = cache.cache_offsets.sub(static_cast<std::size_t>(expert_layer) * experts, experts);
  args.out = away ? cached_sum : owner.residual.sub(0, elements);
  args.workspace = cache.scratch.experts.workspace;
  args.blocks = &cache.cached_blocks[static_cast<std::size_t>(expert_layer)];
  cache.device->run(cache.compute, args);
  if (away) {
    owner.device->wait(owner.compute, cache.device->record(cache.compute), "cached experts are done");
    copy(*owner.device, owner.compute, owner.cached_sum.sub(0, elements), cached_sum, "sum from the cache");
    owner.device->run(owner.compute, AddArgs{owner.cached_sum.sub(0, elements), owner.residual.sub(0, elements)});
  }
}

void Decode::enqueue_experts(DeviceState& owner, const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer) {
  const std::size_t elements = static_cast<std::size_t>(tokens.count * model_.spec.hidden);
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
  const std::size_t elements = count * static_cast<std::size_t>(model_.spec.hidden);
  const std::size_t picks = count * static_cast<std::size_t>(model_.spec.top_k());
  const View<bf16> x = staging_.x.sub(0, elements);
  const View<std::int32_t> ids = staging_.ids.sub(0, picks);
  const View<float> weights = staging_.weights.sub(0, picks);
  device.copy_and_raise(
      owner.compute,
      std::array{
          CopyArgs{bytes_of(x), bytes_of(owner.scratch.normed.sub(0, elements)), "activations to the CPU"},
          CopyArgs{bytes_of(ids), bytes_of(owner.scratch.experts.ids.sub(0, picks)), "picks to the CPU"},
          CopyArgs{bytes_of(weights), bytes_of(owner.scratch.experts.weights.sub(0, picks)), "picks to the CPU"}},
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
  const ModelSpec& c = model_.spec;
  const auto count = static_cast<std::size_t>(tokens.count);
  const std::size_t elements = count * static_cast<std::size_t>(c.hidden);
  DeviceState& home = devices_[0];
  DeviceState* current = &home;
  std::int64_t expert_layer = 0;
  attention_.begin();
  for (std::int64_t l = 0; l < c.layer_count(); ++l) {
    DeviceState& owner = *std::find_if(devices_.begin(), devices_.end(), [&](const DeviceState& state) {
      return std::binary_search(state.layers.begin(), state.layers.end(), l);
    });
    if (&owner != current) move_residual(*current, owner, elements);
    current = &owner;
    const Batch batch = tokens.prompt ? Batch{static_cast<int>(tokens.count), owner.prompt_positions.sub(0, count),
                                              owner.chunk_span.sub(1, 1)}
                                      : Batch{1, owner.position, owner.decode_span};
    const LayerTokens those{batch, owner.residual.sub(0, elements), tokens.first};
    const std::int64_t nth = expert_layer;
    expert_layer += c.has_experts(l);
    run_layer(c, owner, attention_, l, nth, those, hooks, [&] { enqueue_experts(owner, tokens, l, nth); });
  }
  if (current != &home) move_residual(*current, home, elements);
}

void Decode::enqueue(const PickHooks& hooks, std::size_t token_index) {
  const ModelSpec& c = model_.spec;
  const auto hidden = static_cast<std::size_t>(c.hidden);
  DeviceState& home = devices_[0];
  for (DeviceState& state : devices_)
    state.device->run(state.compute, AdvanceArgs{state.token, state.id, state.position});
  home.device->run(home.compute, EmbeddingArgs{home.head.embedding, home.id, home.residual.sub(0, hidden)});
  enqueue_layers({.first = token_index}, hooks);
  head(*home.device, home.compute, c, home.head, home.residual.sub(0, hidden), home.scratch.normed, home.logits);
  home.device->run(home.compute, SampleArgs{home.logits, home.sampling, home.history, home.token});
}

void Decode::enqueue_prompt(std::int64_t tokens, const PickHooks& hooks) {
  DeviceState& home = devices_[0];
  const auto count = static_cast<std::size_t>(tokens);
  home.device->run(home.compute,
                   EmbeddingArgs{home.head.embedding, home.prompt.sub(0, count),
                                 home.residual.sub(0, count * static_cast<std::size_t>(model_.spec.hidden))});
  enqueue_layers({.count = tokens, .prompt = true}, hooks);
}

}  // namespace krasis

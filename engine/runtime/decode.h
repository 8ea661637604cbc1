#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/runtime/expert_cache.h"
#include "engine/runtime/picks.h"
#include "engine/runtime/streamed_attention.h"
#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {

/// What computes the CPU's experts.
struct HostCompute {
  const HostOperations* operations = nullptr;
  std::shared_ptr<ThreadTeam> team;
  std::vector<int> numa_shards;  ///< nodes that have the rows that their cores read, in the team's order (PackedModel)
};

/// The CPU's experts of one layer: out of staging's first `tokens`, those picks that `offsets` ([experts], -1 = not the
/// CPU's) have, into `staging.sum`. On the calling thread and the team.
void compute_cpu_experts(const PackedModel& model, const HostCompute& cpu, const DecodeStaging& staging, std::int64_t layer,
                         std::size_t tokens, View<const std::int64_t> offsets);

/// One decode step, or a short prompt at once: the tokens' layers on their owners; in each layer the cached experts run on
/// the device that caches them while the CPU computes the others.
///
/// Ordering: the layer's device raises a signal when activations and picks are in page-locked memory; the CPU's lane
/// awaits it ("activations are on the host"), computes, raises another, which the device awaits ("CPU experts are
/// done") before it adds the sum. No host round trip; the step can be recorded once and replayed.
class Decode {
 public:
  /// `cache`, which outlives it, says where each expert is computed, and counts their picks.
  Decode(const PackedModel& model, std::span<DeviceState> devices, const DecodeStaging& staging, const HostCompute& cpu,
         ExpertCache& cache);

  /// Enqueues one step: takes device 0's `token`, advances every device's `position` by one, leaves logits and the
  /// sampled token on device 0. `hooks` are for a step that is not recorded; `token_index` is its place in them.
  void enqueue(const PickHooks& hooks, std::size_t token_index);
  /// Steps enqueued from now on leave streamed attention where it is, to be timed without its copies: StreamedAttention::pause.
  void pause_attention(bool paused) { attention_.pause(paused); }
  /// Enqueues the first `tokens` of device 0's `prompt`, at most kMostCpuPrompt; their chunk spans are on every device.
  /// Afterwards their residual is on device 0, as after Prefill::enqueue.
  void enqueue_prompt(std::int64_t tokens, const PickHooks& hooks);

 private:
  /// Tokens that pass through the layers together.
  struct Tokens {
    std::int64_t count = 1;
    bool prompt = false;  ///< their positions are the first `count`, not the one that decode is at
    std::size_t first = 0;  ///< their place in the hooks
  };
  /// All layers, from the home's residual to the home's residual.
  void enqueue_layers(const Tokens& tokens, const PickHooks& hooks);
  void enqueue_experts(DeviceState& owner, const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer);
  void hand_to_cpu(DeviceState& owner, const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer);
  void enqueue_cached(DeviceState& owner, DeviceState& cache, const Tokens& tokens, std::int64_t expert_layer);
  void compute_on_cpu(const Tokens& tokens, std::int64_t layer, std::int64_t expert_layer);

  const PackedModel& model_;
  std::span<DeviceState> devices_;
  StreamedAttention attention_;
  DecodeStaging staging_;
  HostCompute cpu_;
  ExpertCache& cache_;
  Stream cpu_lane_;
  std::vector<Signal> to_cpu_, from_cpu_;  ///< [devices]
};

}  // namespace krasis

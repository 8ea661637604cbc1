#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/config/run_configuration.h"
#include "engine/placement/plan.h"
#include "engine/runtime/decode_parts.h"
#include "engine/system/topology.h"
#include "engine/weights/packed_model.h"
#include "kernels/device.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "kernels/host/trace.h"

namespace krasis {

enum class StopReason : std::uint8_t { Length, EndOfText, Cancelled };

/// Where the experts of a prompt are computed.
enum class PrefillPath : std::uint8_t {
  Stream,  ///< on the devices, layer group by layer group
  Picked,  ///< on the devices, to which only those are copied that its tokens picked. For up to kMostPickedPrompt tokens
  Cpu,     ///< where they lie, by the CPU; the cached ones on their devices. For prompts of up to kMostCpuPrompt tokens
};
std::string_view name_of(PrefillPath path);  ///< "stream", "picked", "cpu"
struct GenerationOptions {
  int max_new_tokens = 64;
  std::optional<PrefillPath> path;  ///< none: Engine::prefill_path
  bool ignore_end_of_text = false;  ///< benchmarks decode exactly max_new_tokens
  std::stop_token stop;
  /// Told, on the calling thread, which share of the prompt's layers and tokens is done, rising to 1, at most some 64
  /// times. Of a prompt by the CPU, which is short, it is not told.
  std::function<void(double)> on_prompt = {};
};

/// What decode asked of the expert cache, and what an adaptive one did.
struct CacheUse {
  std::vector<std::int64_t> hits, misses;  ///< [layers with experts]: picks of cached experts, and of the CPU's
  /// [top_k + 1]: a histogram of CPU experts; entry n counts the (token, layer) pairs of which the CPU computed n
  /// picked experts. Like hits and misses, of all computed steps: after an end of text or a cancel the one that was
  /// ahead too, which token_s does not have.
  std::vector<std::int64_t> layers_by_misses;
  std::int64_t admitted_experts = 0;       ///< that came in while decoding
  std::size_t admitted_bytes = 0;          ///< copied for them
};

/// A change of what is cached in the last generation or evaluation.
struct CacheChange {
  int step = 0;             ///< before the decode step of this index; 0 is the first one behind the prompt
  std::int64_t expert = 0;  ///< of [layers with experts * experts]
  bool cached = false;      ///< from then on
};

/// What was cached at each decode step of a generation.
class CacheHistory {
 public:
  /// `first` and `changes` as Engine::cached_experts() and cache_changes() give them.
  CacheHistory(const std::vector<int>& first, const std::vector<CacheChange>& changes);
  /// Negative steps: while the prompt was read.
  bool at(int step, std::int64_t expert) const;

 private:
  std::vector<std::vector<int>> turns_;  ///< of each expert: the steps from which it was cached, then not, then again, ...
};

/// What a generation did. Times are of the steady clock, in seconds.
struct Generation {
  std::vector<std::int32_t> tokens;   ///< generated, the first one from the prefill
  PrefillPath path = PrefillPath::Stream;
  std::size_t prefill_copied_bytes = 0;  ///< weights copied to the devices for the prompt
  double prefill_s = 0;               ///< prompt tokens to the first sampled token, on the device (= TTFT without text work)
  std::vector<double> token_s;        ///< of each later token: tokens.size() - 1 entries
  StopReason stop = StopReason::Length;
  CacheUse cache;  ///< of all steps that decode computed
  /// In a step of decode, among host and devices; the mean of all steps but the first; 0 if there were less than two.
  double step_copied_bytes = 0;
  double decode_host_s = 0;  ///< in host tasks (the CPU's experts), after the first token
};

/// A generation whose operations were timed; each of them some microseconds slower than usual.
struct TracedGeneration {
  Generation generation;
  /// In order of their start. GPUs replay a decode step as one graph, which is not looked into: of decode there are the
  /// host's tasks alone. The host device shows everything.
  std::vector<TraceEntry> entries;
  std::int64_t begin_ns = 0, prefill_end_ns = 0, end_ns = 0;  ///< of trace_clock_ns()
};

/// Bytes of one place, predicted and used.
struct PlaceReport {
  int device = -1;
  std::string place;
  std::size_t planned_bytes = 0;
  std::size_t high_water_bytes = 0;
};

/// Router picks of all tokens: [layers with experts, tokens, top_k].
struct RouterPicks {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

/// Teacher-forced logits: the first `prefill_tokens` go through prefill, the rest token by token through decode.
struct EvaluationOptions {
  int prefill_tokens = 0;                    ///< 1..tokens
  std::optional<PrefillPath> path;           ///< none: Engine::prefill_path of prefill_tokens
  std::vector<std::int32_t> positions;       ///< whose logits are wanted, rising
  const RouterPicks* forced_picks = nullptr; ///< replaces the router's choice
  bool record_picks = false;                 ///< the router's own choice, also where it is replaced
};
struct Evaluation {
  std::vector<float> logits;  ///< [positions, vocabulary]
  RouterPicks picks;          ///< if recorded
};

struct EngineOptions {
  std::filesystem::path embedded_model;   ///< where resources/models/... lies
  std::filesystem::path cache_directory;  ///< packed copies and heatmaps; empty = none
  std::function<void(const LoadProgress&)> progress;
  std::stop_token stop;
  bool check_order = false;               ///< host device: happens-before checker
  std::optional<std::uint64_t> schedule_seed;  ///< host device: seeded schedule instead of threads
  bool trace = false;
  bool poison = false;                    ///< GPU: fills new and freed memory with NaN, to find what reads it (the host device always does)
  std::span<const Architecture* const> architectures = krasis::architectures();  ///< that a model may be of
  std::shared_ptr<const PackedModel> packed;  ///< these instead of loading; same_weights() says when
  std::vector<std::int32_t> heatmap_tokens;  ///< real text that the expert heatmap is measured on (hcs on or multi)
  std::optional<std::vector<ComputeNode>> nodes;  ///< instead of this machine's NUMA nodes (RunConfiguration::numa)
};

/// One loaded model on its devices. Used by one thread at a time.
class Engine {
 public:
  static Expected<std::unique_ptr<Engine>> load(const RunConfiguration& configuration, const EngineOptions& options);
  virtual ~Engine() = default;

  /// Prefill of `prompt`, then decode. `on_token(token, index)` is called on the calling thread as each token is known.
  /// The KV cache's prefix that equals the previous call's tokens is NOT reused: every benchmark repetition is whole.
  virtual Expected<Generation> generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                                        const std::function<void(std::int32_t, int)>& on_token) = 0;
  /// The same, traced. Unsupported if the engine has no platform of its own to switch.
  virtual Expected<TracedGeneration> trace(std::span<const std::int32_t> prompt, const GenerationOptions& options);
  virtual Expected<Evaluation> evaluate(std::span<const std::int32_t> tokens, const EvaluationOptions& options) = 0;

  /// What a token takes by its parts, behind the last prompt: 20 steps without experts, as many with all of them on
  /// the devices if these cache any, as many with streamed attention's copies if it is, and on the CPU each layer's
  /// experts for 0 to top_k picks. It takes as long as some 30 to 70 tokens: seconds where tokens are slow. Measured
  /// again only behind a prompt of another length. Later texts are as if it had not been called. Unsupported if there
  /// was no prompt or the context has no room for the steps; Cancelled if `stop`, looked at between steps and layers,
  /// asks for it.
  virtual Expected<DecodeParts> decode_parts(std::stop_token stop) = 0;

  virtual const PackedModel& model() const = 0;
  /// The weights themselves, for another engine on the same ones (EngineOptions::packed).
  virtual std::shared_ptr<const PackedModel> shared_model() const = 0;
  virtual const RunConfiguration& configuration() const = 0;
  virtual const Plan& plan() const = 0;
  virtual std::vector<PlaceReport> memory_report() const = 0;
  /// Sampling of later generations (temperature, top_k, top_p, min_p, repetition_penalty, seed of `configuration`).
  virtual void set_sampling(const RunConfiguration& configuration) = 0;
  /// The path that a prompt of `tokens` tokens takes.
  virtual PrefillPath prefill_path(std::size_t tokens) const = 0;
  /// Which experts are computed on a device in prompts and from the first decode step on: [layers with experts * experts]
  /// device index or -1. Every generation and evaluation begins with them, so equal ones give equal results.
  virtual const std::vector<int>& cached_experts() const = 0;
  /// Of the GPUs that it uses; empty for the host device.
  virtual std::vector<std::string> pci_bus_ids() const { return {}; }
  /// How an adaptive cache left that set in the last generation or evaluation, by rising steps.
  virtual const std::vector<CacheChange>& cache_changes() const = 0;
  /// The threads that compute on the CPU; free between calls, e.g. to measure what memory they can read.
  virtual ThreadTeam& team() const = 0;
};

/// Whether two configurations need the same packed weights: model, precision, synthetic weights, where they lie.
bool same_weights(const RunConfiguration& a, const RunConfiguration& b);

}  // namespace krasis

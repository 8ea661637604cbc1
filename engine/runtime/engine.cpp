#include "engine/runtime/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/runtime/compute_threads.h"
#include "engine/runtime/hybrid_engine.h"
#include "engine/runtime/platform.h"
#include "engine/runtime/setup.h"
#include "engine/system/memory.h"
#include "engine/system/system_check.h"

namespace krasis {
namespace {

/// A HybridEngine with the platform that it runs on.
class HostedEngine final : public Engine {
 public:
  HostedEngine(std::unique_ptr<Platform> platform, std::unique_ptr<HybridEngine> engine)
      : platform_(std::move(platform)), engine_(std::move(engine)) {}

  Expected<Generation> generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                                const std::function<void(std::int32_t, int)>& on_token) override {
    // Copies count when they are enqueued, which decode does one step ahead: behind the first token, one step has been.
    PlatformActivity first, last;
    int more = 0;  // steps between them
    auto generation = engine_->generate(prompt, options, [&](std::int32_t token, int index) {
      if (index == 0) first = platform_->activity();
      if (index > 0 && index + 1 < options.max_new_tokens) more = index;
      if (more == index) last = platform_->activity();
      if (on_token) on_token(token, index);
    });
    if (generation) {
      if (more > 0) generation->step_copied_bytes = static_cast<double>(last.copied_bytes - first.copied_bytes) / more;
      generation->decode_host_s = static_cast<double>(platform_->activity().host_task_ns - first.host_task_ns) * 1e-9;
    }
    return checked(std::move(generation));
  }
  Expected<TracedGeneration> trace(std::span<const std::int32_t> prompt, const GenerationOptions& options) override {
    KRASIS_CHECK(platform_->set_tracing(true));
    TracedGeneration traced;
    traced.begin_ns = trace_clock_ns();
    auto generation = generate(prompt, options, {});
    traced.prefill_end_ns = traced.end_ns = trace_clock_ns();
    traced.entries = platform_->trace();
    const auto token = std::ranges::find(traced.entries, kTokenCopy, &TraceEntry::name);
    if (token != traced.entries.end()) traced.prefill_end_ns = token->end_ns;
    KRASIS_CHECK(platform_->set_tracing(false));
    if (!generation) return tl::unexpected(generation.error());
    traced.generation = std::move(*generation);
    return traced;
  }
  std::vector<std::string> pci_bus_ids() const override { return platform_->pci_bus_ids(); }
  Expected<Evaluation> evaluate(std::span<const std::int32_t> tokens, const EvaluationOptions& options) override {
    return checked(engine_->evaluate(tokens, options));
  }
  Expected<DecodeParts> decode_parts(std::stop_token stop) override {
    return checked(engine_->decode_parts(std::move(stop)));
  }
  const PackedModel& model() const override { return engine_->model(); }
  std::shared_ptr<const PackedModel> shared_model() const override { return engine_->shared_model(); }
  const RunConfiguration& configuration() const override { return engine_->configuration(); }
  ThreadTeam& team() const override { return engine_->team(); }
  const Plan& plan() const override { return engine_->plan(); }
  std::vector<PlaceReport> memory_report() const override { return engine_->memory_report(); }
  void set_sampling(const RunConfiguration& configuration) override { engine_->set_sampling(configuration); }
  PrefillPath prefill_path(std::size_t tokens) const override { return engine_->prefill_path(tokens); }
  const std::vector<int>& cached_experts() const override { return engine_->cached_experts(); }
  const std::vector<CacheChange>& cache_changes() const override { return engine_->cache_changes(); }

 private:
  /// Output that depends on an unordered access is no result.
  template <class T>
  Expected<T> checked(Expected<T> result) const {
    if (result) KRASIS_CHECK(platform_->check());
    return result;
  }

  std::unique_ptr<Platform> platform_;  // outlives the engine's buffers
  std::unique_ptr<HybridEngine> engine_;
};

/// By the parameter's name. An instruction set that was asked for is never replaced by a smaller one.
Expected<const HostOperations*> host_operations(const std::string& name) {
  if (name == "scalar") return &scalar_operations();
  if (name == "simd") return &simd_operations();
  struct Level {
    std::string_view name;
    SimdLevel level;
    std::string_view refusal;
  };
  constexpr Level kLevels[] = {
      {"avx2", SimdLevel::Avx2, "This CPU has no AVX2 with FMA and F16C."},
      {"avx512", SimdLevel::Avx512, "This CPU has no AVX-512 with VNNI."},
      {"amx", SimdLevel::Amx, "This CPU has no AMX tiles for INT8 and BF16 beside AVX-512, or the system does not let this process use them."}};
  constexpr std::string_view kRemedy = "Set operations to \"simd\", which takes what the CPU has.";
  for (const Level& known : kLevels) {
    if (known.name != name) continue;
    if (has_simd(known.level)) return &simd_operations(known.level);
    return fail(ErrorCode::Unsupported, std::string(known.refusal), std::string(kRemedy));
  }
  return fail(ErrorCode::InvalidArgument, fmt::format("There are no operations \"{}\".", name), std::string(kRemedy));
}

/// Those that rows are divided among: none unless the configuration asks for it, one where the system knows none.
std::vector<ComputeNode> shard_nodes(const RunConfiguration& configuration, const EngineOptions& options) {
  if (configuration.numa != "shards") return {};
  std::vector<ComputeNode> nodes = options.nodes ? *options.nodes : compute_nodes();
  if (nodes.empty()) nodes.emplace_back();
  return nodes;
}

std::string place_name(int device) { return device < 0 ? "host memory" : fmt::format("device {}", device); }

Expected<void> check_fit(const Plan& plan) {
  for (const PlanPlace& place : plan.places) {
    if (place.fits()) continue;
    const auto mib = [](std::size_t bytes) { return static_cast<double>(bytes) / 1048576.0; };
    return fail(ErrorCode::OutOfMemory,
                fmt::format("The plan needs {:.1f} MiB of {}, but {:.1f} MiB are there.", mib(place.needed_bytes),
                            place_name(place.device), mib(place.budget_bytes)),
                plan.advice.empty() ? "No single change makes it fit: raise vram_budget_mib or choose a smaller model."
                                    : "What helps most: " + plan.advice.front() + ".");
  }
  return {};
}

}  // namespace

Expected<TracedGeneration> Engine::trace(std::span<const std::int32_t>, const GenerationOptions&) {
  return fail(ErrorCode::Unsupported, "This engine cannot be traced.", "Load it with Engine::load.");
}

std::string_view name_of(PrefillPath path) {
  return path == PrefillPath::Cpu ? "cpu" : path == PrefillPath::Picked ? "picked" : "stream";
}

CacheHistory::CacheHistory(const std::vector<int>& first, const std::vector<CacheChange>& changes) : turns_(first.size()) {
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] >= 0) turns_[i].push_back(std::numeric_limits<int>::min());
  }
  for (const CacheChange& change : changes) turns_[static_cast<std::size_t>(change.expert)].push_back(change.step);
}

bool CacheHistory::at(int step, std::int64_t expert) const {
  const std::vector<int>& turns = turns_[static_cast<std::size_t>(expert)];
  return std::count_if(turns.begin(), turns.end(), [&](int turn) { return turn <= step; }) % 2 == 1;
}

bool same_weights(const RunConfiguration& a, const RunConfiguration& b) {
  return a.model == b.model && precision_of(a) == precision_of(b) && a.synthetic_seed == b.synthetic_seed &&
         a.synthetic_skew == b.synthetic_skew && a.numa == b.numa;
}

Hardware host_hardware(std::size_t held_bytes) {
  Hardware hardware;
  hardware.devices = 16;  // pretended ones
  const std::size_t usable = host_memory().usable_bytes();
  hardware.host_memory_bytes = usable > SIZE_MAX - held_bytes ? SIZE_MAX : usable + held_bytes;
  return hardware;
}

std::filesystem::path model_folder(const std::string& model, const std::filesystem::path& embedded_model) {
  if (model == "embedded") return embedded_model;
  constexpr std::string_view kSynthetic = "synthetic:";
  if (!model.starts_with(kSynthetic)) return model;
  const std::filesystem::path path = model.substr(kSynthetic.size());
  return path.filename() == "config.json" ? path.parent_path() : path;
}

Expected<std::unique_ptr<Engine>> Engine::load(const RunConfiguration& configuration, const EngineOptions& options) {
  const std::string source = configuration.model == "embedded" ? options.embedded_model.string() : configuration.model;
  KRASIS_TRY(const ModelSpec spec,
             load_model_spec(model_folder(configuration.model, options.embedded_model), options.architectures));
  KRASIS_TRY(Plan plan, make_plan(spec, configuration, host_hardware(options.packed ? options.packed->bytes() : 0)));
  KRASIS_CHECK(check_fit(plan));
  KRASIS_TRY(const HostOperations* operations, host_operations(configuration.operations));
  const std::vector<ComputeNode> nodes = shard_nodes(configuration, options);
  std::vector<int> numa_shards;
  for (const ComputeNode& node : nodes) numa_shards.push_back(node.id);
  std::shared_ptr<const PackedModel> model = options.packed;
  if (!model) {
    KRASIS_TRY(PackedModel loaded, load_packed_model(source, precision_of(configuration),
                                                     {.cache_directory = options.cache_directory,
                                                      .synthetic_seed = configuration.synthetic_seed,
                                                      .synthetic_skew = configuration.synthetic_skew,
                                                      .numa_shards = numa_shards,
                                                      .architectures = options.architectures,
                                                      .progress = options.progress,
                                                      .stop = options.stop}));
    model = std::make_shared<const PackedModel>(std::move(loaded));
  }
  const auto team = make_thread_team(configuration.threads, nodes);
  const HostCompute cpu{operations, team, std::move(numa_shards)};
  KRASIS_TRY(auto platform, Platform::open(configuration, options, cpu));
  KRASIS_TRY(auto engine, HybridEngine::create(platform->devices(), std::move(model), configuration,
                                               std::move(plan), options.heatmap_tokens, cpu));
  return std::make_unique<HostedEngine>(std::move(platform), std::move(engine));
}

}  // namespace krasis

#include "engine/bench/runner.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>

#include <nlohmann/json.hpp>

#include "engine/bench/run_progress.h"
#include "engine/bench/telemetry.h"

namespace krasis {
namespace {

/// What the plan predicts of a token with the hits that were measured; 0 if it cannot.
double predicted_decode_s(const Generation& generation, const Engine& engine, const Ceilings& ceilings) {
  const CacheUse& cache = generation.cache;
  std::vector<double> shares;
  for (std::size_t layer = 0; layer < cache.hits.size(); ++layer) {
    const auto picks = static_cast<double>(cache.hits[layer] + cache.misses[layer]);
    shares.push_back(picks > 0 ? static_cast<double>(cache.hits[layer]) / picks : 0.0);
  }
  const Hardware hardware{.h2d_gb_per_s = ceilings.copy_gb_per_s,
                          .host_read_gb_per_s = ceilings.read_gb_per_s,
                          .device_read_gb_per_s = ceilings.device_read_gb_per_s};
  return predict_decode_s(engine.model().spec, engine.configuration(), hardware, shares);
}

protocol::Sample sample_of(const Generation& generation, const BenchmarkPrompt& prompt, const Engine& engine,
                           const Tokenizer* tokenizer, const Ceilings& ceilings,
                           const std::optional<DecodeParts>& parts) {
  protocol::Sample sample;
  sample.prefill_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  sample.prefill_s = generation.prefill_s;
  sample.ttft_s = generation.prefill_s;  // the prompt is tokens already
  sample.decode_tokens = static_cast<std::int64_t>(generation.token_s.size());
  sample.decode_token_s = generation.token_s;
  sample.decode_s = std::accumulate(generation.token_s.begin(), generation.token_s.end(), 0.0);
  const CacheUse& cache = generation.cache;
  nlohmann::json metrics{{"cache_hits", std::accumulate(cache.hits.begin(), cache.hits.end(), std::int64_t{0})},
                         {"cache_misses", std::accumulate(cache.misses.begin(), cache.misses.end(), std::int64_t{0})},
                         {"cache_layer_hits", cache.hits},
                         {"cache_layer_misses", cache.misses},
                         {"cache_admitted_experts", cache.admitted_experts},
                         {"cache_admitted_bytes", cache.admitted_bytes},
                         {"prefill_path", name_of(generation.path)}};
  if (sample.decode_s > 0) {
    const double rate = static_cast<double>(engine.plan().decode_bytes_per_token) * static_cast<double>(sample.decode_tokens) /
                        sample.decode_s / 1e9;
    metrics["decode_gb_per_s"] = rate;
    if (ceilings.read_gb_per_s > 0) metrics["decode_share_of_read_limit"] = rate / ceilings.read_gb_per_s;
  }
  if (const double predicted_s = predicted_decode_s(generation, engine, ceilings); predicted_s > 0 && sample.decode_s > 0) {
    metrics["decode_predicted_s_per_token"] = predicted_s;
    metrics["decode_share_of_prediction"] = predicted_s * static_cast<double>(sample.decode_tokens) / sample.decode_s;
  }
  if (parts && sample.decode_s > 0) {
    const double predicted_s = predict_decode_s(*parts, cache.layers_by_misses, sample.decode_tokens);
    metrics["decode_parts_s_per_token"] = predicted_s;
    metrics["decode_share_of_parts"] = predicted_s * static_cast<double>(sample.decode_tokens) / sample.decode_s;
  }
  metrics["prefill_copied_bytes"] = generation.prefill_copied_bytes;
  if (generation.prefill_s > 0 && generation.prefill_copied_bytes > 0) {
    const double rate = static_cast<double>(generation.prefill_copied_bytes) / generation.prefill_s / 1e9;
    metrics["prefill_copy_gb_per_s"] = rate;
    if (ceilings.copy_gb_per_s > 0) metrics["prefill_share_of_copy_limit"] = rate / ceilings.copy_gb_per_s;
    metrics["prefill_gflop_per_s"] = 2e-9 * static_cast<double>(active_parameter_count(engine.model().spec)) *
                                     static_cast<double>(prompt.tokens.size()) / generation.prefill_s;
  }
  sample.metrics_json = metrics.dump();
  if (tokenizer != nullptr) sample.output_text = tokenizer->decode(generation.tokens).value_or("");
  return sample;
}

/// Tells how far a benchmark is: when a stage begins, and in the middle of one some times a second, so that the timed
/// thread loses some ten microseconds in each of these.
class Reporter {
 public:
  Reporter(const std::string& id, const BenchmarkEvents& events, const RunConfiguration& c, std::size_t prompt_tokens,
           double verdict_s)
      : on_stage_(events.on_stage),
        now_{.id = id},
        prompt_tokens_(static_cast<std::int64_t>(prompt_tokens)),
        decode_tokens_(c.decode_tokens),
        progress_(c.warmups, c.repetitions, c.decode_tokens, verdict_s) {}

  using Begin = void (RunProgress::*)(double);
  void stage(const char* name, int index, int count, Begin begin) {
    (progress_.*begin)(seconds());
    now_.stage = name;
    now_.index = index;
    now_.count = count;
    tell("", 0, 0, true);
  }
  void prompt(double share) {
    progress_.prompt_done(share, seconds());
    tell("prompt", static_cast<std::int64_t>(share * static_cast<double>(prompt_tokens_)), prompt_tokens_);
  }
  void token(int index) {
    if (index == 0) return prompt(1);
    progress_.tokens_done(index, seconds());
    tell("text", index, decode_tokens_);
  }
  void position(std::int64_t done, std::int64_t all, double share) {
    progress_.verdict_done(share, seconds());
    tell("reference", done, all);
  }

 private:
  using Clock = std::chrono::steady_clock;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  void tell(const char* part, std::int64_t done, std::int64_t all, bool always = false) {
    constexpr double kPauseS = 0.25;
    const double now = seconds();
    if (!on_stage_ || (!always && now - told_s_ < kPauseS)) return;
    told_s_ = now;
    now_.part = part;
    now_.done = done;
    now_.all = all;
    now_.share = progress_.share(now);
    now_.left_s = std::max(0.0, progress_.left_s(now));
    on_stage_(now_);
  }

  const std::function<void(const protocol::Stage&)>& on_stage_;
  protocol::Stage now_;
  std::int64_t prompt_tokens_, decode_tokens_;
  RunProgress progress_;
  Clock::time_point begin_ = Clock::now();
  double told_s_ = 0;
};

/// Of the traced repetition, with a few tokens of decode.
nlohmann::json trace_prefill(Engine& engine, const BenchmarkPrompt& prompt, GenerationOptions options, const Ceilings& ceilings,
                             const std::filesystem::path& trace_file) {
  constexpr int kTracedTokens = 8;
  options.max_new_tokens = std::min(options.max_new_tokens, kTracedTokens);
  const auto traced = engine.trace(prompt.tokens, options);
  if (!traced) return {{"not_traced_because", traced.error().message()}};
  nlohmann::json telemetry{{"prefill", prefill_telemetry(*traced, ceilings)}};
  if (trace_file.empty()) return telemetry;
  if (const auto written = write_trace(*traced, trace_file)) {
    telemetry["trace_file"] = std::filesystem::absolute(trace_file).string();
  } else {
    telemetry["no_trace_file_because"] = written.error().message();
  }
  return telemetry;
}

}  // namespace

Expected<protocol::Finished> run_benchmark(Engine& engine, const Tokenizer* tokenizer, const BenchmarkPrompt& prompt,
                                           const RunConfiguration& configuration, const Ceilings& ceilings, Judge& judge,
                                           const std::string& id, const BenchmarkEvents& events, std::stop_token stop,
                                           const std::filesystem::path& trace_file) {
  engine.set_sampling(configuration);
  protocol::Finished finished;
  finished.id = id;
  finished.prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  const auto generated = static_cast<std::size_t>(configuration.decode_tokens) + 1;
  const double verdict_s = judge.expected_s(engine, prompt.tokens, generated);
  Reporter reporter(id, events, configuration, prompt.tokens.size(), verdict_s);
  const GenerationOptions options{.max_new_tokens = configuration.decode_tokens + 1, .ignore_end_of_text = true, .stop = stop};
  GenerationOptions followed = options;
  followed.on_prompt = [&](double share) { reporter.prompt(share); };
  std::vector<std::vector<std::int32_t>> outputs;
  nlohmann::json telemetry = nlohmann::json::object();
  std::vector<Generation> timed;
  std::optional<DecodeParts> parts;  // before they are measured, and where they cannot be: none
  std::string parts_unknown_because;
  std::optional<GpuMonitor> monitor;
  for (int run = 0; run < configuration.warmups + configuration.repetitions && !finished.cancelled; ++run) {
    const bool warm_up = run < configuration.warmups;
    const int index = warm_up ? run : run - configuration.warmups;
    if (run == configuration.warmups) {
      reporter.stage("trace", 0, 1, &RunProgress::begin_trace);
      telemetry = trace_prefill(engine, prompt, options, ceilings, trace_file);
      if (!stop.stop_requested()) {
        reporter.stage("parts of decode", 0, 1, &RunProgress::begin_parts);
        if (auto measured = engine.decode_parts(stop)) {
          parts = std::move(*measured);
        } else {
          parts_unknown_because = measured.error().message();
        }
      }
      finished.cancelled = stop.stop_requested();
      if (finished.cancelled) break;
      if (const auto gpus = engine.pci_bus_ids(); !gpus.empty()) monitor.emplace(gpus);
    }
    const int count = warm_up ? configuration.warmups : configuration.repetitions;
    reporter.stage(warm_up ? "warm-up" : "repetition", index, count, &RunProgress::begin_generation);
    KRASIS_TRY(Generation generation, engine.generate(prompt.tokens, followed, [&](std::int32_t, int token) {
      reporter.token(token);
    }));
    if (generation.stop == StopReason::Cancelled) {
      finished.cancelled = true;  // half a repetition is no sample
      break;
    }
    protocol::Sample sample = sample_of(generation, prompt, engine, tokenizer, ceilings, parts);
    sample.id = id;
    sample.warm_up = warm_up;
    sample.index = index;
    if (events.on_sample) events.on_sample(sample);
    finished.tokens = static_cast<std::int64_t>(generation.tokens.size());
    finished.prefill_s = sample.prefill_s;
    finished.ttft_s = sample.ttft_s;
    finished.decode_s = sample.decode_s;
    if (!warm_up) {
      outputs.push_back(std::move(generation.tokens));
      timed.push_back(std::move(generation));
    }
    finished.cancelled = stop.stop_requested();
  }
  if (finished.cancelled) {
    finished.stop_reason = "cancelled";
    return finished;
  }
  finished.stop_reason = "length";
  telemetry["decode"] = decode_telemetry(timed, engine.plan().cached_experts > 0);
  double predicted_s = 0;
  for (const Generation& generation : timed) predicted_s += predicted_decode_s(generation, engine, ceilings);
  if (predicted_s > 0) telemetry["decode"]["predicted_s_per_token"] = predicted_s / static_cast<double>(timed.size());
  if (parts) telemetry["decode"]["parts"] = parts_telemetry(*parts, timed);
  if (!parts_unknown_because.empty()) telemetry["decode"]["parts_unknown_because"] = parts_unknown_because;
  if (monitor && monitor->unknown_because().empty()) {
    telemetry["gpus"] = gpu_telemetry(monitor->stop());
  } else if (monitor) {
    telemetry["gpus_unknown_because"] = monitor->unknown_because();
  }
  finished.telemetry_json = telemetry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  reporter.stage("verdict", 0, 1, &RunProgress::begin_verdict);
  auto verdict = judge.judge(
      engine, prompt.tokens, outputs,
      {.on_position = [&](std::int64_t done, std::int64_t all, double share) { reporter.position(done, all, share); },
       .stop = stop});
  if (!verdict && verdict.error().code == ErrorCode::Cancelled) {
    finished.cancelled = true;
    finished.stop_reason = "cancelled";
    return finished;
  }
  KRASIS_TRY(finished.verdict, std::move(verdict));
  return finished;
}

}  // namespace krasis

#include "results_db/records.h"

#include <array>
#include <utility>

#include "engine/config/parameters.h"

namespace krasis::results {

namespace {

constexpr std::array<std::pair<RunStatus, std::string_view>, 7> kStatuses{{{RunStatus::Queued, "queued"},
                                                                           {RunStatus::Running, "running"},
                                                                           {RunStatus::Done, "done"},
                                                                           {RunStatus::Failed, "failed"},
                                                                           {RunStatus::Crashed, "crashed"},
                                                                           {RunStatus::Cancelled, "cancelled"},
                                                                           {RunStatus::OutOfMemory, "out_of_memory"}}};
constexpr std::array<std::pair<Verdict, std::string_view>, 3> kVerdicts{
    {{Verdict::None, "none"}, {Verdict::Pass, "pass"}, {Verdict::Fail, "fail"}}};

}  // namespace

std::vector<ParameterValue> describe(const RunParameters& parameters) {
  std::vector<ParameterValue> values;
  for (const Parameter* parameter : stored_parameters()) {
    values.push_back({parameter->name, parameter->column_heading(), parameter->cell(parameters)});
  }
  values.push_back({"prompt_fingerprint", "Prompt", parameters.prompt_fingerprint});
  return values;
}

std::string shown(const RunParameters& parameters, std::string_view name) {
  if (name == "prompt_fingerprint") return parameters.prompt_fingerprint;
  const Parameter* parameter = find_parameter(name);
  return parameter == nullptr ? std::string() : parameter->cell(parameters);
}

std::string_view name_of(RunStatus status) {
  return kStatuses[static_cast<std::size_t>(status)].second;
}
std::string_view name_of(Verdict verdict) {
  return kVerdicts[static_cast<std::size_t>(verdict)].second;
}

std::optional<RunStatus> run_status_of(std::string_view name) {
  for (const auto& [status, text] : kStatuses) {
    if (text == name) return status;
  }
  return std::nullopt;
}

std::optional<Verdict> verdict_of(std::string_view name) {
  for (const auto& [verdict, text] : kVerdicts) {
    if (text == name) return verdict;
  }
  return std::nullopt;
}

namespace {

/// Tokens and the seconds that they took, summed over repetitions.
struct Total {
  std::int64_t tokens = 0;
  double seconds = 0;
  void add(std::int64_t more_tokens, double more_seconds) {
    tokens += more_tokens;
    seconds += more_seconds;
  }
};

void conclude_time(Metric& time, double value) {
  time.statistics = statistics_of(time.samples);
  time.value = value;
  time.confidence95 = time.statistics.confidence95;
}

void conclude_rate(Metric& rate, const Total& total) {
  rate.statistics = statistics_of(rate.samples);
  if (total.seconds > 0) rate.value = static_cast<double>(total.tokens) / total.seconds;
  if (const auto times = t_interval(reciprocals(rate.samples)); times && times->low > 0) {
    rate.confidence95 = Interval{1 / times->high, 1 / times->low};
  }
}

}  // namespace

RunSummary summarize(RunRecord run, const std::vector<Repetition>& repetitions) {
  RunSummary summary;
  summary.run = std::move(run);
  Total prefill, decode;
  for (const Repetition& r : repetitions) {
    if (r.warm_up) continue;
    if (r.prefill_tokens > 0 && r.prefill_s > 0) {
      summary.prefill_tokens_per_second.samples.push_back(static_cast<double>(r.prefill_tokens) / r.prefill_s);
      prefill.add(r.prefill_tokens, r.prefill_s);
    }
    if (r.ttft_s > 0) summary.ttft_s.samples.push_back(r.ttft_s);
    if (r.decode_tokens > 0 && r.decode_s > 0) {
      summary.decode_tokens_per_second.samples.push_back(static_cast<double>(r.decode_tokens) / r.decode_s);
      summary.ms_per_token.samples.push_back(1000 * r.decode_s / static_cast<double>(r.decode_tokens));
      decode.add(r.decode_tokens, r.decode_s);
    }
  }
  conclude_rate(summary.prefill_tokens_per_second, prefill);
  conclude_time(summary.ttft_s, mean(summary.ttft_s.samples));
  conclude_rate(summary.decode_tokens_per_second, decode);
  conclude_time(summary.ms_per_token,
                decode.tokens > 0 ? 1000 * decode.seconds / static_cast<double>(decode.tokens) : 0);
  return summary;
}

}  // namespace krasis::results

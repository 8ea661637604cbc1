#include "results_db/records.h"

#include <array>
#include <utility>

#include "base/format_parameter.h"
#include "results_db/number_text.h"

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

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

}  // namespace

std::string bits_name(std::int64_t bits) {
  const auto element = element_of_bits(bits);
  return element ? std::string(name_of(*element)) : std::to_string(bits) + " bits";
}

std::vector<ParameterValue> describe(const RunParameters& p) {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  const std::string hcs = p.hcs == "off" ? "OFF" : p.hcs == "on" ? "ON" : p.hcs;
  return {{"device", "Device", p.device},
          {"operations", "Operations", p.operations},
          {"device_count", "GPUs", number(p.device_count)},
          {"gpus", "Which GPUs", p.gpus},
          {"gpu_bits", "GPU bits", bits_name(p.gpu_bits)},
          {"cpu_bits", "CPU bits", bits_name(p.cpu_bits)},
          {"lgs", "LGS", number(p.lgs)},
          {"hcs", "HCS", hcs},
          {"hcs_share", "HCS share", p.hcs == "off" ? "-" : p.hcs_share == 0 ? "auto" : significant(100 * p.hcs_share) + " %"},
          {"hcs_policy", "HCS policy", p.hcs == "off" ? "-" : p.hcs_policy},
          {"vram_budget_mib", "VRAM budget (MiB)", number(p.vram_budget_mib)},
          {"threads", "CPU threads", number(p.threads)},
          {"numa", "NUMA", p.numa},
          {"attention_bits", "Attention", bits_name(p.attention_bits)},
          {"dense_mlp_bits", "Dense MLP", bits_name(p.dense_mlp_bits)},
          {"lm_head_bits", "LM head", bits_name(p.lm_head_bits)},
          {"group_size", "Group size", number(p.group_size)},
          {"prefill_path", "Prefill path", p.prefill_path},
          {"attention", "Attention weights", p.attention},
          {"kv_cache", "KV cache", upper(p.kv_cache)},
          {"chunk_tokens", "Chunk (tokens)", number(p.chunk_tokens)},
          {"prompt_tokens", "Prompt (tokens)", number(p.prompt_tokens)},
          {"decode_tokens", "Decoded (tokens)", number(p.decode_tokens)},
          {"warmups", "Warm-ups", number(p.warmups)},
          {"repetitions", "Repetitions", number(p.repetitions)},
          {"seed", "Seed", number(p.seed)},
          {"prompt_fingerprint", "Prompt", p.prompt_fingerprint}};
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

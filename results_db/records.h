#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/run_configuration.h"
#include "results_db/statistics.h"

namespace krasis::results {

/// Row number of a run in one database; the uuid is what identifies it across databases.
using RunId = std::int64_t;

/// What was run. Two records with one fingerprint are the same model.
struct ModelRecord {
  std::string fingerprint;   ///< of the weights' content, or of config and seed when synthetic; not empty
  std::string name;          ///< as tables show it: "Qwen3-Coder-Next"
  std::string model_type;    ///< Hugging Face model_type: "qwen3_moe"
  std::string architecture;  ///< one line: "5 layers, hidden 256, 16 experts, top 4"
  bool synthetic = false;    ///< the weights were drawn, not trained; every table says so
  bool operator==(const ModelRecord&) const = default;
};

/// Where it was run. Identical facts are stored once.
struct EnvironmentRecord {
  std::string fingerprint;  ///< left empty: derived from the other fields when stored
  std::string machine;      ///< short label for tables: "EPYC 9654, 2 x RTX 4090"
  std::string cpu;
  std::int64_t memory_bytes = 0;
  std::string gpu;                   ///< empty: none
  std::string driver;                ///< GPU driver; empty: none
  std::string kernel;                ///< operating system's kernel: "Linux 6.1.0"
  std::string build;                 ///< fingerprint of the binary
  std::string facts_json = "{}";     ///< everything else known about the machine, a JSON object
  std::string ceilings_json = "{}";  ///< measured bandwidths and throughputs, a JSON object
  bool operator==(const EnvironmentRecord&) const = default;
};

/// What was run: the configuration, with what only the worker knows put right (`threads`: those that really worked).
/// Those of the parameter table (engine/config) that are stored_parameters() have columns of their own, for tables,
/// filters and comparisons; the others have their defaults here. The configuration as it was asked for is stored beside
/// them as JSON.
struct RunParameters : RunConfiguration {
  std::string prompt_fingerprint = {};  ///< of the prompt's tokens; empty until a worker has told it
  bool operator==(const RunParameters&) const = default;
};

/// One parameter as text, for generic tables.
struct ParameterValue {
  std::string_view name;   ///< of the parameter table: "lgs"
  std::string_view title;  ///< heading of a column: "LGS"
  std::string value;       ///< as tables show it: "INT4", "multi", "512"
  bool operator==(const ParameterValue&) const = default;
};

/// All that are stored, in table order, and the prompt's fingerprint. "-" for a parameter that does not apply.
std::vector<ParameterValue> describe(const RunParameters& parameters);
/// The value of one of them; empty for an unknown name.
std::string shown(const RunParameters& parameters, std::string_view name);

enum class RunStatus : std::uint8_t { Queued, Running, Done, Failed, Crashed, Cancelled, OutOfMemory };
enum class Verdict : std::uint8_t { None, Pass, Fail };

/// Names as stored and exported: "queued", "out_of_memory"; "none", "pass", "fail".
std::string_view name_of(RunStatus status);
std::string_view name_of(Verdict verdict);
std::optional<RunStatus> run_status_of(std::string_view name);
std::optional<Verdict> verdict_of(std::string_view name);

/// A run that has ended stays as it is: the database refuses every change but annotations.
constexpr bool is_final(RunStatus status) {
  return status != RunStatus::Queued && status != RunStatus::Running;
}

/// It went wrong by itself; a run that was cancelled did not.
constexpr bool is_failure(RunStatus status) {
  return status == RunStatus::Failed || status == RunStatus::Crashed || status == RunStatus::OutOfMemory;
}

/// Whether the output was right, and the figure that decided it.
struct VerdictRecord {
  Verdict verdict = Verdict::None;
  std::string figure;  ///< "KL divergence against the reference, nats"
  std::optional<double> value;
  std::optional<double> threshold;
  bool operator==(const VerdictRecord&) const = default;
};

/// Why a run did not end well. Empty for good ones.
struct FailureRecord {
  std::string cause;   ///< whole sentence, shown as it is
  std::string remedy;  ///< whole sentence
  std::string stage;   ///< "load", "warm-up", "prefill", "decode", ...
  int signal = 0;      ///< that ended the worker; 0 = none
  bool operator==(const FailureRecord&) const = default;
};

/// How a run ended.
struct RunOutcome {
  RunStatus status = RunStatus::Done;  ///< a final one
  VerdictRecord verdict;
  FailureRecord failure;
};

/// What a caller gives to have a run queued.
struct NewRun {
  std::string uuid;        ///< empty: drawn
  std::string created_at;  ///< UTC, "2026-02-22T10:11:12.345Z"; empty: now
  std::string sweep;       ///< name of the sweep; empty: a single run
  ModelRecord model;
  RunParameters parameters;
  std::string configuration_json = "{}";  ///< the whole configuration as it was asked for, a JSON object
  std::string plan_json = "{}";           ///< predicted bytes per place and times, a JSON object
};

/// One row of the table of runs.
struct RunRecord {
  RunId id = 0;
  std::string uuid;
  std::string created_at;   ///< UTC, "2026-02-22T10:11:12.345Z"
  std::string started_at;   ///< empty: not yet
  std::string finished_at;  ///< empty: not yet
  std::string sweep;
  ModelRecord model;
  std::shared_ptr<const EnvironmentRecord> environment;  ///< null until a worker has reported it; shared between runs
  RunParameters parameters;
  std::string configuration_json = "{}";
  std::string plan_json = "{}";       ///< predicted bytes per place and the actual high-water marks
  std::string telemetry_json = "{}";  ///< what the hardware did (telemetry.h); "{}": nothing was seen
  RunStatus status = RunStatus::Queued;
  std::int64_t position = 0;  ///< in the queue, smaller first; only for queued runs
  VerdictRecord verdict;
  FailureRecord failure;
  std::string disturbance;  ///< who else computed on the machine while it was measured, in sentences; empty: nobody
  std::vector<std::string> tags;
  std::string note;

  std::string short_id() const { return uuid.substr(0, 8); }
};

/// One repetition with its samples, or one warm-up. Raw numbers; nothing here is derived.
struct Repetition {
  int index = 0;            ///< from 0, warm-ups and repetitions counted separately
  bool warm_up = false;     ///< stored, and excluded from statistics
  std::string measured_at;  ///< UTC; empty: now
  std::int64_t prefill_tokens = 0;
  double prefill_s = 0;                ///< from the prompt's tokens to the end of prefill
  double ttft_s = 0;                   ///< from the prompt's tokens to the first sampled token
  std::int64_t decode_tokens = 0;      ///< written after the first one
  double decode_s = 0;                 ///< for `decode_tokens`
  std::vector<double> decode_token_s;  ///< each token's duration in seconds; empty or `decode_tokens` long
  std::string metrics_json = "{}";     ///< anything else measured, a JSON object
  std::string output_text;
  bool operator==(const Repetition&) const = default;
};

struct LogLine {
  std::string time;   ///< UTC; empty: now
  std::string level;  ///< "debug", "info", "warning", "error"
  std::string stage;
  std::string text;
  bool operator==(const LogLine&) const = default;
};

/// One measured quantity over the repetitions of a run.
struct Metric {
  std::vector<double> samples;  ///< one for each repetition, in their order, warm-ups excluded
  Statistics statistics;        ///< of `samples`
  /// The figure that tables show; 0 without samples. Of a rate all tokens over all their seconds, because a mean of
  /// rates hides a stall; of ms/tok the reciprocal of that; of TTFT the mean.
  double value = 0;
  /// 95 % interval of `value`: Student's interval of the times, of a rate as reciprocals. Nothing below two samples, or
  /// where the interval of the times reaches 0.
  std::optional<Interval> confidence95;
};

/// A run with its statistics: derived from the stored samples whenever it is asked for, never stored.
struct RunSummary {
  RunRecord run;
  Metric prefill_tokens_per_second;  ///< prefill_tokens / prefill_s (llama-bench's convention)
  Metric ttft_s;
  Metric decode_tokens_per_second;  ///< decode_tokens / decode_s
  Metric ms_per_token;              ///< 1000 / decode tok/s of the same repetition
};

/// The summary of a run from its repetitions; a repetition without decoded tokens gives no decode sample, likewise
/// for prefill.
RunSummary summarize(RunRecord run, const std::vector<Repetition>& repetitions);

}  // namespace krasis::results

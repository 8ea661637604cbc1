#include "results_db/from_worker.h"

#include <filesystem>

#include "engine/config/configuration_io.h"

namespace krasis::results {
namespace {

constexpr std::string_view kSynthetic = "synthetic:";

/// What a table calls a model that no worker has read: the folder's name, or "embedded".
std::string model_name(std::string_view model) {
  if (model.starts_with(kSynthetic)) model.remove_prefix(kSynthetic.size());
  std::filesystem::path path = std::filesystem::path(model).lexically_normal();
  if (path.filename() == "config.json" || !path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace

ModelRecord model_of(const protocol::ModelFacts& f) {
  return {f.fingerprint, f.name, f.model_type, f.architecture, f.synthetic};
}

EnvironmentRecord environment_of(const protocol::MachineFacts& f) {
  return {.fingerprint = {},
          .machine = f.machine,
          .cpu = f.cpu,
          .memory_bytes = f.memory_bytes,
          .gpu = f.gpu,
          .driver = f.driver,
          .kernel = f.kernel,
          .build = f.build,
          .facts_json = f.facts_json,
          .ceilings_json = f.ceilings_json};
}

Repetition repetition_of(const protocol::Sample& s) {
  return {.index = static_cast<int>(s.index),
          .warm_up = s.warm_up,
          .measured_at = {},
          .prefill_tokens = s.prefill_tokens,
          .prefill_s = s.prefill_s,
          .ttft_s = s.ttft_s,
          .decode_tokens = s.decode_tokens,
          .decode_s = s.decode_s,
          .decode_token_s = s.decode_token_s,
          .metrics_json = s.metrics_json,
          .output_text = s.output_text};
}

VerdictRecord verdict_of(const protocol::VerdictFacts& f) {
  return {verdict_of(std::string_view(f.verdict)).value_or(Verdict::None), f.figure, f.value, f.threshold};
}

RunOutcome outcome_of(const RequestEnd& end) {
  const auto status = [&end] {
    switch (end.kind) {
      case RequestEnd::Kind::Done:
        return RunStatus::Done;
      case RequestEnd::Kind::Cancelled:
        return RunStatus::Cancelled;
      case RequestEnd::Kind::OutOfMemory:
        return RunStatus::OutOfMemory;
      case RequestEnd::Kind::Crashed:
        return RunStatus::Crashed;
      case RequestEnd::Kind::Failed:
        break;
    }
    return RunStatus::Failed;
  }();
  if (status == RunStatus::Done) return {status, verdict_of(end.verdict), {}};
  if (status == RunStatus::Cancelled) return {status, {}, {}};
  return {status, {}, {end.cause, end.remedy, end.stage, end.signal}};
}

NewRun new_run_of(const RunConfiguration& configuration, std::string sweep) {
  NewRun run;
  run.sweep = std::move(sweep);
  run.model.fingerprint = "unknown: " + configuration.model;
  run.model.name = model_name(configuration.model);
  run.model.synthetic = configuration.model.starts_with(kSynthetic);
  run.parameters = {configuration};
  run.configuration_json = to_json(configuration);
  return run;
}

std::vector<LogLine> log_lines_of(const protocol::Event& event) {
  std::vector<LogLine> lines;
  if (const auto* log = std::get_if<protocol::Log>(&event)) {
    lines.push_back({{}, log->level, log->stage, log->text});
  } else if (const auto* loaded = std::get_if<protocol::Loaded>(&event)) {
    for (const std::string& note : loaded->notes) lines.push_back({{}, "info", "load", note});
  } else if (const auto* finished = std::get_if<protocol::Finished>(&event)) {
    const std::string& why = finished->verdict.explanation;
    if (!why.empty() && !finished->cancelled) lines.push_back({{}, "info", "verdict", why});
  } else if (const auto* failed = std::get_if<protocol::Failed>(&event); failed && failed->id.empty()) {
    lines.push_back({{}, "warning", failed->stage, failed->cause});
  }
  return lines;
}

std::optional<LogLine> log_line_of(const RunOutcome& outcome) {
  const FailureRecord& failure = outcome.failure;
  if (failure.cause.empty()) return std::nullopt;
  return LogLine{
      {}, is_failure(outcome.status) ? "error" : "info", failure.stage, failure.cause + " " + failure.remedy};
}

}  // namespace krasis::results

#include "results_db/compare.h"

#include <algorithm>

namespace krasis::results {

namespace {

struct MetricOfRun {
  const char* name;
  const char* title;
  bool higher_is_better;
  Metric RunSummary::*metric;
};

constexpr MetricOfRun kMetrics[] = {
    {"prefill_tokens_per_second", "Prefill (tok/s)", true, &RunSummary::prefill_tokens_per_second},
    {"ttft_s", "TTFT (s)", false, &RunSummary::ttft_s},
    {"decode_tokens_per_second", "Decode (tok/s)", true, &RunSummary::decode_tokens_per_second},
    {"ms_per_token", "ms/tok", false, &RunSummary::ms_per_token}};

MetricCell cell_of(const Metric& metric) {
  MetricCell cell;
  cell.value = metric.value;
  cell.confidence95 = metric.confidence95;
  cell.statistics = metric.statistics;
  return cell;
}

/// The cell of `other` against `baseline`. What is better when higher is a rate here, and judged by its times.
MetricCell cell_of(const Metric& baseline, const Metric& other, bool higher_is_better) {
  MetricCell cell = cell_of(other);
  cell.n_too_small = baseline.statistics.n_too_small() || other.statistics.n_too_small();
  cell.p_value = higher_is_better ? welch_p_value(reciprocals(baseline.samples), reciprocals(other.samples))
                                  : welch_p_value(baseline.samples, other.samples);
  if (baseline.statistics.n == 0 || other.statistics.n == 0 || baseline.value == 0) return cell;
  cell.relative = other.value / baseline.value - 1;
  if (*cell.relative == 0) {
    cell.change = Change::Same;
  } else if (cell.significant()) {
    cell.change = (*cell.relative > 0) == higher_is_better ? Change::Better : Change::Worse;
  }
  return cell;
}

/// What identifies a run besides its parameters; empty when it is not known.
struct Fact {
  const char* name;
  const char* title;
  std::string (*value)(const RunRecord& run);
};

std::string environment_text(const RunRecord& run, std::string EnvironmentRecord::*member) {
  return run.environment ? (*run.environment).*member : std::string();
}

const Fact kFacts[] = {
    {"model", "Model", [](const RunRecord& run) { return run.model.name; }},
    {"machine", "Machine", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::machine); }},
    {"cpu", "CPU", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::cpu); }},
    {"gpu", "GPU", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::gpu); }},
    {"driver", "Driver", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::driver); }},
    {"kernel", "Kernel", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::kernel); }},
    {"build", "Build", [](const RunRecord& run) { return environment_text(run, &EnvironmentRecord::build); }}};

void add_row(std::vector<ParameterComparison>& rows, ParameterComparison row) {
  row.differs = std::any_of(row.values.begin(), row.values.end(), [&](auto& v) { return v != row.values.front(); });
  rows.push_back(std::move(row));
}

std::vector<ParameterComparison> compare_parameters(const std::vector<const RunRecord*>& runs) {
  std::vector<ParameterComparison> rows;
  for (const Fact& fact : kFacts) {
    ParameterComparison row{fact.name, fact.title, {}, false};
    for (const RunRecord* run : runs) row.values.push_back(fact.value(*run));
    add_row(rows, std::move(row));
  }
  std::vector<std::vector<ParameterValue>> described;
  for (const RunRecord* run : runs) described.push_back(describe(run->parameters));
  for (std::size_t i = 0; i < described.front().size(); ++i) {
    ParameterComparison row{std::string(described.front()[i].name), std::string(described.front()[i].title), {}, false};
    for (const auto& values : described) row.values.push_back(values[i].value);
    add_row(rows, std::move(row));
  }
  return rows;
}

/// Defects of one run alone.
void warn_alone(const RunSummary& summary, const std::string& who, std::size_t index,
                std::vector<ComparisonWarning>& warnings) {
  const RunRecord& run = summary.run;
  if (run.verdict.verdict == Verdict::Fail) {
    std::string text = who + " has the verdict FAIL: its speed does not count.";
    if (!run.verdict.figure.empty()) text += " It was decided by: " + run.verdict.figure + ".";
    warnings.push_back({index, text});
  }
  if (!run.disturbance.empty()) {
    warnings.push_back({index, who + " was disturbed: " + run.disturbance});
  }
  if (run.status != RunStatus::Done) {
    std::string status(name_of(run.status));
    std::replace(status.begin(), status.end(), '_', ' ');
    warnings.push_back({index, who + " is not complete: " + status + "."});
  }
  if (summary.ttft_s.statistics.n == 0 && summary.decode_tokens_per_second.statistics.n == 0) {
    warnings.push_back({index, who + " has no measured repetition."});
  }
}

void warn_pair(const RunRecord& baseline, const RunRecord& other, std::size_t index,
               std::vector<ComparisonWarning>& warnings) {
  const auto warn = [&](bool differ, const std::string& text) {
    if (differ) warnings.push_back({index, text});
  };
  // Until a worker has read the weights, a run's fingerprint is of what was known before, which no other kind equals.
  const bool one_name = baseline.model.name == other.model.name;
  const bool both_read = baseline.environment && other.environment;
  warn(both_read ? baseline.model.fingerprint != other.model.fingerprint : !one_name,
       both_read && one_name ? "The models have one name but different weights." : "The models differ.");
  warn(baseline.model.synthetic != other.model.synthetic, "One model is synthetic, the other is not.");
  warn(baseline.parameters.device != other.parameters.device, "The kinds of device differ.");
  const RunParameters &a = baseline.parameters, &b = other.parameters;
  warn(a.prompt_tokens != b.prompt_tokens || a.prompt_fingerprint != b.prompt_fingerprint, "The prompts differ.");
  warn(a.decode_tokens != b.decode_tokens, "The numbers of decoded tokens differ.");
  if (!baseline.environment || !other.environment) {
    warn(true, "It is not known on which machine one of the runs was measured.");
    return;
  }
  const EnvironmentRecord &from = *baseline.environment, &to = *other.environment;
  warn(from.machine != to.machine || from.cpu != to.cpu || from.gpu != to.gpu || from.memory_bytes != to.memory_bytes,
       "The hardware differs.");
  warn(from.driver != to.driver, "The GPU drivers differ.");
  warn(from.kernel != to.kernel, "The operating systems' kernels differ.");
  warn(from.build != to.build, "The builds of the program differ.");
}

}  // namespace

Comparison compare(const RunSummary& baseline, std::span<const RunSummary> others) {
  Comparison result;
  std::vector<const RunRecord*> runs{&baseline.run};
  for (const RunSummary& other : others) runs.push_back(&other.run);
  result.parameters = compare_parameters(runs);
  for (const MetricOfRun& metric : kMetrics) {
    MetricComparison row;
    row.name = metric.name;
    row.title = metric.title;
    row.higher_is_better = metric.higher_is_better;
    row.baseline = cell_of(baseline.*metric.metric);
    for (const RunSummary& other : others) {
      row.cells.push_back(cell_of(baseline.*metric.metric, other.*metric.metric, metric.higher_is_better));
    }
    result.metrics.push_back(std::move(row));
  }
  warn_alone(baseline, "The baseline", others.size(), result.warnings);
  for (std::size_t i = 0; i < others.size(); ++i) {
    warn_alone(others[i], "The run", i, result.warnings);
    warn_pair(baseline.run, others[i].run, i, result.warnings);
  }
  return result;
}

}  // namespace krasis::results

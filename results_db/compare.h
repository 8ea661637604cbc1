#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results_db/records.h"

namespace krasis::results {

/// One parameter over the compared runs.
struct ParameterComparison {
  std::string name;  ///< of the parameter table; "model", "machine", ... for the others
  std::string title;
  std::vector<std::string> values;  ///< the baseline's first
  bool differs = false;
};

enum class Change : std::uint8_t { Unknown, Same, Better, Worse };

/// One figure of one run, and how it stands against the baseline's.
struct MetricCell {
  double value = 0;                      ///< Metric::value
  std::optional<Interval> confidence95;  ///< of `value`
  Statistics statistics;                 ///< of the repetitions
  std::optional<double> relative;        ///< value / the baseline's - 1; nothing without samples on both sides
  Change change = Change::Unknown;       ///< Better or Worse only if significant(); Same: relative is 0
  std::optional<double> p_value;    ///< Welch's t-test of the times; of a rate, too, so that tok/s and ms/tok agree
  bool n_too_small = false;         ///< on either side
  /// p < 0.05 with enough repetitions on both sides.
  bool significant() const { return p_value && *p_value < 0.05 && !n_too_small; }
};

struct MetricComparison {
  std::string name;   ///< "prefill_tokens_per_second"
  std::string title;  ///< "Prefill (tok/s)"
  bool higher_is_better = true;
  MetricCell baseline;            ///< without a change
  std::vector<MetricCell> cells;  ///< one for each other run
};

/// Why two runs may not be comparable.
struct ComparisonWarning {
  std::size_t run = 0;  ///< index into `others`; for the baseline's own defects `others.size()`
  std::string text;     ///< whole sentence
};

struct Comparison {
  std::vector<ParameterComparison> parameters;  ///< all of them; show those that differ
  std::vector<MetricComparison> metrics;        ///< prefill, TTFT, decode, ms/tok
  std::vector<ComparisonWarning> warnings;  ///< hardware, driver, build, prompt, model differ; FAIL verdict; no samples
};

Comparison compare(const RunSummary& baseline, std::span<const RunSummary> others);

}  // namespace krasis::results

#include "results_db/compare.h"

#include <gmock/gmock.h>

#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RunRecord record() {
  const NewRun from = example_run();
  RunRecord run;
  run.model = from.model;
  run.parameters = from.parameters;
  run.environment = std::make_shared<EnvironmentRecord>(example_environment());
  run.status = RunStatus::Done;
  run.verdict.verdict = Verdict::Pass;
  return run;
}

/// A run whose repetitions decode at these speeds and read their prompt in 0.5 s.
RunSummary run_with(RunRecord run, const std::vector<double>& decode_tokens_per_second) {
  std::vector<Repetition> repetitions;
  for (const double speed : decode_tokens_per_second) {
    repetitions.push_back(example_repetition(static_cast<int>(repetitions.size()), 0.5, 4 / speed));
  }
  return summarize(std::move(run), repetitions);
}

TEST(Compare, ParametersThatDiffer) {
  RunRecord other = record();
  other.parameters.lgs = 4;
  other.parameters.gpu_format = "int8";
  const Comparison result = compare(run_with(record(), {10, 11, 12}), std::vector{run_with(other, {10, 11, 12})});
  std::vector<std::string> names;
  for (const ParameterComparison& row : result.parameters) {
    if (row.differs) names.push_back(row.name);
  }
  EXPECT_THAT(names, ElementsAre("lgs", "gpu_format"));
  for (const ParameterComparison& row : result.parameters) {
    if (row.name == "gpu_format") {
      EXPECT_THAT(row.values, ElementsAre("INT4", "INT8"));
    }
    if (row.name == "model") {
      EXPECT_THAT(row.values, ElementsAre("Tiny-MoE", "Tiny-MoE"));
    }
  }
  EXPECT_THAT(result.warnings, IsEmpty());
}

TEST(Compare, MetricsAgainstTheBaseline) {
  const Comparison result = compare(run_with(record(), {10, 10.1, 9.9}),
                                    std::vector{run_with(record(), {12.5, 12.6, 12.4}), run_with(record(), {5, 5})});
  ASSERT_EQ(result.metrics.size(), 4u);
  const MetricComparison& decode = result.metrics[2];
  EXPECT_EQ(decode.title, "Decode (tok/s)");
  EXPECT_TRUE(decode.higher_is_better);
  EXPECT_NEAR(*decode.cells[0].relative, 0.25, 1e-3);
  EXPECT_EQ(decode.cells[0].change, Change::Better);
  EXPECT_FALSE(decode.cells[0].n_too_small);
  EXPECT_TRUE(decode.cells[0].significant());
  EXPECT_LT(*decode.cells[0].p_value, 1e-4);
  EXPECT_EQ(decode.cells[1].change, Change::Unknown);  // two repetitions tell nothing
  EXPECT_TRUE(decode.cells[1].n_too_small);
  EXPECT_FALSE(decode.cells[1].significant());
  const MetricComparison& ms = result.metrics[3];
  EXPECT_FALSE(ms.higher_is_better);
  EXPECT_EQ(ms.cells[0].change, Change::Better);  // fewer milliseconds
  EXPECT_LT(*ms.cells[0].relative, 0);
  const MetricComparison& prefill = result.metrics[0];
  EXPECT_EQ(prefill.cells[0].change, Change::Same);
  EXPECT_EQ(prefill.cells[0].relative, 0);
  EXPECT_FALSE(prefill.cells[0].p_value);  // neither side varies
}

TEST(Compare, OverlappingSamplesAreNotSignificant) {
  const Comparison result =
      compare(run_with(record(), {10, 11, 12}), std::vector{run_with(record(), {10.5, 11.5, 12.2})});
  EXPECT_FALSE(result.metrics[2].cells[0].significant());
  EXPECT_GT(*result.metrics[2].cells[0].p_value, 0.05);
}

TEST(Compare, RatesAndTimesPerTokenTellOneStory) {
  // The mean of these rates rises by 22 % while the time per token rises, too.
  const Comparison result = compare(run_with(record(), {10, 10, 10}), std::vector{run_with(record(), {4, 12.6, 20})});
  const MetricCell &decode = result.metrics[2].cells[0], &ms = result.metrics[3].cells[0];
  EXPECT_LT(*decode.relative, 0);
  EXPECT_GT(*ms.relative, 0);
  EXPECT_NEAR((1 + *decode.relative) * (1 + *ms.relative), 1, 1e-12);
  EXPECT_NEAR(decode.value * ms.value, 1000, 1e-9);
  EXPECT_NEAR(*decode.p_value, *ms.p_value, 1e-9);
  EXPECT_EQ(decode.change, Change::Unknown);
  EXPECT_NEAR(decode.value, 12 / (1.0 + 4 / 12.6 + 0.2), 1e-9) << "tokens over time";
}

TEST(Compare, AModelThatWasNotReadIsJudgedByItsName) {
  RunRecord crashed = record();
  crashed.status = RunStatus::Crashed;
  crashed.environment = nullptr;
  crashed.model.fingerprint = "of what was known before";
  const auto warnings = [&] {
    return compare(run_with(record(), {1, 2, 3}), std::vector{run_with(crashed, {})}).warnings;
  };
  for (const ComparisonWarning& warning : warnings()) EXPECT_THAT(warning.text, testing::Not(HasSubstr("models")));
  crashed.model.name = "Another";
  EXPECT_THAT(warnings(), testing::Contains(testing::Field(&ComparisonWarning::text, "The models differ.")));
}

TEST(Compare, EachReasonToDoubtIsNamed) {
  const auto warnings = [](auto change) {
    RunRecord other = record();
    EnvironmentRecord environment = example_environment();
    change(other, environment);
    if (other.environment) other.environment = std::make_shared<EnvironmentRecord>(environment);
    std::string text;
    for (const ComparisonWarning& warning :
         compare(run_with(record(), {1, 2, 3}), std::vector{run_with(other, {1, 2, 3})}).warnings) {
      EXPECT_EQ(warning.run, 0u);
      text += warning.text + "\n";
    }
    return text;
  };
  using R = RunRecord;
  using E = EnvironmentRecord;
  EXPECT_EQ(warnings([](R&, E&) {}), "");
  EXPECT_EQ(warnings([](R&, E& e) { e.cpu = "other"; }), "The hardware differs.\n");
  EXPECT_EQ(warnings([](R&, E& e) { e.driver = "1"; }), "The GPU drivers differ.\n");
  EXPECT_EQ(warnings([](R&, E& e) { e.build = "b2"; }), "The builds of the program differ.\n");
  EXPECT_EQ(warnings([](R& r, E&) { r.parameters.prompt_fingerprint = "q"; }), "The prompts differ.\n");
  EXPECT_EQ(warnings([](R& r, E&) { r.parameters.device = "cuda"; }), "The kinds of device differ.\n");
  EXPECT_EQ(warnings([](R& r, E&) { r.model.fingerprint = "x"; }), "The models have one name but different weights.\n");
  EXPECT_EQ(warnings([](R& r, E&) { r.environment = nullptr; }),
            "It is not known on which machine one of the runs was measured.\n");
  EXPECT_THAT(warnings([](R& r, E&) { r.verdict = {Verdict::Fail, "KL", 1, 0.1}; }), HasSubstr("verdict FAIL"));
  EXPECT_THAT(warnings([](R& r, E&) { r.disturbance = "A chat computed."; }),
              HasSubstr("was disturbed: A chat computed."));
  EXPECT_THAT(warnings([](R& r, E&) { r.status = RunStatus::OutOfMemory; }), HasSubstr("out of memory"));
}

TEST(Compare, BaselineWithoutSamples) {
  const Comparison result = compare(run_with(record(), {}), std::vector{run_with(record(), {1, 2, 3})});
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_EQ(result.warnings[0].run, 1u);  // the baseline
  EXPECT_THAT(result.warnings[0].text, HasSubstr("no measured repetition"));
  EXPECT_EQ(result.metrics[2].cells[0].change, Change::Unknown);
  EXPECT_FALSE(result.metrics[2].cells[0].relative);
}

}  // namespace
}  // namespace krasis::results

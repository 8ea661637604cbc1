#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QAbstractItemModelTester>
#include <QSignalSpy>

#include "tests/ui/invented_runs.h"
#include "ui/format.h"
#include "ui/models/chart_data.h"
#include "ui/models/compare_model.h"
#include "ui/models/filter_expression.h"
#include "ui/models/queue_model.h"
#include "ui/models/results_model.h"
#include "ui/models/samples_model.h"
#include "ui/models/stage_progress.h"
#include "ui/models/sweep_models.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using results::Verdict;
using test::summary;
using testing::ElementsAre;

constexpr auto kFatal = QAbstractItemModelTester::FailureReportingMode::Fatal;

std::vector<results::RunSummary> four_runs() {
  return {summary(1, 2, HotCache::Off, {100, 110}, {9.5, 9.7}), summary(2, 4, HotCache::Off, {200, 210}, {10.5, 10.7}),
          summary(3, 2, HotCache::On, {90, 95}, {4, 4.2}),
          summary(4, 4, HotCache::On, {80, 85}, {99, 99}, Verdict::Fail)};
}

QStringList column_of(const QAbstractItemModel& model, int column) {
  QStringList texts;
  for (int row = 0; row < model.rowCount(); ++row) texts << model.index(row, column).data().toString();
  return texts;
}

TEST(StageProgress, SaysWhatIsCountedAndTakesTheWorkersOwnShare) {
  RunConfiguration c;
  c.warmups = 1;
  c.repetitions = 3;
  protocol::Stage stage{"b1", "repetition", 1, 3, "prompt", 4096, 10000, 0.37, 95};
  StageProgress progress = progress_of(stage, c);
  EXPECT_EQ(progress.text.toStdString(), "2 of 3, prompt 4,096 of 10,000 tokens, 40 %");
  EXPECT_EQ(progress.share, 0.37);
  EXPECT_EQ(progress.left_s, 95);
  stage = {"b1", "verdict", 0, 1, "reference", 41, 128, 0.6, 20};
  EXPECT_EQ(progress_of(stage, c).text.toStdString(), "judging 41 of 128 positions");
  stage = {"b1", "repetition", 1, 3};
  progress = progress_of(stage, c);
  EXPECT_EQ(progress.text.toStdString(), "2 of 3");
  EXPECT_EQ(progress.share, 0.4) << "an older worker has no estimate: two of five";
  EXPECT_LT(progress.left_s, 0);
}

TEST(Format, BytesRatesTimesAndChanges) {
  EXPECT_EQ(format_bytes(0), QString("0\u00a0B"));
  EXPECT_EQ(format_bytes(1536), QString("1.50\u00a0KiB"));
  EXPECT_EQ(format_bytes(qint64{300} << 20), QString("300\u00a0MiB"));
  EXPECT_EQ(format_number(1882.75, 1), "1,882.8");
  EXPECT_EQ(format_number(std::numeric_limits<double>::quiet_NaN(), 1), QString("\u2014"));
  EXPECT_EQ(format_duration(37.2), "38 s");
  EXPECT_EQ(format_duration(14 * 60), "14 min");
  EXPECT_EQ(format_duration(2 * 3600 + 5 * 60), "2 h 05 min");
  EXPECT_EQ(format_change(1.34), QString("+34.0\u00a0%"));
  EXPECT_EQ(format_change(0.5), QString("\u221250.0\u00a0%"));
}

/// The application's locale while a test runs.
class UseLocale {
 public:
  explicit UseLocale(const QLocale& locale) : before_() { QLocale::setDefault(locale); }
  ~UseLocale() { QLocale::setDefault(before_); }

 private:
  QLocale before_;
};
const QLocale kGerman(QLocale::German, QLocale::Germany);

TEST(FilterExpression, NumbersWithPointOrCommaAsTheLocaleHasThem) {
  const auto lookup = [](const QString& key) { return key == "decode" ? QVariant(2872.35) : QVariant(); };
  const auto matches = [&](const char* text) { return FilterExpression::parse(text).matches(lookup, "2.872,35"); };
  EXPECT_TRUE(matches("decode>2500.5"));
  EXPECT_FALSE(matches("decode<2500.5"));
  EXPECT_TRUE(matches("decode>0,25"));
  EXPECT_TRUE(matches("decode>2,500"));
  EXPECT_TRUE(matches("decode=2,872.35")) << "as the English table shows it";
  UseLocale german(kGerman);
  EXPECT_TRUE(matches("decode>2500.5"));
  EXPECT_TRUE(matches("decode>2500,5"));
  EXPECT_FALSE(matches("decode<2500,5"));
  EXPECT_FALSE(matches("decode>2900,5"));
  EXPECT_TRUE(matches("decode=2.872,35")) << "as the German table shows it";
  EXPECT_TRUE(matches("decode>2.872"));
}

TEST(FilterExpression, WordsAndConditions) {
  const auto lookup = [](const QString& key) -> QVariant {
    if (key == "lgs") return 2;
    if (key == "decode") return 9.5;
    if (key == "hcs") return "on";
    if (key == "gpu_format") return QVariantList{4, "INT4"};
    if (key == "prefill") return QVariantList{QVariant(), QString("\u2014")};
    return {};
  };
  const auto matches = [&](const char* text) { return FilterExpression::parse(text).matches(lookup, "Qwen3 embedded\nPASS"); };
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("qwen pass"));
  EXPECT_FALSE(matches("qwen llama"));
  EXPECT_TRUE(matches("lgs=2 decode>8"));
  EXPECT_FALSE(matches("lgs=2 decode>10"));
  EXPECT_TRUE(matches("decode>=9.5"));
  EXPECT_TRUE(matches("decode<=9.5"));
  EXPECT_FALSE(matches("decode<9.5"));
  EXPECT_TRUE(matches("HCS=ON"));
  EXPECT_FALSE(matches("hcs!=on"));
  EXPECT_TRUE(matches("gpu_format=4"));
  EXPECT_TRUE(matches("gpu_format=int4"));
  EXPECT_FALSE(matches("gpu_format!=int4"));
  EXPECT_FALSE(matches("gpu_format!=4"));
  EXPECT_TRUE(matches("gpu_format!=8"));
  EXPECT_FALSE(matches("prefill>0")) << "a run without figures has no speed above 0";
  EXPECT_TRUE(matches("\"qwen3 embedded\""));
  EXPECT_FALSE(matches("nosuchcolumn=1")) << "an unknown column is a word that does not occur";
}

TEST(ResultsModel, KeepsRowsWhenValuesChangeAndAddsNewOnes) {
  ResultsModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  auto runs = four_runs();
  const results::RunSummary last = runs.back();
  runs.pop_back();
  model.set_runs(runs);
  ASSERT_EQ(model.rowCount(), 3);
  QSignalSpy resets(&model, &QAbstractItemModel::modelReset);
  runs.push_back(last);
  model.set_runs(runs);
  EXPECT_EQ(model.rowCount(), 4);
  EXPECT_EQ(resets.count(), 0) << "a table that is reset loses its selection";
  model.set_runs({runs[2]});
  EXPECT_EQ(model.rowCount(), 1);
  EXPECT_EQ(resets.count(), 1);
  EXPECT_EQ(model.row_of(3), 0);
  EXPECT_EQ(model.row_of(1), -1);
}

TEST(ResultsModel, ADisturbedRunIsMarkedAtItsFigures) {
  auto disturbed = summary(1, 2, HotCache::Off, {100, 110}, {9.5, 9.7});
  disturbed.run.disturbance = "krasis chat (process 7, user id 0) computed meanwhile: 3.1 s of CPU time in 9.0 s.";
  ResultsModel model;
  model.set_runs({disturbed, summary(2, 4, HotCache::Off, {200, 210}, {10.5, 10.7})});
  for (const char* key : {"prefill", "decode"}) {
    const int column = model.column_of(key);
    EXPECT_TRUE(model.index(0, column).data().toString().endsWith(QChar(0x26a0))) << key;
    EXPECT_TRUE(model.index(0, column).data(Qt::ToolTipRole).toString().contains("disturbed: krasis chat")) << key;
    EXPECT_FALSE(model.index(1, column).data().toString().contains(QChar(0x26a0))) << key;
  }
}

TEST(ResultsModel, FiguresCarryTheirSpreadAndSortAsNumbers) {
  ResultsModel model;
  ResultsFilter filter;
  QAbstractItemModelTester tester(&filter, kFatal);
  filter.setSourceModel(&model);
  model.set_runs(four_runs());
  const int decode = model.column_of("decode");
  EXPECT_EQ(model.index(0, decode).data().toString(), "9.60");
  EXPECT_THAT(model.index(0, decode).data(Qt::ToolTipRole).toString().toStdString(), testing::HasSubstr("n is too small"));
  filter.sort(decode, Qt::AscendingOrder);
  EXPECT_EQ(column_of(filter, decode), QStringList({"4.10", "9.60", "10.60", "99.00"}));
  filter.set_filter("lgs=2 decode>8");
  EXPECT_EQ(column_of(filter, decode), QStringList({"9.60"}));
  filter.set_filter("fail");
  EXPECT_EQ(filter.rowCount(), 1);
  filter.set_filter("verdict!=fail");
  EXPECT_EQ(filter.rowCount(), 3);
}

TEST(ResultsFilter, FormatsAreFoundByNameAndByTheNumbersOfOldFilters) {
  ResultsModel model;
  ResultsFilter filter;
  filter.setSourceModel(&model);
  auto runs = four_runs();
  runs[0].run.parameters.gpu_format = "int8";
  model.set_runs(runs);
  for (const char* text : {"gpu_format=INT8", "gpu_format=int8", "gpu_bits=8", "gpu_bits!=4"}) {
    filter.set_filter(text);
    EXPECT_EQ(filter.rowCount(), 1) << text;
  }
}

TEST(ResultsFilter, ParametersThatDoNotVaryAreConstantAndFiguresNever) {
  ResultsModel model;
  ResultsFilter filter;
  filter.setSourceModel(&model);
  model.set_runs(four_runs());
  const auto constant = [&](const char* key) {
    return static_cast<bool>(filter.constant_columns()[static_cast<std::size_t>(model.column_of(key))]);
  };
  EXPECT_FALSE(constant("lgs"));
  EXPECT_FALSE(constant("hcs"));
  EXPECT_TRUE(constant("gpu_format"));
  EXPECT_FALSE(constant("decode"));
  EXPECT_FALSE(constant("verdict"));
  filter.set_filter("lgs=2");
  EXPECT_TRUE(constant("lgs"));
}

TEST(ChartData, SeriesAreWhatVariesAndFailedVerdictsStayOut) {
  const auto data = decode_chart(four_runs());
  EXPECT_EQ(data.categories, QStringList({"2", "4"}));
  ASSERT_EQ(data.series.size(), 2U);
  EXPECT_EQ(data.series[0].name, "HCS off");
  ASSERT_EQ(data.series[0].points.size(), 2U);
  EXPECT_NEAR(data.series[0].points[0].value, 9.6, 0.01);
  EXPECT_NEAR(data.series[0].points[0].deviation, 0.1414, 1e-3);
  ASSERT_EQ(data.series[1].points.size(), 1U) << "the run with verdict FAIL is no point";
  EXPECT_EQ(data.series[1].points[0].run, 3);
}

TEST(ChartData, CachesOfTwoSizesAreTwoSeries) {
  auto runs = four_runs();
  runs.pop_back();
  runs.push_back(summary(5, 2, HotCache::On, {80, 85}, {7, 7.2}));
  runs.back().run.parameters.hcs_share = 0.25;
  const auto data = decode_chart(runs);
  ASSERT_EQ(data.series.size(), 3U);
  EXPECT_EQ(data.series[0].name, "HCS off");
  EXPECT_EQ(data.series[1].points.size(), 1U);
  EXPECT_EQ(data.series[2].points.size(), 1U);
  EXPECT_NE(data.series[1].name, data.series[2].name);
}

TEST(CompareModel, OnlyWhatDiffersAndFiguresWithTheirChange) {
  CompareModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  const std::vector<results::RunSummary> runs{summary(1, 2, HotCache::Off, {100, 110, 105}, {9.5, 9.7, 9.6}),
                                              summary(2, 4, HotCache::Off, {200, 210, 205}, {10.5, 10.7, 10.6}),
                                              summary(3, 2, HotCache::On, {90, 95, 92}, {4, 4.2, 4.1})};
  model.set_runs(runs[0], {runs[1], runs[2]});
  EXPECT_EQ(model.columnCount(), 4);
  const QStringList names = column_of(model, 0);
  EXPECT_TRUE(names.contains("LGS"));
  EXPECT_TRUE(names.contains("HCS"));
  EXPECT_FALSE(names.contains("GPU format"));
  const int rows_that_differ = model.rowCount();
  const auto decode_row = static_cast<int>(names.indexOf("Decode (tok/s)"));
  ASSERT_GE(decode_row, 0);
  EXPECT_EQ(model.index(decode_row, 1).data().toString(), "9.60");
  EXPECT_EQ(model.index(decode_row, 2).data().toString(), QString("10.60 (+10.4\u00a0% \u25b2)"));
  EXPECT_EQ(model.index(decode_row, 2).data(CompareModel::ChangeRole).toInt(), static_cast<int>(results::Change::Better));
  EXPECT_EQ(model.index(decode_row, 3).data(CompareModel::ChangeRole).toInt(), static_cast<int>(results::Change::Worse));
  model.set_show_all(true);
  EXPECT_GT(model.rowCount(), rows_that_differ);
  EXPECT_THAT(model.markdown().toStdString(), testing::HasSubstr("| Decode (tok/s) | 9.60 | 10.60 (+10.4"));
}

TEST(CompareModel, NoiseHasNeitherArrowNorChange) {
  CompareModel model;
  // Noise of three repetitions, a large difference of two, and a difference that can be told.
  model.set_runs(summary(1, 2, HotCache::Off, {100, 100, 100}, {9, 11, 10}),
                 {summary(2, 4, HotCache::Off, {100, 100, 100}, {9.5, 12.5, 10}),
                  summary(3, 4, HotCache::Off, {100, 100}, {90, 92}),
                  summary(4, 4, HotCache::Off, {100, 100, 100}, {90, 91, 92})});
  const auto row = static_cast<int>(column_of(model, 0).indexOf("Decode (tok/s)"));
  const auto change = [&](int column) {
    return static_cast<results::Change>(model.index(row, column).data(CompareModel::ChangeRole).toInt());
  };
  const auto text = [&](int column) { return model.index(row, column).data().toString().toStdString(); };
  const auto tip = [&](int column) { return model.index(row, column).data(Qt::ToolTipRole).toString().toStdString(); };
  for (const int noise : {2, 3}) {
    EXPECT_EQ(change(noise), results::Change::Unknown);
    EXPECT_THAT(text(noise), testing::Not(testing::HasSubstr("\u25b2")));
    EXPECT_THAT(text(noise), testing::HasSubstr("%"));
  }
  EXPECT_EQ(change(4), results::Change::Better);
  EXPECT_THAT(text(4), testing::HasSubstr("\u25b2"));
  EXPECT_THAT(tip(1), testing::HasSubstr("n = 3")) << "the baseline says what it is made of, too";
  EXPECT_THAT(tip(1), testing::HasSubstr("95 %"));
  EXPECT_THAT(tip(2), testing::HasSubstr("no significant difference"));
  EXPECT_THAT(tip(3), testing::HasSubstr("n too small"));
  const std::string markdown = model.markdown().toStdString();
  const std::string line = markdown.substr(markdown.find("| Decode"),
                                           markdown.find('\n', markdown.find("| Decode")) - markdown.find("| Decode"));
  EXPECT_EQ(QString::fromStdString(line).count(QStringLiteral("\u25b2")), 1) << line;
}

TEST(QueueModel, RowsAreUpdatedInPlace) {
  QueueModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  model.put({7, "first"});
  model.put({9, "second"});
  model.put({7, "first", RunStatus::Running, 0.25, "repetition: 1 of 3", 30});
  ASSERT_EQ(model.rowCount(), 2);
  EXPECT_EQ(model.index(0, QueueModel::Progress).data().toString(), "25 %");
  EXPECT_EQ(model.index(0, QueueModel::Eta).data().toString(), "30 s");
  EXPECT_EQ(model.index(1, QueueModel::Status).data().toString(), "Queued");
  model.remove(7);
  ASSERT_EQ(model.rowCount(), 1);
  EXPECT_EQ(model.index(0, 0).data(QueueModel::RunIdRole).toLongLong(), 9);
}

TEST(LogModel, ForgetsTheOldestLines) {
  LogModel model;
  for (int i = 0; i < 4995; ++i) model.append({"", "info", "", std::to_string(i)});
  QAbstractItemModelTester tester(&model, kFatal);  // it reads every row at each change
  for (int i = 4995; i < 5010; ++i) model.append({"", "info", "", std::to_string(i)});
  EXPECT_LT(model.rowCount(), 5000);
  EXPECT_EQ(model.index(model.rowCount() - 1, LogModel::Text).data().toString(), "5009");
  EXPECT_EQ(model.index(0, LogModel::Text).data().toString(), "500");
}

TEST(SamplesModel, OneRowForEachRepetition) {
  SamplesModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  auto warm_up = test::repetition(0, 50, 5);
  warm_up.warm_up = true;
  model.set_repetitions({warm_up, test::repetition(0, 100, 10)});
  EXPECT_EQ(column_of(model, SamplesModel::Number), QStringList({"warm-up 1", "1"}));
  EXPECT_EQ(column_of(model, SamplesModel::Prefill), QStringList({"50.0", "100.0"}));
  EXPECT_EQ(column_of(model, SamplesModel::MsPerToken), QStringList({"200.00", "100.00"}));
}

TEST(FactsModel, FlattensJson) {
  const auto facts = FactsModel::from_json(R"({"a":1,"b":{"c":"x","d":[1,2]}})");
  ASSERT_EQ(facts.size(), 3U);
  EXPECT_EQ(facts[1].name, "b.c");
  EXPECT_EQ(facts[2].value, "[1,2]");
  EXPECT_TRUE(FactsModel::from_json("nonsense").empty());
}

TEST(AxesModel, TickingTakesTheConfigurationsValueAndTypingTicks) {
  AxesModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  RunConfiguration configuration;
  configuration.lgs = 3;
  model.set_defaults(configuration);
  int lgs = -1;
  for (std::size_t i = 0; i < model.rows().size(); ++i) {
    if (model.rows()[i].parameter->name == "lgs") lgs = static_cast<int>(i);
  }
  ASSERT_GE(lgs, 0);
  EXPECT_TRUE(model.setData(model.index(lgs, AxesModel::Name), Qt::Checked, Qt::CheckStateRole));
  EXPECT_THAT(model.rows()[static_cast<std::size_t>(lgs)].values, ElementsAre("3"));
  EXPECT_TRUE(model.setData(model.index(lgs, AxesModel::Values), "1..3,8"));
  EXPECT_THAT(model.rows()[static_cast<std::size_t>(lgs)].values, ElementsAre("1", "2", "3", "8"));
  EXPECT_TRUE(model.setData(model.index(lgs, AxesModel::Values), "1,banana"));
  EXPECT_FALSE(model.first_problem().isEmpty());
  EXPECT_TRUE(model.setData(model.index(lgs, AxesModel::Values), ""));
  EXPECT_FALSE(model.rows()[static_cast<std::size_t>(lgs)].included);
  EXPECT_TRUE(model.first_problem().isEmpty());
}

AxisRow axis(std::string_view parameter, const QString& typed) {
  AxesModel model;
  model.set_axis(parameter, typed);
  for (const auto& row : model.rows()) {
    if (row.parameter->name == parameter) return row;
  }
  return {};
}

TEST(AxesModel, DecimalsWithPointsOrWithCommasAndSemicolons) {
  for (const QLocale& locale : {QLocale::c(), kGerman}) {
    UseLocale use(locale);
    EXPECT_THAT(axis("hcs_share", "0.25,0.5").values, ElementsAre("0.25", "0.5"));
    EXPECT_THAT(axis("hcs_share", "0,25; 0,5").values, ElementsAre("0.25", "0.5"));
    EXPECT_THAT(axis("hcs_share", "0.25").values, ElementsAre("0.25"));
    EXPECT_THAT(axis("hcs_share", "0..1+0.5").values, ElementsAre("0", "0.5", "1"));
    EXPECT_THAT(axis("lgs", "2,4").values, ElementsAre("2", "4"));
    EXPECT_THAT(axis("lgs", "2; 4").values, ElementsAre("2", "4"));
    AxesModel model;
    model.set_axis_values("hcs_share", {"0", "1"});
    EXPECT_TRUE(model.first_problem().isEmpty()) << model.first_problem().toStdString();
  }
  UseLocale german(kGerman);
  EXPECT_THAT(axis("hcs_share", "0,25").values, ElementsAre("0.25"));
  EXPECT_THAT(axis("hcs_share", "0, 1").values, ElementsAre("0", "1"));
  for (const char* text : {"0,25,0,5", "0,5, 1", "0,1,1"}) {  // which commas are decimal ones?
    const AxisRow row = axis("hcs_share", text);
    EXPECT_TRUE(row.values.empty()) << text;
    EXPECT_THAT(row.problem.toStdString(), testing::HasSubstr("0,25; 0,5")) << "the hint says how to write it";
  }
}

TEST(SweepRunsModel, DecimalsAreShownAsTheLocaleHasThem) {
  UseLocale german(kGerman);
  SweepRunsModel model;
  SweepRun run;
  run.configuration.hcs_share = 0.25;
  run.host_bytes = 29 << 20;
  model.set_runs({run}, {find_parameter("hcs_share")});
  EXPECT_EQ(model.index(0, 1).data().toString(), "0,25");
  EXPECT_EQ(model.index(0, 4).data().toString(), QString("29,0\u00a0MiB"));
  AxesModel axes;
  RunConfiguration configuration;
  configuration.hcs_share = 0.25;
  axes.set_defaults(configuration);
  for (int row = 0; row < axes.rowCount(); ++row) {
    if (axes.rows()[static_cast<std::size_t>(row)].parameter->name != "hcs_share") continue;
    axes.setData(axes.index(row, AxesModel::Name), Qt::Checked, Qt::CheckStateRole);
    EXPECT_EQ(axes.index(row, AxesModel::Values).data().toString(), "0,25");
  }
}

TEST(SweepRunsModel, ImpossibleRunsAreNeverChosenAndTicksSurviveAChange) {
  SweepRunsModel model;
  QAbstractItemModelTester tester(&model, kFatal);
  std::vector<SweepRun> runs(3);
  for (int i = 0; i < 3; ++i) runs[static_cast<std::size_t>(i)].configuration.lgs = i + 1;
  runs[2].problem = "LGS is beyond the layers.";
  model.set_runs(runs, {find_parameter("lgs")});
  EXPECT_EQ(model.chosen().size(), 2U);
  EXPECT_FALSE(model.flags(model.index(2, 0)) & Qt::ItemIsUserCheckable);
  EXPECT_TRUE(model.setData(model.index(0, 0), Qt::Unchecked, Qt::CheckStateRole));
  runs.erase(runs.begin() + 1);
  model.set_runs(runs, {find_parameter("lgs")});
  EXPECT_TRUE(model.chosen().empty()) << "the first run was unticked, the third is impossible";
}

}  // namespace
}  // namespace krasis::ui

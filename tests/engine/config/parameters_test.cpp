#include "engine/config/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace krasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Parameter& row(std::string_view name) {
  const Parameter* parameter = find_parameter(name);
  if (parameter == nullptr) throw std::runtime_error("no parameter " + std::string(name));
  return *parameter;
}

TEST(ParameterTable, EveryRowIsComplete) {
  std::set<std::string_view> names;
  for (const Parameter& parameter : parameters()) {
    SCOPED_TRACE(parameter.name);
    EXPECT_TRUE(names.insert(parameter.name).second) << "twice";
    EXPECT_FALSE(parameter.label.empty());
    EXPECT_TRUE(parameter.help.ends_with('.'));
    const bool choice = parameter.type == ParameterType::Choice || parameter.type == ParameterType::Format;
    EXPECT_EQ(choice, !parameter.choices.empty());
    const auto& [since, before] = parameter.stored;
    EXPECT_EQ(before.empty(), since < 2) << "a column that came later says what was true before";
    RunConfiguration old;
    EXPECT_TRUE(before.empty() || parameter.set(old, before)) << before;
    if (parameter.type == ParameterType::Int || parameter.type == ParameterType::Real) {
      EXPECT_LT(parameter.minimum, parameter.maximum);
    }
  }
}

TEST(ParameterTable, OperationsNameEachInstructionSet) {
  std::vector<std::string> values, labels;
  for (const auto& choice : row("operations").choices) {
    values.emplace_back(choice.value);
    labels.emplace_back(choice.label);
  }
  EXPECT_THAT(values, ElementsAre("simd", "avx2", "avx512", "amx", "scalar"));
  EXPECT_THAT(labels, ElementsAre("SIMD", "AVX2", "AVX-512", "AMX", "Scalar"));
}

// Two default configurations differ in one field after set(): a row that points at the wrong field, or at the field of
// another row, fails here.
TEST(ParameterTable, EachRowHasItsOwnField) {
  for (const Parameter& changed : parameters()) {
    RunConfiguration configuration;
    std::string other;
    if (!changed.choices.empty()) {
      for (const auto& choice : changed.choices) {
        if (choice.value != changed.default_text()) other = choice.value;
      }
      if (other.empty()) continue;  // only one choice yet
    } else {
      other = changed.type == ParameterType::Text ? "/models/other"
              : changed.default_text() == "0"     ? "1"
              : changed.minimum > 0               ? std::to_string(static_cast<int>(changed.maximum / 2 + 1))
                                                  : "0";
    }
    ASSERT_TRUE(changed.set(configuration, other)) << changed.name;
    for (const Parameter& parameter : parameters()) {
      EXPECT_EQ(parameter.text(configuration) == parameter.default_text(), parameter.name != changed.name)
          << "after setting " << changed.name << ", " << parameter.name << " is " << parameter.text(configuration);
    }
  }
}

TEST(Gpus, AreDifferentNumbersWithCommas) {
  EXPECT_TRUE(gpu_indices("all")->empty());
  EXPECT_THAT(*gpu_indices("3"), ElementsAre(3));
  EXPECT_THAT(*gpu_indices(" 2, 0 "), ElementsAre(2, 0));
  for (const char* wrong : {"0,0", "-1", "all,0", "0,", ",1", "a", "0;1", "1.5", "99999999999"}) {
    EXPECT_FALSE(gpu_indices(wrong)) << wrong;
    RunConfiguration r;
    r.gpus = wrong;
    const auto problems = validate(r);
    ASSERT_EQ(problems.size(), 1u) << wrong;
    EXPECT_EQ(problems[0].parameter, "gpus");
  }
}

TEST(ParameterTable, DefaultsAreValid) {
  EXPECT_TRUE(validate(RunConfiguration{}).empty());
}

TEST(Parameter, TakesValuesAndLabelsInAnyCase) {
  RunConfiguration r;
  ASSERT_TRUE(row("gpu_format").set(r, "int8"));
  EXPECT_EQ(r.gpu_format, "int8");
  ASSERT_TRUE(row("gpu_format").set(r, "BF16"));
  EXPECT_EQ(r.gpu_format, "bf16");
  EXPECT_EQ(row("gpu_format").display(r), "BF16");
  ASSERT_TRUE(row("hcs").set(r, " MULTI "));
  EXPECT_EQ(r.hcs, HotCache::Multi);
  EXPECT_EQ(row("hcs").text(r), "multi");
}

TEST(Parameter, RefusesWithNameAndRangeAndKeepsTheOldValue) {
  RunConfiguration r;
  for (const auto& [name, text, remedy] : {std::tuple{"lgs", "0", "1 to 1024"},
                                           {"lgs", "two", "1 to 1024"},
                                           {"lgs", "2.5", "1 to 1024"},
                                           {"lgs", "99999999999999999999", "1 to 1024"},
                                           {"hcs", "sometimes", "off, on or multi"},
                                           {"hcs_share", "1.5", "0 to 1"},
                                           {"hcs_share", "nan", "0 to 1"},
                                           {"gpu_format", "4", "int4, int8 or bf16"},
                                           {"gpu_format", "mxfp4", "int4, int8 or bf16"},
                                           {"gpu_bits", "5", "int4, int8 or bf16"},
                                           {"device_count", "17", "1 to 16"},
                                           {"numa", "local", "interleave or shards"},
                                           {"model", "", "control characters"},
                                           {"model", "a\nb", "control characters"}}) {
    const auto set = row(name).set(r, text);
    ASSERT_FALSE(set) << name << " took " << text;
    EXPECT_EQ(set.error().code, ErrorCode::InvalidArgument);
    EXPECT_THAT(set.error().cause, HasSubstr(row(name).name));
    EXPECT_THAT(set.error().remedy, HasSubstr(remedy));
  }
  EXPECT_EQ(r, RunConfiguration{});
}

TEST(Parameter, ValuesHaveTheKindOfTheField) {
  RunConfiguration r;
  EXPECT_TRUE(row("hcs_share").set_value(r, ParameterValue(std::int64_t{1})));
  EXPECT_EQ(r.hcs_share, 1.0);
  EXPECT_FALSE(row("lgs").set_value(r, ParameterValue(2.0)));
  EXPECT_FALSE(row("lgs").set_value(r, ParameterValue(std::string("2"))));
  EXPECT_FALSE(row("hcs").set_value(r, ParameterValue(std::int64_t{1})));
}

// A database or an export may hold what is out of today's range, but nothing that the field cannot hold.
TEST(Parameter, RestoresWhateverItsFieldCanHold) {
  using Value = ParameterValue;
  RunConfiguration r;
  EXPECT_TRUE(row("lgs").restore(r, Value(std::int64_t{5000})));
  EXPECT_EQ(r.lgs, 5000);
  EXPECT_TRUE(row("device").restore(r, Value("quantum")));
  EXPECT_EQ(row("device").text(r), "quantum");
  EXPECT_TRUE(row("kv_cache").restore(r, Value("fp4")));
  EXPECT_EQ(row("kv_cache").cell(r), "FP4");
  EXPECT_TRUE(row("hcs_share").restore(r, Value(std::int64_t{1})));
  EXPECT_TRUE(row("hcs").restore(r, Value("multi")));
  const RunConfiguration before = r;
  EXPECT_FALSE(row("hcs").restore(r, Value("sometimes")));
  EXPECT_FALSE(row("lgs").restore(r, Value(std::int64_t{1} << 40)));
  EXPECT_FALSE(row("lgs").restore(r, Value(2.0)));
  EXPECT_FALSE(row("device").restore(r, Value(std::int64_t{1})));
  EXPECT_EQ(r, before);
}

// MXFP4 and INT4 have four bits: a number of bits would take one for the other.
TEST(Parameter, FormatsOfOneSizeDiffer) {
  RunConfiguration int4, mxfp4;
  EXPECT_TRUE(row("gpu_format").restore(mxfp4, ParameterValue("mxfp4")));
  EXPECT_NE(int4, mxfp4);
  EXPECT_EQ(row("gpu_format").cell(int4), "INT4");
  EXPECT_EQ(row("gpu_format").cell(mxfp4), "MXFP4");
}

TEST(Parameter, AnOldNameLeadsToTheNewOne) {
  const Parameter* renamed = find_parameter("gpu-bits");
  ASSERT_NE(renamed, nullptr);
  EXPECT_EQ(renamed->name, "gpu_format");
  EXPECT_EQ(parameter_of_key("gpu_bits"), renamed);
  EXPECT_EQ(parameter_of_key("gpu-bits"), nullptr);
  RunConfiguration r;
  EXPECT_TRUE(renamed->set(r, "8"));
  EXPECT_EQ(r.gpu_format, "int8");
  EXPECT_TRUE(renamed->restore(r, ParameterValue(std::int64_t{16})));
  EXPECT_EQ(r.gpu_format, "bf16");
  EXPECT_FALSE(renamed->restore(r, ParameterValue(std::int64_t{5})));
  EXPECT_FALSE(row("gpu_format").restore(r, ParameterValue(std::int64_t{4})));
  for (const Parameter& parameter : renamed_parameters()) {
    EXPECT_EQ(find_parameter(parameter.name)->old_values.size(), 0u) << parameter.name;
  }
}

TEST(Parameter, AppliesSaysWhyNot) {
  RunConfiguration r;
  r.hcs = HotCache::Off;
  const auto applies = row("hcs_share").applies(r);
  EXPECT_FALSE(applies);
  EXPECT_THAT(std::string(applies.reason), HasSubstr("hot cache is off"));
  r.hcs = HotCache::On;
  EXPECT_TRUE(row("hcs_share").applies(r));
  EXPECT_FALSE(row("synthetic_skew").applies(r));
  r.model = "synthetic:/m/config.json";
  EXPECT_TRUE(row("synthetic_skew").applies(r));
}

TEST(Parameter, UnknownNamesGetTheNearestOne) {
  EXPECT_EQ(find_parameter("hcs-share"), &row("hcs_share"));
  EXPECT_EQ(nearest_parameter("gpu_bit"), "gpu_format");
  EXPECT_EQ(nearest_parameter("hcs_shar"), "hcs_share");
  EXPECT_EQ(nearest_parameter("completely_different"), "");
  EXPECT_THAT(unknown_parameter("lsg").message(), testing::AllOf(HasSubstr("\"lsg\""), HasSubstr("\"lgs\"")));
}

TEST(Validate, NamesEachField) {
  RunConfiguration r;
  r.lgs = 0;
  r.gpu_format = "mxfp4";
  r.hcs_share = std::numeric_limits<double>::quiet_NaN();
  r.group_size = 100;
  r.max_context = 512;
  std::vector<std::string_view> names;
  for (const auto& problem : validate(r)) names.push_back(problem.parameter);
  EXPECT_THAT(names, testing::UnorderedElementsAre("lgs", "hcs_share", "gpu_format", "group_size", "max_context"));
}

TEST(Validate, ContextSaysWhatWouldFit) {
  RunConfiguration r;
  r.max_context = 575;
  const auto problems = validate(r);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].error.remedy, HasSubstr("576"));
  r.max_context = 576;
  EXPECT_TRUE(validate(r).empty());
}

std::vector<std::string> values(std::string_view name, std::string_view text) {
  auto parsed = parse_values(row(name), text);
  if (!parsed) return {"error: " + parsed.error().cause};
  return *parsed;
}

TEST(ParseValues, ListsRangesStepsAndFactors) {
  EXPECT_THAT(values("lgs", "2,4,8"), ElementsAre("2", "4", "8"));
  EXPECT_THAT(values("lgs", " 1..4 "), ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(values("lgs", "1..16*2"), ElementsAre("1", "2", "4", "8", "16"));
  EXPECT_THAT(values("lgs", "16..60+16"), ElementsAre("16", "32", "48"));
  EXPECT_THAT(values("lgs", "16..48:16"), ElementsAre("16", "32", "48"));
  EXPECT_THAT(values("lgs", "8,1..3,2"), ElementsAre("8", "1", "2", "3"));
  EXPECT_THAT(values("hcs_share", "0..1+0.25"), ElementsAre("0", "0.25", "0.5", "0.75", "1"));
  EXPECT_THAT(values("hcs_share", "0..1+0.1"), testing::SizeIs(11));
  EXPECT_THAT(values("hcs_share", "0.7..1+0.1"), ElementsAre("0.7", "0.8", "0.9", "1"));
  EXPECT_THAT(values("hcs", "off, On"), ElementsAre("off", "on"));
  EXPECT_THAT(values("gpu_format", "INT4,int8"), ElementsAre("int4", "int8"));
  EXPECT_THAT(values("gpu_bits", "INT4,8,16"), ElementsAre("int4", "int8", "bf16"));
  EXPECT_THAT(values("model", "embedded,../other"), ElementsAre("embedded", "../other"));
}

TEST(ParseValues, RefusesWhatIsNone) {
  for (const auto& [name, text, cause] : {std::tuple{"lgs", "", "lacks a value"},
                                          {"lgs", "2,,4", "lacks a value"},
                                          {"lgs", "8..1", "runs backwards"},
                                          {"lgs", "1..8*1", "never ends"},
                                          {"lgs", "1..8+0", "never ends"},
                                          {"lgs", "1..8+", "never ends"},
                                          {"lgs", "1..8*-2", "never ends"},
                                          {"lgs", "1..inf", "not made of numbers"},
                                          {"lgs", "1..", "not made of numbers"},
                                          {"lgs", "a..b", "not made of numbers"},
                                          {"lgs", "1..2+0.5", "whole number"},
                                          {"lgs", "0..2", "cannot be \"0\""},
                                          {"hcs", "off..on", "needs a parameter that is a number"},
                                          {"prompt_tokens", "1..5000", "more than 1000 values"}}) {
    const auto parsed = parse_values(row(name), text);
    ASSERT_FALSE(parsed) << name << " = " << text;
    EXPECT_THAT(parsed.error().cause, HasSubstr(cause)) << name << " = " << text;
  }
}

}  // namespace
}  // namespace krasis

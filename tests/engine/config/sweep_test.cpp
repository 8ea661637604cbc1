#include "engine/config/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "engine/config/configuration_io.h"

namespace krasis {
namespace {

using testing::HasSubstr;

std::string describe(const RunConfiguration& r) {
  const char* hcs = r.hcs == HotCache::Off ? "off" : r.hcs == HotCache::On ? "on" : "multi";
  return std::to_string(r.lgs) + " " + hcs + " " + r.gpu_format;
}

std::vector<std::string> runs_of(std::string_view toml) {
  const auto sweep = sweep_from_toml(toml);
  if (!sweep) return {"error: " + sweep.error().message()};
  const auto runs = expand(*sweep);
  if (!runs) return {"error: " + runs.error().message()};
  std::vector<std::string> result;
  for (const auto& run : *runs) result.push_back(describe(run));
  return result;
}

TEST(Sweep, TheFirstSweepHasTwelveRuns) {
  const auto sweep = load_sweep(KRASIS_SOURCE_DIR "/resources/presets/first-sweep.toml");
  ASSERT_TRUE(sweep) << sweep.error().message();
  const auto runs = expand(*sweep);
  ASSERT_TRUE(runs);
  std::vector<std::string> described;
  for (const RunConfiguration& run : *runs) {
    described.push_back(describe(run));
    EXPECT_EQ(run.prompt_tokens, 512);
    EXPECT_EQ(run.decode_tokens, 64);
    EXPECT_EQ(run.warmups, 1);
    EXPECT_EQ(run.repetitions, 3);
    EXPECT_EQ(run.cpu_format, "int4");
    EXPECT_EQ(run.hcs_share, 0.5);
    EXPECT_EQ(run.model, "embedded");
    EXPECT_EQ(run.device, "host");
  }
  EXPECT_THAT(described,
              testing::ElementsAre("1 off int4", "1 off int8", "1 on int4", "1 on int8", "2 off int4", "2 off int8",
                                   "2 on int4", "2 on int8", "4 off int4", "4 off int8", "4 on int4", "4 on int8"));
}

TEST(Sweep, TheCachePolicyIsAnAxis) {
  const auto sweep = load_sweep(KRASIS_SOURCE_DIR "/tests/benchmarks/sweeps/adaptive-a.toml");
  ASSERT_TRUE(sweep) << sweep.error().message();
  const auto runs = expand(*sweep);
  ASSERT_TRUE(runs);
  std::vector<double> adaptive;
  for (const RunConfiguration& run : *runs) {
    if (run.hcs_policy == "adaptive") adaptive.push_back(run.hcs == HotCache::Off ? 0.0 : run.hcs_share);
  }
  EXPECT_EQ(runs->size(), 8u);
  EXPECT_THAT(adaptive, testing::ElementsAre(0.25, 0.5, 0.75));
}

TEST(Sweep, AxesKeepTheirOrderAndTakeRanges) {
  EXPECT_THAT(runs_of("[axes]\nlgs = \"1..4*2\"\nhcs = ['on', 'off']\n"),
              testing::ElementsAre("1 on int4", "1 off int4", "2 on int4", "2 off int4", "4 on int4", "4 off int4"));
  EXPECT_THAT(runs_of("[axes]\nhcs = 'off, on'\ngpu_bits = ['INT8', 4]\n"),
              testing::ElementsAre("2 off int8", "2 off int4", "2 on int8", "2 on int4"));
  EXPECT_THAT(runs_of(""), testing::ElementsAre("2 off int4"));
}

TEST(Sweep, ExclusionsRemoveWhatMatchesCompletely) {
  EXPECT_THAT(runs_of("[axes]\nlgs = [1, 2]\nhcs = ['off', 'on']\n[[exclude]]\nlgs = 1\nhcs = 'on'\n"),
              testing::ElementsAre("1 off int4", "2 off int4", "2 on int4"));
  EXPECT_THAT(runs_of("[axes]\nlgs = [1, 2]\n[[exclude]]\nlgs = 1\n[[exclude]]\nlgs = 2\n"),
              testing::ElementsAre(HasSubstr("excluded")));
}

TEST(Sweep, InterleavedIsAFixedPermutation) {
  const std::string axes = "[axes]\nlgs = '1..16'\nhcs = ['off', 'on']\n";
  const auto sequential = runs_of(axes);
  const auto interleaved = runs_of("order = 'interleaved'\n" + axes);
  EXPECT_NE(sequential, interleaved);
  EXPECT_EQ(interleaved, runs_of("order = 'interleaved'\n" + axes));
  EXPECT_THAT(interleaved, testing::UnorderedElementsAreArray(sequential));
}

TEST(Sweep, RoundTripsThroughToml) {
  Sweep sweep;
  sweep.title = "A \"title\" with\nlines and # signs";
  sweep.base.model = "/models/a b";
  sweep.base.hcs_share = 1.0;
  sweep.base.repetitions = 7;
  sweep.axes = {{"prompt_tokens", {"128", "512"}},
                {"hcs", {"off", "multi"}},
                {"hcs_share", {"0.25", "1"}},
                {"gpu_format", {"bf16", "int4"}},
                {"model", {"embedded", "x=\"y\""}}};
  sweep.exclude = {{{"hcs", "off"}, {"hcs_share", "1"}}, {{"gpu_format", "int4"}}};
  sweep.order = SweepOrder::Interleaved;
  sweep.timeout_s = 12.5;
  const auto read = sweep_from_toml(to_toml(sweep));
  ASSERT_TRUE(read) << read.error().message() << "\n" << to_toml(sweep);
  EXPECT_EQ(*read, sweep) << to_toml(sweep);
}

/// A sweep as programs wrote it while precisions were numbers of bits.
constexpr const char* kOldSweep = R"(title = "Bits"
order = "sequential"

[base]
cpu_bits = 8
attention_bits = 16

[axes]
gpu_bits = [4, 8, 16]
lm_head_bits = "8,4"

[[exclude]]
gpu_bits = 16
lm_head_bits = 4
)";

TEST(Sweep, OldNamesAreReadAndWrittenAsTheNewOnes) {
  const auto sweep = sweep_from_toml(kOldSweep);
  ASSERT_TRUE(sweep) << sweep.error().message();
  EXPECT_EQ(sweep->base.cpu_format, "int8");
  EXPECT_EQ(sweep->base.attention_format, "bf16");
  const std::vector<SweepAxis> axes{{"gpu_format", {"int4", "int8", "bf16"}}, {"lm_head_format", {"int8", "int4"}}};
  EXPECT_EQ(sweep->axes, axes);
  EXPECT_EQ(expand(*sweep)->size(), 5u);
  EXPECT_THAT(to_toml(*sweep), testing::Not(HasSubstr("_bits")));
  EXPECT_EQ(*sweep_from_toml(to_toml(*sweep)), *sweep);
}

TEST(Sweep, LimitsTheNumberOfRuns) {
  const auto too_many = runs_of("[axes]\nlgs = '1..1000'\nthreads = '1..1000'\nprompt_tokens = '1..1000'\n");
  EXPECT_THAT(too_many[0], HasSubstr("more than 100000 combinations"));
  EXPECT_THAT(runs_of("[axes]\nlgs = '1..1000'\nthreads = '1..11'\n")[0], HasSubstr("more than 10000 runs"));
  EXPECT_EQ(runs_of("[axes]\nlgs = '1..1000'\nthreads = '1..10'\n").size(), 10000u);
}

TEST(Sweep, HostileOrMistakenTextIsRefusedWithTheKey) {
  for (const auto& [text, message] : {
           std::pair<std::string, std::string>{"[axes]\nlsg = [1]", "Did you mean \"lgs\""},
           {"[base]\ngpu_bit = 4", "Did you mean \"gpu_format\""},
           {"[[exclude]]\nhcss = 'on'", "Did you mean \"hcs\""},
           {"lgs = 2", "[base] or [axes]"},
           {"repetition = 2", "\"repetitions\""},
           {"colour = 'red'", "A sweep has no \"colour\""},
           {"[axes]\nrepetitions = [1, 2]", "cannot be an axis"},
           {"[axes]\nlgs = []", "no values"},
           {"[axes]\nlgs = [0]", "lgs cannot be \"0\""},
           {"[axes]\nlgs = [1.5]", "lgs cannot be"},
           {"[axes]\nlgs = [[1]]", "neither a number nor a text"},
           {"[axes]\nlgs = 2", "neither an array nor a text"},
           {"[axes]\nhcs = [1]", "hcs is a text"},
           {"[axes]\nlgs = '4..1'", "runs backwards"},
           {"axes = 3", "axes is no table"},
           {"exclude = {lgs = 1}", "no array of tables"},
           {"exclude = [1]", "names no parameter"},
           {"[[exclude]]", "names no parameter"},
           {"order = 'random'", "order must be"},
           {"timeout_s = -1", "timeout_s"},
           {"timeout_s = nan", "timeout_s"},
           {"title = 3", "title"},
           {"title = 'a'\ntitle = 'b'", "Line 2"},
           {"[axes\nlgs = 1", "Line 1"},
           {"\xff\xfe", "Line 1"},
           {std::string(100, '['), "nested"},
           {std::string(5 << 20, ' '), "larger than 4 MiB"},
       }) {
    const auto sweep = sweep_from_toml(text);
    ASSERT_FALSE(sweep) << text;
    EXPECT_THAT(sweep.error().message(), HasSubstr(message)) << text.substr(0, 100);
  }
  EXPECT_THAT(load_sweep("/nowhere/sweep.toml").error().message(), HasSubstr("/nowhere/sweep.toml"));
}

TEST(Sweep, SurvivesMutations) {
  Sweep sweep;
  sweep.axes = {{"lgs", {"1", "2"}}, {"hcs", {"off", "on"}}};
  sweep.exclude = {{{"lgs", "1"}, {"hcs", "on"}}};
  const std::string whole = to_toml(sweep);
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    std::string text = whole;
    for (int changes = 0; changes < 2; ++changes) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random() % 256);
      } else {
        text.erase(at, random() % 6);
      }
    }
    if (const auto read = sweep_from_toml(text)) {
      const auto again = sweep_from_toml(to_toml(*read));
      ASSERT_TRUE(again) << to_toml(*read);
      EXPECT_EQ(*again, *read);
      (void)expand(*read);
    }
  }
}

}  // namespace
}  // namespace krasis

// The pipelines' order: no unordered access in any configuration, every wait is needed, and no schedule changes a result.
#include <set>

#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

using test::exact_configuration;
using test::make_engine;
using test::TestSetup;

constexpr std::size_t kPrompt = 40;

/// tiny-a has 3 layers with experts, tiny-b a dense one first.
RunConfiguration small(int lgs, int devices, HotCache hcs, const std::string& policy = "static") {
  RunConfiguration c = exact_configuration();
  c.lgs = lgs;
  c.device_count = devices;
  c.hcs = hcs;
  c.hcs_policy = policy;
  c.max_context = 64;
  c.chunk_tokens = 16;
  return c;
}

std::vector<std::int32_t> generate(test::TestEngine& t, int new_tokens, std::string* error = nullptr) {
  const auto prompt = test::random_tokens(kPrompt, t.engine->model().spec.vocabulary, 3);
  auto result = t.engine->generate(prompt, {.max_new_tokens = new_tokens, .ignore_end_of_text = true}, {});
  if (error != nullptr) *error = result ? "" : result.error().message();
  if (error == nullptr) {
    EXPECT_TRUE(result) << result.error().message();
  }
  return result ? result->tokens : std::vector<std::int32_t>{};
}

struct Case {
  std::string model;
  int lgs, devices;
  HotCache hcs;
  std::string policy = "static";
  std::string attention = "resident";
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " LGS " << c.lgs << " devices " << c.devices; }

class EveryConfiguration : public testing::TestWithParam<Case> {};

TEST_P(EveryConfiguration, HasNoUnorderedAccess) {
  const auto& [model, lgs, devices, hcs, policy, attention] = GetParam();
  TestSetup setup{.model = model, .configuration = small(lgs, devices, hcs, policy)};
  setup.configuration.attention = attention;
  auto t = make_engine(setup);
  generate(t, 20);
  ASSERT_TRUE(t.engine->decode_parts({}));
  generate(t, 3);  // once more: reuse of every buffer
  EXPECT_EQ(policy == "adaptive", [&] { generate(t, 20); return !t.engine->cache_changes().empty(); }());
  const auto tokens = test::random_tokens(30, t.engine->model().spec.vocabulary, 5);
  ASSERT_TRUE(t.engine->evaluate(tokens, {.prefill_tokens = 20, .positions = {3, 19, 25, 29}, .record_picks = true}));
  EXPECT_TRUE(t.platform->violations().empty()) << test::violations_text(*t.platform);
  t.engine.reset();
  EXPECT_TRUE(t.platform->violations().empty()) << "while ending: " << test::violations_text(*t.platform);
}

INSTANTIATE_TEST_SUITE_P(Order, EveryConfiguration,
                         testing::Values(Case{"tiny-a", 1, 1, HotCache::Off}, Case{"tiny-a", 2, 1, HotCache::On},
                                         Case{"tiny-a", 3, 1, HotCache::Multi}, Case{"tiny-a", 1, 2, HotCache::On},
                                         Case{"tiny-a", 1, 2, HotCache::Multi}, Case{"tiny-a", 1, 3, HotCache::On},
                                         Case{"tiny-b", 1, 2, HotCache::Multi}, Case{"tiny-b", 2, 2, HotCache::On},
                                         Case{"tiny-a", 2, 1, HotCache::On, "adaptive"}, Case{"tiny-a", 1, 2, HotCache::On, "adaptive"},
                                         Case{"tiny-a", 1, 2, HotCache::Multi, "adaptive"}, Case{"tiny-b", 1, 3, HotCache::Multi, "adaptive"},
                                         Case{"tiny-a", 1, 1, HotCache::Off, "static", "streamed"}, Case{"tiny-a", 2, 1, HotCache::On, "static", "streamed"},
                                         Case{"tiny-a", 3, 1, HotCache::Off, "static", "streamed"}, Case{"tiny-b", 1, 2, HotCache::Multi, "static", "streamed"},
                                         Case{"tiny-b", 1, 3, HotCache::On, "static", "streamed"},
                                         Case{"tiny-a", 1, 2, HotCache::Multi, "adaptive", "streamed"}),
                         [](const auto& test) {
                           std::string name = test.param.model + "_lgs" + std::to_string(test.param.lgs) + "_devices" +
                                              std::to_string(test.param.devices) + "_hcs" +
                                              std::to_string(static_cast<int>(test.param.hcs)) + "_" + test.param.policy + "_" + test.param.attention;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// Generates and evaluates on a seeded schedule and says which waits there were and whether the checker objects.
struct Outcome {
  std::set<std::string> reasons;
  std::string violations;
};
Outcome run(const RunConfiguration& configuration, std::vector<std::string> dropped, bool use = true) {
  TestSetup setup{.model = "tiny-a", .configuration = configuration, .seed = 11, .drop_waits = std::move(dropped)};
  auto t = make_engine(setup);
  std::string error;
  if (t.engine && use) {
    generate(t, configuration.hcs_policy == "adaptive" ? 12 : 3, &error);
    (void)t.engine->decode_parts({});
    const auto tokens = test::random_tokens(30, t.engine->model().spec.vocabulary, 5);
    (void)t.engine->evaluate(tokens, {.prefill_tokens = 20, .positions = {19, 25, 29}});
    (void)t.engine->evaluate(tokens, {.prefill_tokens = 20, .positions = {25}});
  }
  t.engine.reset();
  Outcome outcome;
  for (const std::string& why : t.platform->wait_reasons()) outcome.reasons.insert(why);
  outcome.violations = test::violations_text(*t.platform);
  return outcome;
}

// Two devices, groups of one layer, cache on device 0 alone: every kind of wait occurs.
TEST(Order, EachWaitIsNeeded) {
  RunConfiguration configuration = small(1, 2, HotCache::On);
  RunConfiguration adaptive = small(1, 1, HotCache::On, "adaptive");
  RunConfiguration one_device = small(1, 1, HotCache::Off);  // three groups through two buffers of one device
  RunConfiguration streamed = one_device;
  streamed.attention = "streamed";
  const Outcome two = run(configuration, {});
  const Outcome one = run(one_device, {});
  const Outcome passing = run(streamed, {});
  ASSERT_EQ(passing.violations, "");
  ASSERT_EQ(two.violations, "");
  ASSERT_EQ(run(adaptive, {}).violations, "");
  ASSERT_EQ(one.violations, "");
  ASSERT_EQ(run(one_device, {}, false).violations, "");
  std::set<std::string> reasons = two.reasons;
  reasons.insert(one.reasons.begin(), one.reasons.end());
  reasons.insert(passing.reasons.begin(), passing.reasons.end());
  const std::set<std::string> expected{
      "group is loaded", "group buffer is free", "residual arrives", "activations are on the host", "CPU experts are done",
      "activations arrive at the cache", "cached experts are done", "token is known", "logits are read", "prefill is done",
      "heatmap is known", "experts are in the cache", "engine ends", "decode is idle",
      "attention is loaded", "attention buffer is free", "last attention is done"};
  EXPECT_EQ(reasons, expected) << "a new wait needs its place here";
  for (const std::string& why : reasons) {
    // The third one ends while its weights are still being uploaded.
    const std::string found = run(configuration, {why}).violations + run(one_device, {why}).violations +
                              run(adaptive, {why}).violations +
                              run(one_device, {why}, false).violations + run(streamed, {why}).violations;
    EXPECT_NE(found, "") << "nothing notices when \"" << why << "\" is left out: is it needed?";
  }
}

TEST(Order, AThousandSchedulesGiveOneResult) {
  const RunConfiguration configuration = [] {
    RunConfiguration c = small(1, 2, HotCache::On);
    c.operations = "scalar";
    c.chunk_tokens = 8;
    return c;
  }();
  std::vector<float> expected;
  std::vector<std::int32_t> expected_tokens;
  const auto tokens = test::random_tokens(12, test::packed("tiny-a", configuration)->spec.vocabulary, 5);
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    TestSetup setup{.model = "tiny-a", .configuration = configuration, .seed = seed, .check_order = false, .heatmap_tokens = 9};
    auto t = make_engine(setup);
    auto evaluation = t.engine->evaluate(tokens, {.prefill_tokens = 10, .positions = {9, 11}});
    ASSERT_TRUE(evaluation) << "seed " << seed << ": " << evaluation.error().message();
    auto generated = t.engine->generate(std::span(tokens).first(5), {.max_new_tokens = 2, .ignore_end_of_text = true}, {});
    ASSERT_TRUE(generated) << generated.error().message();
    if (seed == 0) {
      expected = evaluation->logits;
      expected_tokens = generated->tokens;
    }
    ASSERT_EQ(evaluation->logits, expected) << "seed " << seed;
    ASSERT_EQ(generated->tokens, expected_tokens) << "seed " << seed;
  }
}

// The checker is no theory: without the wait, some schedule really reads experts that are not there yet.
TEST(Order, WithoutAWaitSomeScheduleGivesAnotherResult) {
  RunConfiguration configuration = small(1, 1, HotCache::Off);
  configuration.operations = "scalar";
  const auto tokens = test::random_tokens(12, test::packed("tiny-a", configuration)->spec.vocabulary, 5);
  const auto logits = [&](std::uint64_t seed, std::vector<std::string> dropped) {
    TestSetup setup{.configuration = configuration, .seed = seed, .check_order = false, .drop_waits = std::move(dropped)};
    auto t = make_engine(setup);
    auto evaluation = t.engine->evaluate(tokens, {.prefill_tokens = 12, .positions = {11}});
    EXPECT_TRUE(evaluation);
    return evaluation ? evaluation->logits : std::vector<float>{};
  };
  configuration.attention = "streamed";
  const auto expected = logits(0, {});
  for (const char* why : {"group is loaded", "group buffer is free", "attention is loaded", "attention buffer is free"}) {
    bool differs = false;
    for (std::uint64_t seed = 0; seed < 50 && !differs; ++seed) differs = logits(seed, {why}) != expected;
    EXPECT_TRUE(differs) << why;
  }
}

TEST(Order, CopyAndComputeRunAtTheSameTime) {
  RunConfiguration configuration = small(1, 1, HotCache::Off);
  TestSetup setup{.model = "embedded", .configuration = configuration, .check_order = false, .trace = true};
  auto t = make_engine(setup);
  bool overlap = false;
  for (int attempt = 0; attempt < 20 && !overlap; ++attempt) {  // a busy machine may run the streams one by one for a while
    generate(t, 1);
    const auto trace = t.platform->trace();
    for (const TraceEntry& load : trace) {
      if (load.name != "load experts") continue;
      for (const TraceEntry& other : trace) {
        overlap |= other.stream != load.stream && other.copied_bytes == 0 && other.start_ns < load.end_ns && load.start_ns < other.end_ns;
      }
    }
  }
  EXPECT_TRUE(overlap) << "no copy of experts overlapped with compute";
}

}  // namespace
}  // namespace krasis

// Engine::load: what it takes from a configuration, and what it refuses.
#include "engine/runtime/compute_threads.h"
#include "engine/system/system_check.h"
#include "engine/weights/host_pages.h"
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

using test::exact_configuration;

// An instruction set that was asked for runs or is refused by its name; no smaller one takes its place.
TEST(Engine, RunsTheInstructionSetAskedForOrRefusesIt) {
  struct Case {
    const char* operations;
    bool here;
    const char* refusal;
  };
  const Case cases[] = {{"avx2", has_simd(SimdLevel::Avx2), "no AVX2"},
                        {"avx512", has_simd(SimdLevel::Avx512), "no AVX-512"},
                        {"amx", has_simd(SimdLevel::Amx), "no AMX"},
                        {"neon", false, "no operations \"neon\""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.operations);
    RunConfiguration configuration = exact_configuration();
    configuration.model = test::model_path("tiny-a").string();
    configuration.operations = c.operations;
    const auto engine = Engine::load(configuration, {});
    ASSERT_EQ(engine.has_value(), c.here);
    if (engine) continue;
    EXPECT_THAT(engine.error().message(), testing::HasSubstr(c.refusal));
    EXPECT_THAT(engine.error().remedy, testing::HasSubstr("\"simd\""));
  }
}

TEST(EngineLoad, ADeviceThatIsNotThereIsAnError) {
  RunConfiguration configuration = exact_configuration();
  configuration.model = test::model_path("tiny-a").string();
  configuration.device = "abacus";
  const auto engine = Engine::load(configuration, {});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().message(), "There is no device \"abacus\". Choose \"host\" or \"cuda\".");
}

/// Nodes of which both are this machine's first, so that everything is done as with two: rows on their nodes, threads
/// in order, experts in shards. What is computed does not depend on it.
TEST(EngineLoad, RowsOnSeveralNodesChangeNoBit) {
  RunConfiguration configuration = exact_configuration();
  configuration.model = "embedded";
  configuration.gpu_format = configuration.cpu_format = "int4";
  configuration.threads = 3;
  EngineOptions options;
  options.embedded_model = test::model_path("embedded");
  const auto prompt = test::random_tokens(40, 4000, 5);
  const auto load = [&](const char* numa, const std::optional<std::vector<ComputeNode>>& nodes) {
    configuration.numa = numa;
    options.nodes = nodes;
    return Engine::load(configuration, options);
  };
  const auto tokens = [&](const auto& engine) {
    const auto generation = (*engine)->generate(prompt, {.max_new_tokens = 12, .ignore_end_of_text = true}, nullptr);
    return generation ? generation->tokens : std::vector<std::int32_t>();
  };
  const auto interleaved = load("interleave", std::nullopt);
  ASSERT_TRUE(interleaved);
  EXPECT_EQ((*interleaved)->team().nodes(), 1);
  const auto expected = tokens(interleaved);
  EXPECT_EQ(expected.size(), 12u);

  const auto one = load("shards", std::vector<ComputeNode>{{0, {{0}}}});
  ASSERT_TRUE(one);
  EXPECT_EQ((*one)->team().nodes(), 1);
  EXPECT_THAT((*one)->model().notes, testing::Contains(testing::HasSubstr("There is one NUMA node")));
  EXPECT_EQ(tokens(one), expected);

  const auto two = load("shards", std::vector<ComputeNode>{{0, {{0}}}, {0, {{0}, {1}}}});
  ASSERT_TRUE(two);
  EXPECT_EQ((*two)->team().nodes(), 2);
  EXPECT_EQ((*two)->team().size(), 3);
  const PackedModel& model = (*two)->model();
  EXPECT_FALSE(model.dense.divided());
  const int both[] = {0, 0};
  EXPECT_EQ(model.gpu_experts.divided(), can_populate_on(PageSystem::real(), both));
  if (model.gpu_experts.divided()) {
    EXPECT_THAT(model.notes, testing::Contains(testing::HasSubstr("spread over 2 NUMA nodes, the rows of")));
  } else {
    EXPECT_THAT(model.notes, testing::Contains(testing::HasSubstr("the experts' rows are not divided")));
  }
  EXPECT_EQ(tokens(two), expected);
}

TEST(ComputeThreads, StayOnTheCpusOfTheirNodes) {
  const auto real = compute_nodes();
  if (real.empty()) GTEST_SKIP() << "hwloc does not know this machine's nodes";
  const std::vector<ComputeNode> two = {real[0], real[0]};
  const auto team = make_thread_team(3, two);
  EXPECT_EQ(team->size(), 3);
  EXPECT_EQ(team->nodes(), 2);
  EXPECT_GE(team->pinned(), 1);
  EXPECT_EQ(make_thread_team(0, two)->size(), static_cast<int>(compute_cpus().size()));
  const auto one = make_thread_team(3, {real[0]});
  EXPECT_EQ(one->nodes(), 1);
  EXPECT_EQ(one->pinned(), 0) << "as without shards: the system knows better";
}

TEST(SameWeights, LieInTheSamePlaces) {
  RunConfiguration a, b;
  EXPECT_TRUE(same_weights(a, b));
  b.threads = 3;
  EXPECT_TRUE(same_weights(a, b));
  b.numa = "shards";
  EXPECT_FALSE(same_weights(a, b));
}

}  // namespace
}  // namespace krasis

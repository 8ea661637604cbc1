// Engine::load: what it takes from a configuration, and what it refuses.
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

}  // namespace
}  // namespace krasis

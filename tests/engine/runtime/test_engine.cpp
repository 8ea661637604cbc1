#include "tests/engine/runtime/test_engine.h"

#include <map>
#include <random>
#include <tuple>

#include "engine/runtime/compute_threads.h"
#include "engine/runtime/setup.h"

namespace krasis::test {

std::filesystem::path model_path(const std::string& model) {
  const std::filesystem::path root = KRASIS_SOURCE_DIR;
  return model == "embedded" ? root / "resources/models/tiny-moe" : root / "tests/goldens/models" / model;
}

RunConfiguration exact_configuration() {
  RunConfiguration c;
  c.gpu_bits = c.cpu_bits = c.attention_bits = c.dense_mlp_bits = c.lm_head_bits = 16;
  c.max_context = 256;
  c.chunk_tokens = 128;
  c.prompt_tokens = 32;
  c.decode_tokens = 8;
  c.vram_budget_mib = 64;
  return c;
}

std::shared_ptr<const PackedModel> packed(const std::string& model, const RunConfiguration& c) {
  using Key = std::tuple<std::string, int, int, int, int, int, int>;
  static std::map<Key, std::shared_ptr<const PackedModel>> cache;
  auto& entry = cache[{model, c.gpu_bits, c.cpu_bits, c.attention_bits, c.dense_mlp_bits, c.lm_head_bits, c.group_size}];
  if (!entry) {
    auto loaded = load_packed_model(model_path(model).string(), precision_of(c), {});
    if (!loaded) {
      ADD_FAILURE() << loaded.error().message();
      std::abort();
    }
    entry = std::make_shared<const PackedModel>(std::move(*loaded));
  }
  return entry;
}

TestEngine make_engine(const TestSetup& setup) {
  const auto model = packed(setup.model, setup.configuration);
  HostPlatformOptions options;
  options.devices = setup.configuration.device_count;
  options.budgets = {static_cast<std::size_t>(setup.configuration.vram_budget_mib) << 20};
  const bool scalar = setup.configuration.operations == "scalar";
  const HostOperations& operations = scalar ? scalar_operations() : simd_operations();
  options.team = make_thread_team(setup.configuration.threads);
  options.schedule = setup.seed ? Schedule::Seeded : Schedule::Threads;
  options.seed = setup.seed.value_or(0);
  options.check_order = setup.check_order;
  options.trace = setup.trace;
  TestEngine result;
  auto platform = HostPlatform::create(options, operations);
  EXPECT_TRUE(platform) << platform.error().message();
  result.platform = std::move(*platform);
  for (const std::string& why : setup.drop_waits) result.platform->drop_waits(why);
  std::vector<Device*> devices;
  for (int i = 0; i < result.platform->device_count(); ++i) devices.push_back(&result.platform->device(i));
  auto plan = make_plan(model->config, setup.configuration, host_hardware());
  EXPECT_TRUE(plan) << plan.error().message();
  const auto heatmap_tokens = random_tokens(setup.heatmap_tokens, model->config.vocabulary, 7);
  auto engine = HybridEngine::create(std::move(devices), model, setup.configuration, std::move(*plan), heatmap_tokens,
                                     HostCompute{&operations, options.team});
  EXPECT_TRUE(engine) << engine.error().message();
  if (engine) result.engine = std::move(*engine);
  return result;
}

std::vector<std::int32_t> random_tokens(std::size_t count, std::int64_t vocabulary, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> tokens(count);
  for (auto& token : tokens) token = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocabulary));
  return tokens;
}

std::string violations_text(const HostPlatform& platform) {
  std::string text;
  int count = 0;
  for (const Violation& violation : platform.violations()) {
    if (++count > 5) break;
    text += violation.message() + "\n";
  }
  return text;
}

}  // namespace krasis::test

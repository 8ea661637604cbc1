#include "tests/engine/runtime/test_engine.h"

#include <map>
#include <random>
#include <utility>

#include "engine/runtime/compute_threads.h"
#include "engine/runtime/setup.h"
#include "engine/weights/packed_file.h"
#ifdef KRASIS_TEST_CUDA
#include "kernels/cuda/probe.h"
#endif

namespace krasis::test {

std::filesystem::path model_path(const std::string& model) {
  const std::filesystem::path root = KRASIS_SOURCE_DIR;
  return model.starts_with("embedded") ? root / "resources/models/tiny-moe" : root / "tests/goldens/models" / model;
}

RunConfiguration exact_configuration() {
  RunConfiguration c;
  c.gpu_format = c.cpu_format = c.attention_format = c.dense_mlp_format = c.lm_head_format = "bf16";
  c.max_context = 256;
  c.chunk_tokens = 128;
  c.prompt_tokens = 32;
  c.decode_tokens = 8;
  c.vram_budget_mib = 64;
  c.prefill_path = "stream";
  return c;
}

std::shared_ptr<const PackedModel> packed(const std::string& model, const RunConfiguration& c) {
  using Key = std::pair<std::string, std::string>;
  static std::map<Key, std::shared_ptr<const PackedModel>> cache;
  auto& entry = cache[{model, precision_text(precision_of(c))}];
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

namespace {

#ifdef KRASIS_TEST_CUDA

/// Skips every test, with the reason, where there is no GPU.
class NeedsGpu final : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    static const auto gpus = cuda_devices();
    if (!gpus) GTEST_SKIP() << gpus.error().message();
    if (gpus->empty()) GTEST_SKIP() << "There is a driver, but no GPU.";
  }
};
[[maybe_unused]] const bool kNeedsGpu = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new NeedsGpu);
  return true;
}();

void open_platform(TestEngine& result, const TestSetup& setup, const HostCompute&) {
  const auto gpus = cuda_devices();
  ASSERT_TRUE(gpus) << gpus.error().message();
  CudaPlatformOptions options;
  options.devices.clear();
  const auto budget = static_cast<std::size_t>(setup.configuration.vram_budget_mib) << 20;
  for (int i = 0; i < setup.configuration.device_count; ++i) {
    options.devices.push_back({.cuda_index = i % static_cast<int>(gpus->size()), .budget_bytes = budget});
  }
  options.peer_access = setup.peer_access;
  options.trace = setup.trace;
  options.poison = true;
  options.patience_s = 60;
  auto platform = CudaPlatform::create(options, gpu_operations());
  ASSERT_TRUE(platform) << platform.error().message();
  result.gpu = std::move(*platform);
  for (int i = 0; i < result.gpu->device_count(); ++i) result.devices.push_back(&result.gpu->device(i));
}

#else

void open_platform(TestEngine& result, const TestSetup& setup, const HostCompute& cpu) {
  HostPlatformOptions options;
  options.devices = setup.configuration.device_count;
  options.budgets = {static_cast<std::size_t>(setup.configuration.vram_budget_mib) << 20};
  options.team = cpu.team;
  options.schedule = setup.seed ? Schedule::Seeded : Schedule::Threads;
  options.seed = setup.seed.value_or(0);
  options.check_order = setup.check_order;
  options.trace = setup.trace;
  auto platform = HostPlatform::create(options, *cpu.operations);
  ASSERT_TRUE(platform) << platform.error().message();
  result.platform = std::move(*platform);
  for (const std::string& why : setup.drop_waits) result.platform->drop_waits(why);
  for (int i = 0; i < result.platform->device_count(); ++i) result.devices.push_back(&result.platform->device(i));
}

#endif

}  // namespace

TestEngine make_engine(const TestSetup& setup) {
  const auto model = packed(setup.model, setup.configuration);
  const bool scalar = setup.configuration.operations == "scalar";
  const HostOperations& usual = scalar ? scalar_operations() : simd_operations();
  const HostCompute cpu{setup.operations != nullptr ? setup.operations : &usual,
                        make_thread_team(setup.configuration.threads)};
  TestEngine result;
  open_platform(result, setup, cpu);
  if (result.devices.empty()) std::abort();  // nothing that a test could go on with
  auto plan = make_plan(model->spec, setup.configuration, host_hardware());
  EXPECT_TRUE(plan) << plan.error().message();
  const auto heatmap_tokens = random_tokens(setup.heatmap_tokens, model->spec.vocabulary, 7);
  auto engine = HybridEngine::create(result.devices, model, setup.configuration, std::move(*plan), heatmap_tokens, cpu);
  EXPECT_TRUE(engine) << engine.error().message();
  if (engine) result.engine = std::move(*engine);
  return result;
}

#ifdef KRASIS_TEST_CUDA
void set_tracing(TestEngine& engine, bool tracing) {
  const auto done = engine.gpu->set_tracing(tracing);
  ASSERT_TRUE(done) << done.error().message();
}
std::vector<TraceEntry> trace_of(const TestEngine& engine) { return engine.gpu->trace(); }
#else
void set_tracing(TestEngine& engine, bool tracing) { engine.platform->set_tracing(tracing); }
std::vector<TraceEntry> trace_of(const TestEngine& engine) { return engine.platform->trace(); }
#endif

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

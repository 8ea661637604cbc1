#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/runtime/hybrid_engine.h"
#include "kernels/host/host_platform.h"
#ifdef KRASIS_TEST_CUDA
#include "kernels/cuda/cuda_platform.h"
#endif

namespace krasis::test {

/// A HybridEngine on a platform that tests can look into. The tests that only use the engine are built once more for a
/// GPU (KRASIS_TEST_CUDA), as a program whose tests skip where there is none.
struct TestEngine {
  std::unique_ptr<HostPlatform> platform;  ///< null on a GPU
#ifdef KRASIS_TEST_CUDA
  std::unique_ptr<CudaPlatform> gpu;
#endif
  std::vector<Device*> devices;
  std::unique_ptr<HybridEngine> engine;
};

struct TestSetup {
  std::string model = "tiny-a";  ///< of tests/goldens/models, or "embedded", "embedded-8k"
  RunConfiguration configuration;
  std::optional<std::uint64_t> seed;  ///< seeded schedule
  bool check_order = true;
  bool trace = false;
  std::size_t heatmap_tokens = 64;
  std::vector<std::string> drop_waits;
  bool peer_access = true;                     ///< CudaPlatformOptions::peer_access
  const HostOperations* operations = nullptr;  ///< instead of the configuration's; of a GPU those of the CPU alone
};

#ifdef KRASIS_TEST_CUDA
/// Of a GPU, or of a simulated one (simulated_gpu.cpp).
const CudaOperations& gpu_operations();
#endif

std::filesystem::path model_path(const std::string& model);

/// A configuration with everything in BF16, a small context, two chunks and SIMD operations.
RunConfiguration exact_configuration();

/// The packed model, kept between tests by (model, precision).
std::shared_ptr<const PackedModel> packed(const std::string& model, const RunConfiguration& configuration);

/// Loads, or fails the test with the error's message.
TestEngine make_engine(const TestSetup& setup);

/// Starts a new trace, or ends tracing and forgets it.
void set_tracing(TestEngine& engine, bool tracing);
std::vector<TraceEntry> trace_of(const TestEngine& engine);

/// `count` token ids below `vocabulary`, the same for equal seeds.
std::vector<std::int32_t> random_tokens(std::size_t count, std::int64_t vocabulary, std::uint32_t seed);

/// The messages of all violations, at most five.
std::string violations_text(const HostPlatform& platform);

}  // namespace krasis::test

#include "kernels/cuda/ceilings.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "kernels/cuda/probe.h"

namespace krasis {
namespace {

TEST(CudaCeilings, WithoutAGpuIsAnError) {
  const auto gpus = cuda_devices();
  if (gpus && !gpus->empty()) GTEST_SKIP() << "there is a GPU";
  EXPECT_FALSE(measure_ceilings(0));
}

/// No figure can be right everywhere; these catch a wrong unit, a copy that did not run, and a read from the cache.
TEST(CudaCeilings, ArePlausibleOnEveryGpu) {
  const auto gpus = cuda_devices();
  if (!gpus || gpus->empty()) GTEST_SKIP() << "no GPU here";
  for (int gpu = 0; gpu < static_cast<int>(gpus->size()); ++gpu) {
    const auto ceilings = measure_ceilings(gpu, {.dense_bf16_tflops = [](int) -> Expected<double> { return 123.0; }});
    ASSERT_TRUE(ceilings) << ceilings.error().message();
    ASSERT_EQ(ceilings->copies.size(), 3u);
    for (const CopyCeiling& copy : ceilings->copies) {
      std::printf("GPU %d, %zu MiB: host to device %.1f GB/s, device to host %.1f GB/s\n", gpu, copy.bytes >> 20,
                  copy.h2d_gb_per_s, copy.d2h_gb_per_s);
      EXPECT_GT(copy.h2d_gb_per_s, 0.5);
      EXPECT_LT(copy.h2d_gb_per_s, 1000.0);
      EXPECT_GT(copy.d2h_gb_per_s, 0.5);
      EXPECT_LT(copy.d2h_gb_per_s, 1000.0);
    }
    std::printf("GPU %d: device memory %.0f GB/s\n", gpu, ceilings->device_read_gb_per_s);
    EXPECT_GT(ceilings->device_read_gb_per_s, ceilings->copies.back().h2d_gb_per_s);
    EXPECT_LT(ceilings->device_read_gb_per_s, 20000.0);
    EXPECT_EQ(ceilings->dense_bf16_tflops, 123.0);
  }
}

}  // namespace
}  // namespace krasis

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_platform.h"

namespace krasis::testing_support {

// Defined twice: for the GPU (gpu_support.cpp) and for a CUDA runtime that is simulated by threads
// (simulated_runtime.cpp), which runs the same tests where no GPU is.

/// Why no test of the platform can run here; empty = it can.
std::string why_no_gpu();
/// GPUs that a test may use.
int gpu_count();
/// fill and add; the others are missing.
const CudaOperations& platform_operations();

/// `count` logical devices, on different GPUs as far as there are.
inline std::vector<CudaLogicalDevice> logical_devices(int count, std::size_t budget_bytes = std::size_t{64} << 20) {
  std::vector<CudaLogicalDevice> devices;
  for (int i = 0; i < count; ++i) devices.push_back({.cuda_index = i % gpu_count(), .budget_bytes = budget_bytes});
  return devices;
}

inline std::unique_ptr<CudaPlatform> make_platform(CudaPlatformOptions options = {.devices = logical_devices(2),
                                                                                  .patience_s = 20}) {
  auto platform = CudaPlatform::create(options, platform_operations());
  if (!platform) throw std::runtime_error(platform.error().message());
  return std::move(*platform);
}

inline Buffer make_buffer(Device& device, std::size_t floats, MemorySpace space = MemorySpace::Device,
                          std::string_view place = "buffer") {
  auto buffer = device.allocate(place, floats * sizeof(float), space);
  if (!buffer) throw std::runtime_error(buffer.error().message());
  return std::move(*buffer);
}

/// The buffer's floats, copied on `stream`.
inline std::vector<float> read(Device& device, Stream stream, const Buffer& buffer) {
  std::vector<float> values(buffer.bytes() / sizeof(float));
  copy(device, stream, View<float>{values.data(), values.size()}, buffer.view<float>(), "read");
  const auto done = device.synchronize(device.record(stream), "read");
  EXPECT_TRUE(done) << done.error().message();
  return values;
}

/// Skips the test, with the reason, where there is no GPU.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
};

}  // namespace krasis::testing_support

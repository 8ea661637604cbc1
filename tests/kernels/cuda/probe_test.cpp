#include "kernels/cuda/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace krasis {
namespace {

bool has_driver() {
  return std::filesystem::exists("/proc/driver/nvidia/version");
}

TEST(CudaProbe, WithoutADriverSaysSo) {
  if (has_driver()) GTEST_SKIP() << "this machine has an NVIDIA driver";
  const auto devices = cuda_devices();
  ASSERT_FALSE(devices);
  EXPECT_EQ(devices.error().code, ErrorCode::Unsupported);
  EXPECT_EQ(devices.error().cause, "No NVIDIA driver was found, so no GPU can be used.");
  EXPECT_THAT(devices.error().remedy, testing::HasSubstr("host device"));
}

TEST(CudaProbe, WithADriverDescribesEachDevice) {
  if (!has_driver()) GTEST_SKIP() << "this machine has no NVIDIA driver";
  const auto devices = cuda_devices();
  if (!devices) {  // a driver that is too old for this build
    EXPECT_EQ(devices.error().code, ErrorCode::Unsupported) << devices.error().message();
    return;
  }
  for (const CudaDeviceInfo& device : *devices) {
    EXPECT_FALSE(device.name.empty());
    EXPECT_GT(device.total_bytes, std::size_t{1} << 30);
    EXPECT_GT(device.free_bytes, 0u);
    EXPECT_LE(device.free_bytes, device.total_bytes);
    EXPECT_GE(device.compute_major, 5);
    EXPECT_THAT(device.pci_bus_id, testing::MatchesRegex("[0-9A-Fa-f]+:[0-9A-Fa-f]+:[0-9A-Fa-f]+\\.[0-9]"));
  }
}

}  // namespace
}  // namespace krasis

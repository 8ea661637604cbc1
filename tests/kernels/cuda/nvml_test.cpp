#include "kernels/cuda/nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/probe.h"

namespace krasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Nvml, WithoutTheLibraryEverythingIsUnknown) {
  const Nvml nvml("libno-such-library.so.1");
  EXPECT_THAT(nvml.unknown_because(), HasSubstr("libno-such-library.so.1"));
  const GpuState state = nvml.read("0000:3b:00.0");
  EXPECT_FALSE(state.power_w);
  EXPECT_FALSE(state.pcie_width_max);
  EXPECT_FALSE(state.throttle_reasons);
}

TEST(Nvml, AnotherLibraryIsRefused) {
  const Nvml nvml("libm.so.6");
  EXPECT_THAT(nvml.unknown_because(), HasSubstr("another one"));
}

TEST(Nvml, ReasonsHaveNames) {
  EXPECT_TRUE(throttle_reason_names(0).empty());
  EXPECT_THAT(throttle_reason_names(0x4 | 0x20), ElementsAre("power cap", "thermal limit"));
  EXPECT_THAT(throttle_reason_names(0x100), ElementsAre("display clocks"));
  EXPECT_THAT(throttle_reason_names(1ull << 40), ElementsAre("another reason"));
}

TEST(Nvml, TellsTheStateOfEachGpu) {
  const auto gpus = cuda_devices();
  if (!gpus || gpus->empty()) GTEST_SKIP() << "no GPU here";
  const Nvml nvml;
  if (!nvml.unknown_because().empty()) GTEST_SKIP() << nvml.unknown_because();
  for (const CudaDeviceInfo& gpu : *gpus) {
    const GpuState state = nvml.read(gpu.pci_bus_id);
    ASSERT_TRUE(state.temperature_c) << gpu.pci_bus_id;
    EXPECT_GT(*state.temperature_c, 0);
    EXPECT_LT(*state.temperature_c, 120);
    if (state.pcie_width && state.pcie_width_max) {
      EXPECT_LE(*state.pcie_width, *state.pcie_width_max);
    }
    if (state.pcie_generation && state.pcie_generation_max) {
      EXPECT_LE(*state.pcie_generation, *state.pcie_generation_max);
    }
    if (state.power_w) {
      EXPECT_GT(*state.power_w, 0.0);
    }
  }
}

}  // namespace
}  // namespace krasis

#include "engine/system/nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/system/gpu_monitor.h"


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

TEST(Nvml, PowerHeatAndSupplyThrottleIdleAndSetClocksDoNot) {
  for (const char* reason : {"power cap", "thermal limit", "hardware thermal slowdown", "power brake"}) {
    EXPECT_TRUE(is_throttling(reason)) << reason;
  }
  for (const char* reason : {"gpu idle", "application clocks", "display clocks"}) EXPECT_FALSE(is_throttling(reason));
}

TEST(Nvml, ListsGpusAndDriver) {
  const Nvml nvml(KRASIS_FAKE_NVML);
  ASSERT_EQ(nvml.unknown_because(), "");
  EXPECT_EQ(nvml.driver_version(), "550.54.15");
  const auto gpus = nvml.gpus();
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[0].name, "Invented GPU");
  EXPECT_EQ(gpus[0].pci_bus_id, "00000000:3B:00.0");
  EXPECT_EQ(gpus[0].total_bytes, std::uint64_t{24} << 30);
  EXPECT_EQ(gpus[0].free_bytes, std::uint64_t{23} << 30);
  EXPECT_EQ(gpus[1].name, "Another GPU");
  EXPECT_EQ(gpus[1].total_bytes, 0u) << "what the driver does not tell is unknown";
}

TEST(Nvml, TellsTheStateOfEachGpuOfThisMachine) {
  const Nvml nvml;
  if (!nvml.unknown_because().empty()) GTEST_SKIP() << nvml.unknown_because();
  EXPECT_NE(nvml.driver_version(), "");
  for (const GpuFacts& gpu : nvml.gpus()) {
    EXPECT_NE(gpu.name, "");
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

TEST(GpuMonitor, SamplesFromItsMakingToItsEnd) {
  GpuMonitor monitor({"00000000:3B:00.0", "00000000:AF:00.0"}, KRASIS_FAKE_NVML, std::chrono::milliseconds(20));
  ASSERT_EQ(monitor.unknown_because(), "");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto uses = monitor.stop();
  ASSERT_EQ(uses.size(), 2u);
  const GpuUse& use = uses[0];
  ASSERT_GE(use.samples, 3);
  // The fake's power is 200, 300, 400, ... W.
  EXPECT_EQ(use.power_w.count, use.samples);
  EXPECT_DOUBLE_EQ(use.power_w.minimum, 200);
  EXPECT_DOUBLE_EQ(use.power_w.maximum, 100 + 100 * use.samples);
  EXPECT_NEAR(use.power_w.mean, 150 + 50 * use.samples, 1e-6);
  EXPECT_DOUBLE_EQ(use.sm_clock_mhz.mean, 1980);
  EXPECT_DOUBLE_EQ(use.memory_clock_mhz.mean, 2619);
  EXPECT_EQ(use.temperature_c.count, 0) << "the fake has no thermometer";
  EXPECT_DOUBLE_EQ(use.pcie_generation.minimum, 1);
  EXPECT_DOUBLE_EQ(use.pcie_generation.maximum, 5);
  EXPECT_EQ(use.pcie_generation_max, 5);
  EXPECT_EQ(use.pcie_width_max, std::nullopt);
  EXPECT_EQ(use.reasons.at("power cap"), use.samples / 2);
  EXPECT_EQ(use.reasons.at("gpu idle"), use.samples - use.samples / 2);
  EXPECT_EQ(uses[1].power_w.count, 0);
  EXPECT_TRUE(uses[1].reasons.empty());
}

TEST(GpuMonitor, WithoutTheLibrarySamplesNothing) {
  GpuMonitor monitor({"0000:3b:00.0"}, "libno-such-library.so.1");
  EXPECT_NE(monitor.unknown_because(), "");
  EXPECT_EQ(monitor.stop().at(0).samples, 0);
}

}  // namespace
}  // namespace krasis

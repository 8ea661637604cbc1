// Memory of the CUDA platform: budgets, places, poison, registration.
#include <cmath>

#include "platform_support.h"

namespace krasis {
namespace {

using testing::HasSubstr;
using testing_support::GpuTest;
using testing_support::logical_devices;
using testing_support::make_buffer;
using testing_support::make_platform;
using testing_support::read;

constexpr std::size_t kMiB = std::size_t{1} << 20;

class CudaMemory : public GpuTest {};

TEST_F(CudaMemory, OverBudgetNamesPlaceNeedFreeAndBudget) {
  auto platform = make_platform({.devices = logical_devices(1, 4 * kMiB)});
  Device& device = platform->device();
  auto first = device.allocate("group buffers", 3 * kMiB, MemorySpace::Device);
  ASSERT_TRUE(first);
  const auto second = device.allocate("kv cache", 2 * kMiB, MemorySpace::Device);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::OutOfMemory);
  EXPECT_EQ(second.error().cause,
            "Device memory does not suffice for 'kv cache': it needs 2.0 MiB, but 1.0 MiB of the budget of 4.0 MiB are "
            "free.");
  *first = Buffer();
  EXPECT_TRUE(device.allocate("kv cache", 2 * kMiB, MemorySpace::Device)) << "freed memory must be free again";
}

TEST_F(CudaMemory, TheBudgetCanBeUsedToItsLastByteAndNoFurther) {
  auto platform = make_platform({.devices = logical_devices(1, 1024)});
  Device& device = platform->device();
  const auto all = device.allocate("all", 1024, MemorySpace::Device);
  EXPECT_TRUE(all);
  EXPECT_FALSE(device.allocate("more", 1, MemorySpace::Device));
  EXPECT_TRUE(device.allocate("nothing", 0, MemorySpace::Device));
  EXPECT_TRUE(device.allocate("pinned", 4096, MemorySpace::Pinned)) << "host memory is not the device's";
}

TEST_F(CudaMemory, ImpossibleSizesAreErrors) {
  auto platform = make_platform();
  for (const MemorySpace space : {MemorySpace::Device, MemorySpace::Pinned}) {
    const auto buffer = platform->device().allocate("huge", SIZE_MAX - 7, space);
    ASSERT_FALSE(buffer);
    EXPECT_EQ(buffer.error().code, ErrorCode::OutOfMemory);
  }
}

TEST_F(CudaMemory, DevicesOfOneGpuHaveTheirOwnBudgets) {
  auto platform = make_platform({.devices = {{.budget_bytes = 1024}, {.budget_bytes = 64}}});
  EXPECT_EQ(platform->device_count(), 2);
  EXPECT_TRUE(platform->device(0).allocate("a", 1024, MemorySpace::Device));
  EXPECT_FALSE(platform->device(1).allocate("a", 1024, MemorySpace::Device));
  EXPECT_EQ(platform->device(1).info().budget_bytes, 64u);
  EXPECT_EQ(platform->device(1).info().index, 1);
  EXPECT_EQ(platform->device(1).info().kind, "cuda");
  EXPECT_FALSE(platform->device(1).info().name.empty());
}

TEST_F(CudaMemory, WithoutBudgetsDevicesOfOneGpuShareWhatIsFree) {
  auto platform = make_platform({.devices = {{}, {}, {.budget_bytes = kMiB}}});
  const std::size_t share = platform->device(0).info().budget_bytes;
  EXPECT_GT(share, kMiB);
  EXPECT_EQ(platform->device(1).info().budget_bytes, share);
  EXPECT_EQ(platform->device(2).info().budget_bytes, kMiB);
}

TEST_F(CudaMemory, PlatformsThatCannotBeAreErrors) {
  const auto& operations = testing_support::platform_operations();
  EXPECT_EQ(CudaPlatform::create({.devices = {}}, operations).error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(CudaPlatform::create({.devices = {{.cuda_index = 99}}}, operations).error().code, ErrorCode::NotFound);
  const auto greedy = CudaPlatform::create({.devices = {{.budget_bytes = std::size_t{1} << 50}}}, operations);
  ASSERT_FALSE(greedy);
  EXPECT_EQ(greedy.error().code, ErrorCode::OutOfMemory);
}

TEST_F(CudaMemory, IsAligned) {
  auto platform = make_platform();
  for (const MemorySpace space : {MemorySpace::Device, MemorySpace::Pinned}) {
    const Buffer first = make_buffer(platform->device(), 1, space), second = make_buffer(platform->device(), 1, space);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.data()) % 256, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(second.data()) % 256, 0u);
    EXPECT_NE(first.data(), second.data());
  }
}

TEST_F(CudaMemory, NewMemoryIsPoisonedWithNaNAlsoWhenItWasUsedBefore) {
  auto platform = make_platform({.devices = logical_devices(1), .poison = true});
  Device& device = platform->device();
  const Stream stream = device.create_stream("compute", Lane::Compute);
  for (int use = 0; use < 2; ++use) {
    const Buffer buffer = make_buffer(device, 100), pinned = make_buffer(device, 100, MemorySpace::Pinned);
    for (const float value : read(device, stream, buffer)) ASSERT_TRUE(std::isnan(value));
    for (std::size_t i = 0; i < 100; ++i) ASSERT_TRUE(std::isnan(pinned.view<float>().data[i]));
    device.run(stream, FillArgs{buffer.view<float>(), 1.0f});
    std::fill_n(pinned.view<float>().data, 100, 1.0f);
    ASSERT_TRUE(device.synchronize(device.record(stream), "filled"));
  }
}

TEST_F(CudaMemory, HighWaterMarksArePerPlaceAndStay) {
  auto platform = make_platform();
  Device& device = platform->device();
  {
    const auto a = device.allocate("kv cache", 640, MemorySpace::Device);
    const auto b = device.allocate("kv cache", 100, MemorySpace::Device);  // counts as 128, as on the host device
    const auto c = device.allocate("experts", 64, MemorySpace::Pinned);
  }
  const auto d = device.allocate("kv cache", 64, MemorySpace::Device);
  const auto usage = device.memory_usage();
  ASSERT_GE(usage.size(), 2u);  // and what the driver holds, if it says that
  EXPECT_EQ(usage[0].place, "kv cache");
  EXPECT_EQ(usage[0].bytes, 64u);
  EXPECT_EQ(usage[0].high_water_bytes, 768u);
  EXPECT_EQ(usage[1].space, MemorySpace::Pinned);
  EXPECT_EQ(usage[1].bytes, 0u);
  EXPECT_EQ(usage[1].high_water_bytes, 64u);
}

TEST_F(CudaMemory, RegisteredMemoryMustNotOverlapAndCountsItsOwners) {
  auto platform = make_platform();
  Device& device = platform->device(0);
  alignas(4096) static std::byte weights[8192];
  ASSERT_TRUE(device.register_host("weights", weights, 8192));
  EXPECT_TRUE(platform->device(1).register_host("weights", weights, 8192));
  EXPECT_FALSE(device.register_host("part", weights + 4096, 4096));
  device.unregister_host(weights);
  EXPECT_FALSE(device.register_host("part", weights + 4096, 4096)) << "the other device still uses it";
  platform->device(1).unregister_host(weights);
  EXPECT_TRUE(device.register_host("part", weights + 4096, 4096));
  device.unregister_host(weights + 4096);
}

/// Sizes around those at which a kernel, an engine, or wider accesses do a copy; memory of all kinds.
TEST_F(CudaMemory, CopiesOfAllSizesAndKindsOfMemoryAreRight) {
  auto platform = make_platform();
  Device& device = platform->device(0);
  Device& peer = platform->device(1);
  const Stream stream = device.create_stream("compute", Lane::Compute);
  const Stream copies = device.create_stream("copy", Lane::Copy);
  alignas(4096) static std::byte registered[256 << 10];
  ASSERT_TRUE(device.register_host("weights", registered, sizeof registered));
  for (const std::size_t bytes : {1u, 7u, 48u, 4096u, 65536u, 65540u, 200001u}) {
    for (const std::size_t offset : {0u, 4u, 1u}) {
      for (std::size_t i = 0; i < bytes; ++i) registered[offset + i] = static_cast<std::byte>(i * 31 + bytes);
      auto here = device.allocate("here", bytes + offset, MemorySpace::Device);
      auto there = peer.allocate("there", bytes + offset, MemorySpace::Device);
      auto pinned = device.allocate("pinned", bytes + offset, MemorySpace::Pinned);
      ASSERT_TRUE(here && there && pinned);
      const auto part = [&](const Buffer& buffer) { return buffer.view<std::byte>(offset, bytes); };
      std::vector<std::byte> pageable(bytes);
      device.copy(stream, part(*here), {registered + offset, bytes}, "from registered memory");
      device.copy(stream, part(*there), part(*here), "to the peer");
      device.wait(copies, device.record(stream), "the peer has it");
      device.copy(copies, part(*pinned), part(*there), "to pinned memory");
      device.copy(copies, {pageable.data(), bytes}, part(*pinned), "to any memory");
      ASSERT_TRUE(device.synchronize(device.record(copies), "copied"));
      ASSERT_TRUE(std::equal(pageable.begin(), pageable.end(), registered + offset)) << bytes << " at " << offset;
    }
  }
  device.unregister_host(registered);
}

}  // namespace
}  // namespace krasis

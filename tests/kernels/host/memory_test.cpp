#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "fixture.h"

namespace krasis {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::make_buffer;
using testing_support::make_platform;

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(HostMemory, OverBudgetNamesPlaceNeedFreeAndBudget) {
  auto platform = make_platform({.budgets = {4 * kMiB}});
  Device& device = platform->device();
  auto first = device.allocate("group buffers", 3 * kMiB, MemorySpace::Device);
  ASSERT_TRUE(first);
  const auto second = device.allocate("kv cache", 2 * kMiB, MemorySpace::Device);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::OutOfMemory);
  EXPECT_EQ(second.error().cause,
            "Device memory does not suffice for 'kv cache': it needs 2.0 MiB, but 1.0 MiB of the budget of 4.0 MiB are "
            "free.");
  EXPECT_THAT(second.error().remedy, HasSubstr("smaller layer group"));
  *first = Buffer();
  EXPECT_TRUE(device.allocate("kv cache", 2 * kMiB, MemorySpace::Device)) << "freed memory must be free again";
}

TEST(HostMemory, TheBudgetCanBeUsedToItsLastByteAndNoFurther) {
  auto platform = make_platform({.budgets = {1024}});
  Device& device = platform->device();
  const auto all = device.allocate("all", 1024, MemorySpace::Device);
  EXPECT_TRUE(all);
  EXPECT_FALSE(device.allocate("more", 1, MemorySpace::Device));
  EXPECT_TRUE(device.allocate("nothing", 0, MemorySpace::Device));
  EXPECT_TRUE(device.allocate("pinned", 4096, MemorySpace::Pinned)) << "host memory is not the device's";
}

/// Whoever places memory sees it first: whole huge pages, before they are poisoned.
TEST(HostMemory, LargeMemoryIsSpreadBeforeItIsTouched) {
  std::vector<std::pair<std::byte*, std::size_t>> seen;
  auto platform = make_platform({.spread = [&](std::byte* data, std::size_t bytes) {
    unsigned char resident = 1;  // the last page: sanitizers write the first one
    EXPECT_EQ(mincore(data + bytes - 4096, 4096, &resident), 0);
    EXPECT_EQ(resident & 1, 0);
    seen.emplace_back(data, bytes);
  }});
  const auto small = platform->device().allocate("small", 2 * kMiB - 64, MemorySpace::Device);
  EXPECT_TRUE(seen.empty());
  const auto large = platform->device().allocate("large", 65 * kMiB, MemorySpace::Device);
  ASSERT_TRUE(large);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].first, large->view<std::byte>(0, 1).data);
  EXPECT_EQ(seen[0].second, 66 * kMiB);
}

TEST(HostMemory, ImpossibleSizesAreErrors) {
  auto platform = make_platform({});
  for (const MemorySpace space : {MemorySpace::Device, MemorySpace::Pinned}) {
    const auto buffer = platform->device().allocate("huge", SIZE_MAX - 7, space);
    ASSERT_FALSE(buffer);
    EXPECT_EQ(buffer.error().code, ErrorCode::OutOfMemory);
  }
}

TEST(HostMemory, DevicesHaveTheirOwnBudgets) {
  auto platform = make_platform({.devices = 2, .budgets = {1024, 64}});
  EXPECT_TRUE(platform->device(0).allocate("a", 1024, MemorySpace::Device));
  EXPECT_FALSE(platform->device(1).allocate("a", 1024, MemorySpace::Device));
  EXPECT_EQ(platform->device(0).info().budget_bytes, 1024u);
  EXPECT_EQ(platform->device(1).info().budget_bytes, 64u);
  EXPECT_EQ(platform->device(1).info().index, 1);
  EXPECT_EQ(platform->device(1).info().kind, "host");
}

TEST(HostMemory, OptionsThatCannotBeAreErrors) {
  EXPECT_FALSE(HostPlatform::create({.devices = 0}, testing_support::fake_operations()));
  EXPECT_FALSE(HostPlatform::create({.devices = 3, .budgets = {1, 2}}, testing_support::fake_operations()));
}

TEST(HostMemory, IsAligned) {
  auto platform = make_platform({});
  const Buffer small = make_buffer(platform->device(), 3);
  const Buffer large = make_buffer(platform->device(), kMiB);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small.data()) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % (2 * kMiB), 0u);
}

TEST(HostMemory, NewMemoryIsPoisonedWithNaN) {
  auto platform = make_platform({});
  const Buffer buffer = make_buffer(platform->device(), 100);
  for (std::size_t i = 0; i < 100; ++i) ASSERT_TRUE(std::isnan(buffer.view<float>().data[i])) << i;
  EXPECT_TRUE(std::isnan(static_cast<float>(buffer.view<bf16>().data[0])));
}

TEST(HostMemory, HighWaterMarksArePerPlaceAndStay) {
  auto platform = make_platform({});
  Device& device = platform->device();
  {
    const auto a = device.allocate("kv cache", 640, MemorySpace::Device);
    const auto b = device.allocate("kv cache", 100, MemorySpace::Device);  // counts as 128
    const auto c = device.allocate("experts", 64, MemorySpace::Pinned);
  }
  const auto d = device.allocate("kv cache", 64, MemorySpace::Device);
  const auto usage = device.memory_usage();
  ASSERT_EQ(usage.size(), 2u);
  EXPECT_EQ(usage[0].place, "kv cache");
  EXPECT_EQ(usage[0].bytes, 64u);
  EXPECT_EQ(usage[0].high_water_bytes, 768u);
  EXPECT_EQ(usage[1].place, "experts");
  EXPECT_EQ(usage[1].space, MemorySpace::Pinned);
  EXPECT_EQ(usage[1].bytes, 0u);
  EXPECT_EQ(usage[1].high_water_bytes, 64u);
}

/// A buffer that is freed too early is reported, and kept so that the late operation does no harm.
TEST(HostMemory, FreeingBeforeTheLastOperationIsFound) {
  auto platform = make_platform({.schedule = Schedule::Seeded, .check_order = true});
  Device& device = platform->device();
  const Stream stream = device.create_stream("compute", Lane::Compute);
  {
    const Buffer buffer = make_buffer(device, 16);
    device.run(stream, FillArgs{buffer.view<float>(), 1.0f});
  }
  EXPECT_TRUE(device.synchronize(device.record(stream), "end"));
  ASSERT_EQ(platform->violations().size(), 1u);
  EXPECT_EQ(platform->violations()[0].kind, Violation::Kind::FreedWhileInUse);
  EXPECT_EQ(platform->violations()[0].first, "fill");
}

TEST(HostMemory, RegisteredMemoryMustNotOverlapAndCountsItsOwners) {
  auto platform = make_platform({.devices = 2, .check_order = true});
  Device& device = platform->device();
  std::vector<std::byte> weights(256);
  EXPECT_TRUE(device.register_host("weights", weights.data(), 256));
  EXPECT_TRUE(platform->device(1).register_host("weights", weights.data(), 256));
  EXPECT_FALSE(device.register_host("part", weights.data() + 64, 64));
  device.unregister_host(weights.data());
  EXPECT_FALSE(device.register_host("part", weights.data() + 64, 64)) << "the other device still uses it";
  platform->device(1).unregister_host(weights.data());
  EXPECT_TRUE(device.register_host("part", weights.data() + 64, 64));
}

}  // namespace
}  // namespace krasis

#include <set>

#include "fixture.h"

namespace krasis {
namespace {

using testing::SizeIs;
using testing_support::make_buffer;
using testing_support::make_platform;

constexpr int kGroups = 6;
constexpr std::size_t kFloats = 4;

struct Outcome {
  float sum = 0;
  bool violated = false;
  std::vector<std::string> order;
  bool operator<(const Outcome& other) const { return sum < other.sum; }
};

/// A small prefill: group g is copied into one of two buffers while the other one is added up, and a second device
/// takes each sum over.
Outcome run_pipeline(std::uint64_t seed, const std::string& dropped = {}) {
  auto platform =
      make_platform({.devices = 2, .schedule = Schedule::Seeded, .seed = seed, .check_order = true, .trace = true});
  Device& device = platform->device(0);
  Device& peer = platform->device(1);
  if (!dropped.empty()) platform->drop_waits(dropped);
  const Stream compute = device.create_stream("compute", Lane::Compute),
               copies = device.create_stream("copy", Lane::Copy), remote = peer.create_stream("peer", Lane::Compute);
  const Signal taken = device.create_signal("sum was taken");
  const Buffer groups[2] = {make_buffer(device, kFloats), make_buffer(device, kFloats)};
  const Buffer sum = make_buffer(device, kFloats), received = make_buffer(peer, kFloats),
               total = make_buffer(peer, kFloats);
  std::vector<float> weights(kGroups * kFloats), result(kFloats);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(1 << (i / kFloats));

  device.run(copies, FillArgs{groups[0].view<float>(), 0.0f});
  device.run(copies, FillArgs{groups[1].view<float>(), 0.0f});
  device.run(compute, FillArgs{sum.view<float>(), 0.0f});
  peer.run(remote, FillArgs{total.view<float>(), 0.0f});
  peer.run(remote, FillArgs{received.view<float>(), 0.0f});
  peer.raise(remote, taken);
  Event free[2];
  for (std::size_t g = 0; g < kGroups; ++g) {
    device.wait(copies, free[g % 2], "group buffer is free");
    copy(device, copies, groups[g % 2].view<float>(), View<float>{weights.data() + g * kFloats, kFloats}, "group");
    device.wait(compute, device.record(copies), "group buffer is full");
    device.await(compute, taken, "sum was taken");
    device.run(compute, AddArgs{groups[g % 2].view<float>(), sum.view<float>()});
    free[g % 2] = device.record(compute);
    peer.wait(remote, free[g % 2], "sum is ready");
    copy(peer, remote, received.view<float>(), sum.view<float>(), "sum");
    peer.raise(remote, taken);
    peer.run(remote, AddArgs{received.view<float>(), total.view<float>()});
  }
  copy(peer, remote, View<float>{result.data(), kFloats}, total.view<float>(), "result");
  for (const Stream stream : {remote, compute, copies}) {
    const auto done = device.synchronize(device.record(stream), "end");
    EXPECT_TRUE(done) << done.error().message();
  }
  Outcome outcome{result[0], !platform->violations().empty(), {}};
  for (const TraceEntry& entry : platform->trace()) outcome.order.push_back(entry.stream_name + ": " + entry.name);
  return outcome;
}

TEST(SeededSchedule, AThousandOrdersGiveOneResult) {
  float expected = 0;  // the sum of the partial sums of 1, 2, 4, ...
  for (int g = 0, sum = 0; g < kGroups; ++g) expected += static_cast<float>(sum += 1 << g);
  std::set<std::vector<std::string>> orders;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Outcome outcome = run_pipeline(seed);
    ASSERT_EQ(outcome.sum, expected) << "seed " << seed;
    ASSERT_FALSE(outcome.violated) << "seed " << seed;
    orders.insert(outcome.order);
  }
  EXPECT_GT(orders.size(), 100u) << "the seeds must really give different orders";
}

TEST(SeededSchedule, ASeedAlwaysGivesTheSameOrder) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(run_pipeline(seed).order, run_pipeline(seed).order);
}

/// Without any one of its waits the pipeline is wrong: the checker says so for every seed, and some seed shows it.
TEST(SeededSchedule, EachWaitIsNeeded) {
  const float right = run_pipeline(0).sum;
  for (const std::string why : {"group buffer is free", "group buffer is full", "sum was taken", "sum is ready"}) {
    bool differs = false;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
      const Outcome outcome = run_pipeline(seed, why);
      ASSERT_TRUE(outcome.violated) << "without '" << why << "', seed " << seed;
      differs = differs || outcome.sum != right;
    }
    EXPECT_TRUE(differs) << "no seed shows that '" << why << "' is missing";
  }
}

/// A dropped synchronize returns at once, and the host's access is then unordered.
TEST(SeededSchedule, ADroppedSynchronizeIsFound) {
  for (const bool drop : {false, true}) {
    auto platform = make_platform({.schedule = Schedule::Seeded, .check_order = true});
    Device& device = platform->device();
    const Stream stream = device.create_stream("compute", Lane::Compute);
    const Buffer buffer = make_buffer(device, 4, MemorySpace::Pinned);
    if (drop) platform->drop_waits("result");
    device.run(stream, FillArgs{buffer.view<float>(), 1.0f});
    ASSERT_TRUE(device.synchronize(device.record(stream), "result"));
    const Access reads[] = {Access::of(buffer.view())};
    device.host_access("result", reads, {});
    EXPECT_EQ(platform->violations().empty(), !drop);
    ASSERT_TRUE(device.synchronize(device.record(stream), "end"));
  }
}

}  // namespace
}  // namespace krasis

// Order on the real, threaded schedule and what the checker says about it.
#include <atomic>
#include <barrier>
#include <functional>
#include <stdexcept>

#include "fixture.h"

namespace krasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::make_buffer;
using testing_support::make_platform;
using testing_support::messages;

class StreamsTest : public testing::TestWithParam<Schedule> {
 protected:
  StreamsTest()
      : platform_(make_platform({.devices = 2, .schedule = GetParam(), .check_order = true})),
        device_(platform_->device(0)),
        peer_(platform_->device(1)),
        compute_(device_.create_stream("compute", Lane::Compute)),
        copy_(device_.create_stream("copy", Lane::Copy)),
        peer_compute_(peer_.create_stream("peer", Lane::Compute)) {}

  std::unique_ptr<HostPlatform> platform_;
  Device& device_;
  Device& peer_;
  Stream compute_, copy_, peer_compute_;
};
INSTANTIATE_TEST_SUITE_P(Schedules, StreamsTest, testing::Values(Schedule::Threads, Schedule::Seeded),
                         [](const auto& schedule) {
                           return schedule.param == Schedule::Threads ? "Threads" : "Seeded";
                         });

TEST_P(StreamsTest, AStreamKeepsItsOrder) {
  const Buffer sum = make_buffer(device_, 8), one = make_buffer(device_, 8);
  device_.run(compute_, FillArgs{one.view<float>(), 1.0f});
  device_.run(compute_, FillArgs{sum.view<float>(), 0.0f});
  for (int i = 0; i < 1000; ++i) device_.run(compute_, AddArgs{one.view<float>(), sum.view<float>()});
  std::vector<float> result(8);
  copy(device_, compute_, View<float>{result.data(), 8}, sum.view<float>(), "result");
  ASSERT_TRUE(device_.synchronize(device_.record(compute_), "result"));
  EXPECT_THAT(result, testing::Each(1000.0f));
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

/// Two buffers, filled by one stream and summed up by another: the pattern of the prefill pipeline.
TEST_P(StreamsTest, DoubleBuffersArePassedByEvents) {
  constexpr int kGroups = 50;
  std::vector<float> weights(kGroups * 16);
  for (int g = 0; g < kGroups; ++g) std::fill_n(weights.begin() + g * 16, 16, static_cast<float>(g));
  ASSERT_TRUE(device_.register_host("weights", reinterpret_cast<std::byte*>(weights.data()), weights.size() * 4));
  const Buffer buffers[2] = {make_buffer(device_, 16), make_buffer(device_, 16)};
  const Buffer sum = make_buffer(device_, 16);
  device_.run(compute_, FillArgs{sum.view<float>(), 0.0f});
  Event free[2];
  for (int g = 0; g < kGroups; ++g) {
    const auto at = static_cast<std::size_t>(g % 2);
    device_.wait(copy_, free[at], "group buffer is free");
    copy(device_, copy_, buffers[at].view<float>(), View<float>{weights.data() + g * 16, 16}, "group");
    device_.wait(compute_, device_.record(copy_), "group buffer is full");
    device_.run(compute_, AddArgs{buffers[at].view<float>(), sum.view<float>()});
    free[at] = device_.record(compute_);
  }
  std::vector<float> result(16);
  copy(device_, compute_, View<float>{result.data(), 16}, sum.view<float>(), "result");
  ASSERT_TRUE(device_.synchronize(device_.record(compute_), "result"));
  EXPECT_THAT(result, testing::Each(kGroups * (kGroups - 1) / 2));
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
  EXPECT_THAT(platform_->wait_reasons(), ElementsAre("group buffer is free", "group buffer is full", "result"));
  device_.unregister_host(reinterpret_cast<std::byte*>(weights.data()));
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

TEST_P(StreamsTest, ADeviceWaitsForAnotherOne) {
  const Buffer here = make_buffer(device_, 16), there = make_buffer(peer_, 16);
  device_.run(compute_, FillArgs{here.view<float>(), 3.0f});
  peer_.wait(peer_compute_, device_.record(compute_), "peer's input is ready");
  copy(peer_, peer_compute_, there.view<float>(), here.view<float>(), "peer copy");
  peer_.run(peer_compute_, AddArgs{there.view<float>(), there.view<float>()});
  std::vector<float> result(16);
  copy(peer_, peer_compute_, View<float>{result.data(), 16}, there.view<float>(), "result");
  const Event done = peer_.record(peer_compute_);
  ASSERT_TRUE(device_.synchronize(done, "result"));
  EXPECT_THAT(result, testing::Each(6.0f));
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

/// Compute hands work to a host lane and waits for it, each by a signal, in both orders of enqueuing.
TEST_P(StreamsTest, SignalsHandWorkToTheHostAndBack) {
  const Stream host = device_.create_stream("experts", Lane::Host);
  const Signal submitted = device_.create_signal("submitted"), done = device_.create_signal("done");
  const Buffer input = make_buffer(device_, 4, MemorySpace::Pinned),
               output = make_buffer(device_, 4, MemorySpace::Pinned);
  const Buffer sum = make_buffer(device_, 4);
  device_.run(compute_, FillArgs{sum.view<float>(), 0.0f});
  const auto enqueue_host = [&] {
    device_.await(host, submitted, "activations are there");
    const Access reads[] = {Access::of(input.view())}, writes[] = {Access::of(output.view())};
    device_.host_task(host, "experts", reads, writes, [in = input.view<float>(), out = output.view<float>()] {
      for (std::size_t i = 0; i < in.size; ++i) out.data[i] = 10.0f * in.data[i];
    });
    device_.raise(host, done);
  };
  const auto enqueue_compute = [&](float value) {
    device_.run(compute_, FillArgs{input.view<float>(), value});
    device_.raise(compute_, submitted);
    device_.await(compute_, done, "experts are done");
    device_.run(compute_, AddArgs{output.view<float>(), sum.view<float>()});
  };
  for (int step = 1; step <= 20; ++step) {
    if (step % 2 == 0) enqueue_host();
    enqueue_compute(static_cast<float>(step));
    if (step % 2 == 1) enqueue_host();
  }
  std::vector<float> result(4);
  copy(device_, compute_, View<float>{result.data(), 4}, sum.view<float>(), "result");
  ASSERT_TRUE(device_.synchronize(device_.record(compute_), "result"));
  EXPECT_THAT(result, testing::Each(10.0f * 20 * 21 / 2));
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

TEST_P(StreamsTest, AnErrorInAnOperationSurfacesOnceAtSynchronize) {
  device_.host_task(compute_, "experts", {}, {}, [] { throw std::runtime_error("no such expert"); });
  device_.host_task(compute_, "later", {}, {}, [] { throw std::runtime_error("a consequence"); });
  const auto result = device_.synchronize(device_.record(compute_), "step");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().cause, "Operation 'experts' on stream 'compute' failed: no such expert");
  EXPECT_FALSE(result.error().remedy.empty());
  EXPECT_TRUE(device_.synchronize(device_.record(compute_), "next step"));
}

TEST_P(StreamsTest, ACopyOfUnequalSizesIsAnErrorAndCopiesNothing) {
  std::vector<float> from(4, 1.0f), to(3, 0.0f);
  copy(device_, copy_, View<float>{to.data(), 3}, View<float>{from.data(), 4}, "crooked");
  const auto result = device_.synchronize(device_.record(copy_), "copy");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().cause, HasSubstr("16 bytes into a place of 12"));
  EXPECT_THAT(to, testing::Each(0.0f));
}

TEST_P(StreamsTest, ADeadlockSaysWhoWaitsForWhat) {
  const Signal never = device_.create_signal("experts done");
  device_.await(copy_, never, "experts are done");
  device_.wait(compute_, device_.record(copy_), "group buffer is full");
  const auto result = device_.synchronize(device_.record(compute_), "step");
  ASSERT_FALSE(result);
  EXPECT_EQ(
      result.error().cause,
      "Nothing can run, but event 1 of stream 'compute' is not done; stream 'compute' waits for event 1 of stream "
      "'copy' (group buffer is full); stream 'copy' waits for raise 1 of signal 'experts done', which was raised 0 "
      "times (experts are done).");
}

TEST_P(StreamsTest, ADroppedWaitIsFoundAndADroppedAwaitKeepsCounting) {
  const Stream host = device_.create_stream("experts", Lane::Host);
  const Signal done = device_.create_signal("done");
  const Buffer pinned = make_buffer(device_, 4, MemorySpace::Pinned), out = make_buffer(device_, 4);
  const auto step = [&](std::string_view why) {
    const Access writes[] = {Access::of(pinned.view())};
    device_.host_task(host, "experts", {}, writes, [] {});  // touches nothing, so that no real race can happen
    device_.raise(host, done);
    device_.await(compute_, done, why);
    const Access reads[] = {Access::of(pinned.view())};
    device_.host_task(compute_, "use", reads, {}, [] {});
    const auto synchronized = device_.synchronize(device_.record(compute_), "step");
    ASSERT_TRUE(synchronized) << synchronized.error().message();
    ASSERT_TRUE(device_.synchronize(device_.record(host), "end"));
  };
  platform_->drop_waits("dropped");
  step("dropped");
  EXPECT_EQ(platform_->violations().size(), 1u);
  platform_->clear_violations();
  step("kept");  // were the dropped await not counted, this one would join the first raise
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

TEST(HostThreads, OperationsOfTwoLanesRunAtTheSameTime) {
  auto platform = make_platform({.trace = true});
  Device& device = platform->device();
  const Stream a = device.create_stream("compute", Lane::Compute), b = device.create_stream("copy", Lane::Copy);
  std::barrier both(2);  // neither goes on before the other has started
  device.host_task(a, "a", {}, {}, [&] { both.arrive_and_wait(); });
  device.host_task(b, "b", {}, {}, [&] { both.arrive_and_wait(); });
  ASSERT_TRUE(device.synchronize(device.record(a), "a"));
  ASSERT_TRUE(device.synchronize(device.record(b), "b"));
}

TEST(HostThreads, EnqueuingDoesNotWait) {
  auto platform = make_platform({});
  Device& device = platform->device();
  const Stream stream = device.create_stream("compute", Lane::Compute);
  std::atomic<bool> go = false;
  device.host_task(stream, "blocked", {}, {}, [&] { go.wait(false); });
  bool ran = false;
  device.host_task(stream, "after", {}, {}, [&] { ran = true; });
  const Event done = device.record(stream);
  go = true;  // would never be reached, were an operation run by the thread that enqueues it
  go.notify_all();
  ASSERT_TRUE(device.synchronize(done, "end"));
  EXPECT_TRUE(ran);
}

TEST(HostThreads, APlatformWithBlockedStreamsCanDie) {
  auto platform = make_platform({});
  Device& device = platform->device();
  const Stream stream = device.create_stream("compute", Lane::Compute);
  device.await(stream, device.create_signal("never"), "never");
  bool ran = false;
  device.host_task(stream, "unreachable", {}, {}, [&] { ran = true; });
  platform.reset();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace krasis

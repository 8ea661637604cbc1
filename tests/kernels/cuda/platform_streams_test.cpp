// Order between CUDA streams and host lanes.
#include <atomic>
#include <stdexcept>
#include <thread>

#include "platform_support.h"

namespace krasis {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing_support::GpuTest;
using testing_support::logical_devices;
using testing_support::make_buffer;
using testing_support::make_platform;
using testing_support::read;

class CudaStreams : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    platform_ = make_platform();
    device_ = &platform_->device(0);
    peer_ = &platform_->device(1);
    compute_ = device_->create_stream("compute", Lane::Compute);
    copy_ = device_->create_stream("copy", Lane::Copy);
    host_ = device_->create_stream("experts", Lane::Host);
    peer_compute_ = peer_->create_stream("peer", Lane::Compute);
  }
  void add_on_host(Stream stream, const Buffer& from, const Buffer& to) {
    device_->host_task(stream, "add on the host", {}, {}, [x = from.view<float>(), out = to.view<float>()] {
      for (std::size_t i = 0; i < x.size; ++i) out.data[i] += x.data[i];
    });
  }

  std::unique_ptr<CudaPlatform> platform_;
  Device *device_ = nullptr, *peer_ = nullptr;
  Stream compute_, copy_, host_, peer_compute_;
};

TEST_F(CudaStreams, AStreamKeepsItsOrder) {
  const Buffer sum = make_buffer(*device_, 8), one = make_buffer(*device_, 8);
  device_->run(compute_, FillArgs{one.view<float>(), 1.0f});
  device_->run(compute_, FillArgs{sum.view<float>(), 0.0f});
  for (int i = 0; i < 1000; ++i) device_->run(compute_, AddArgs{one.view<float>(), sum.view<float>()});
  EXPECT_THAT(read(*device_, compute_, sum), Each(1000.0f));
}

/// Two buffers, filled by one stream and summed up by another: the pattern of the prefill pipeline.
TEST_F(CudaStreams, DoubleBuffersArePassedByEvents) {
  constexpr int kGroups = 200;
  constexpr std::size_t kFloats = 64 << 10;
  const Buffer weights = make_buffer(*device_, kGroups * kFloats / 16, MemorySpace::Pinned);
  const std::size_t size = kFloats / 16;
  for (std::size_t g = 0; g < kGroups; ++g) {
    std::fill_n(weights.view<float>().data + g * size, size, static_cast<float>(g));
  }
  const Buffer buffers[2] = {make_buffer(*device_, size), make_buffer(*device_, size)};
  const Buffer sum = make_buffer(*device_, size);
  device_->run(compute_, FillArgs{sum.view<float>(), 0.0f});
  Event free[2];
  for (std::size_t g = 0; g < kGroups; ++g) {
    const std::size_t at = g % 2;
    device_->wait(copy_, free[at], "group buffer is free");
    copy(*device_, copy_, buffers[at].view<float>(), weights.view<float>().sub(g * size, size), "group");
    device_->wait(compute_, device_->record(copy_), "group buffer is full");
    device_->run(compute_, AddArgs{buffers[at].view<float>(), sum.view<float>()});
    free[at] = device_->record(compute_);
  }
  EXPECT_THAT(read(*device_, compute_, sum), Each(kGroups * (kGroups - 1) / 2));
}

TEST_F(CudaStreams, ADeviceWaitsForAnotherOne) {
  const Buffer here = make_buffer(*device_, 16), there = make_buffer(*peer_, 16);
  for (int i = 0; i < 100; ++i) {
    device_->run(compute_, FillArgs{here.view<float>(), static_cast<float>(i)});
    peer_->wait(peer_compute_, device_->record(compute_), "peer's input is ready");
    copy(*peer_, peer_compute_, there.view<float>(), here.view<float>(), "peer copy");
    peer_->run(peer_compute_, AddArgs{there.view<float>(), there.view<float>()});
    device_->wait(compute_, peer_->record(peer_compute_), "peer has read it");
  }
  EXPECT_THAT(read(*peer_, peer_compute_, there), Each(198.0f));
}

/// Compute hands work to a host lane and waits for it, each by a signal, in both orders of enqueuing.
TEST_F(CudaStreams, SignalsHandWorkToTheHostAndBack) {
  const Signal submitted = device_->create_signal("submitted"), done = device_->create_signal("done");
  const Buffer input = make_buffer(*device_, 4, MemorySpace::Pinned),
               output = make_buffer(*device_, 4, MemorySpace::Pinned);
  const Buffer sum = make_buffer(*device_, 4), value = make_buffer(*device_, 4);
  device_->run(compute_, FillArgs{sum.view<float>(), 0.0f});
  const auto enqueue_host = [&] {
    device_->await(host_, submitted, "activations are there");
    device_->host_task(host_, "experts", {}, {}, [in = input.view<float>(), out = output.view<float>()] {
      for (std::size_t i = 0; i < in.size; ++i) out.data[i] = 10.0f * in.data[i];
    });
    device_->raise(host_, done);
  };
  const auto enqueue_compute = [&](float number) {
    device_->run(compute_, FillArgs{value.view<float>(), number});
    copy(*device_, compute_, input.view<float>(), value.view<float>(), "activations");
    device_->raise(compute_, submitted);
    device_->await(compute_, done, "experts are done");
    copy(*device_, compute_, value.view<float>(), output.view<float>(), "experts' sum");
    device_->run(compute_, AddArgs{value.view<float>(), sum.view<float>()});
  };
  for (int step = 1; step <= 200; ++step) {
    if (step % 2 == 0) enqueue_host();
    enqueue_compute(static_cast<float>(step));
    if (step % 2 == 1) enqueue_host();
  }
  EXPECT_THAT(read(*device_, compute_, sum), Each(10.0f * 200 * 201 / 2));
}

TEST_F(CudaStreams, RaisesMayRunAheadOfAwaits) {
  const Signal signal = device_->create_signal("ahead");
  const Buffer value = make_buffer(*device_, 4);
  for (int i = 0; i < 10; ++i) device_->raise(copy_, signal);
  ASSERT_TRUE(device_->synchronize(device_->record(copy_), "raised"));
  for (int i = 0; i < 10; ++i) device_->await(compute_, signal, "raised before");
  device_->run(compute_, FillArgs{value.view<float>(), 1.0f});
  EXPECT_THAT(read(*device_, compute_, value), Each(1.0f));
}

/// Events, not signals, between GPU streams and host lanes, in both directions and between two host lanes.
TEST_F(CudaStreams, HostLanesAndStreamsWaitForEachOthersEvents) {
  const Stream second = device_->create_stream("more experts", Lane::Host);
  const Buffer pinned = make_buffer(*device_, 4, MemorySpace::Pinned),
               one = make_buffer(*device_, 4, MemorySpace::Pinned);
  const Buffer sum = make_buffer(*device_, 4);
  std::fill_n(one.view<float>().data, 4, 1.0f);
  device_->run(compute_, FillArgs{sum.view<float>(), 0.0f});
  for (int i = 0; i < 50; ++i) {
    copy(*device_, compute_, pinned.view<float>(), sum.view<float>(), "to the host");
    device_->wait(host_, device_->record(compute_), "sum is on the host");
    add_on_host(host_, one, pinned);
    device_->wait(second, device_->record(host_), "first lane is done");
    add_on_host(second, one, pinned);
    device_->wait(compute_, device_->record(second), "host is done");
    copy(*device_, compute_, sum.view<float>(), pinned.view<float>(), "from the host");
  }
  EXPECT_THAT(read(*device_, compute_, sum), Each(100.0f));
  ASSERT_TRUE(device_->synchronize(device_->record(host_), "host lane"));
}

TEST_F(CudaStreams, AnErrorInAHostTaskSurfacesOnceAndDoesNotBlockTheStep) {
  const Signal done = device_->create_signal("done");
  device_->host_task(host_, "experts", {}, {}, [] { throw std::runtime_error("no such expert"); });
  device_->host_task(host_, "later", {}, {}, [] { throw std::runtime_error("a consequence"); });
  device_->raise(host_, done);
  device_->await(compute_, done, "experts are done");
  const auto result = device_->synchronize(device_->record(compute_), "step");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().cause, "Operation 'experts' on stream 'experts' failed: no such expert");
  EXPECT_FALSE(result.error().remedy.empty());
  EXPECT_TRUE(device_->synchronize(device_->record(compute_), "next step"));
}

TEST_F(CudaStreams, ACopyOfUnequalSizesIsAnErrorAndCopiesNothing) {
  const Buffer from = make_buffer(*device_, 4, MemorySpace::Pinned), to = make_buffer(*device_, 3, MemorySpace::Pinned);
  std::fill_n(from.view<float>().data, 4, 1.0f);
  std::fill_n(to.view<float>().data, 3, 0.0f);
  copy(*device_, copy_, to.view<float>(), from.view<float>(), "crooked");
  const auto result = device_->synchronize(device_->record(copy_), "copy");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().cause, HasSubstr("16 bytes into a place of 12"));
  EXPECT_EQ(to.view<float>().data[0], 0.0f);
}

TEST_F(CudaStreams, WorkOnTheWrongKindOfLaneIsAnError) {
  const Buffer buffer = make_buffer(*device_, 4);
  device_->run(host_, FillArgs{buffer.view<float>(), 1.0f});
  EXPECT_FALSE(device_->synchronize({}, "fill on a host lane"));
  device_->host_task(compute_, "experts", {}, {}, [] {});
  EXPECT_FALSE(device_->synchronize({}, "host code on a stream"));
  device_->copy(host_, buffer.view(), buffer.view(), "copy by the host");
  EXPECT_FALSE(device_->synchronize({}, "device memory on a host lane"));
}

TEST_F(CudaStreams, AnOperationThatTheTableLacksIsAnErrorAndRunsNothing) {
  device_->run(compute_, SampleArgs{});
  const auto result = device_->synchronize(device_->record(compute_), "sampled");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().cause, testing::HasSubstr("'sample'"));
  EXPECT_TRUE(device_->synchronize(device_->record(compute_), "all is well again"));
}

TEST_F(CudaStreams, ASignalHasOneRaisingAndOneAwaitingLane) {
  const Signal signal = device_->create_signal("shared");
  device_->raise(compute_, signal);
  device_->raise(copy_, signal);
  const auto result = device_->synchronize(device_->record(copy_), "raised");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().cause,
            "Signal 'shared' is raised by stream 'compute' and by stream 'copy'; it may be by one stream alone.");
}

TEST_F(CudaStreams, EnqueuingDoesNotWait) {
  std::atomic<bool> go = false;
  const Signal done = device_->create_signal("done");
  const Buffer value = make_buffer(*device_, 4);
  device_->host_task(host_, "blocked", {}, {}, [&] { go.wait(false); });
  device_->raise(host_, done);
  device_->await(compute_, done, "host is done");
  device_->run(compute_, FillArgs{value.view<float>(), 1.0f});
  const Event event = device_->record(compute_);
  go = true;  // would never be reached, did an await wait in the thread that enqueues it
  go.notify_all();
  ASSERT_TRUE(device_->synchronize(event, "end"));
}

TEST_F(CudaStreams, ALongWaitSaysWhoWaitsForWhatAndTheBlockedPlatformCanDie) {
  auto platform = make_platform({.devices = logical_devices(1), .patience_s = 1});
  Device& device = platform->device();
  const Stream compute = device.create_stream("compute", Lane::Compute),
               host = device.create_stream("host", Lane::Host);
  const Signal never = device.create_signal("experts done"), also_never = device.create_signal("activations");
  device.await(compute, never, "experts are done");
  device.await(host, also_never, "activations are there");
  bool ran = false;
  device.host_task(host, "unreachable", {}, {}, [&] { ran = true; });
  const auto result = device.synchronize(device.record(compute), "step");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().cause,
            "Nothing has come of 'step' on stream 'compute' for 1 s; signal 'experts done' was raised 0 times, but is "
            "awaited 1 times (experts are done); signal 'activations' was raised 0 times, but is awaited 1 times "
            "(activations are there).");
  platform.reset();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace krasis

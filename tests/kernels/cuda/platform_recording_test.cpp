// Recorded steps of the CUDA platform, as graphs and command by command.
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "platform_support.h"

namespace krasis {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing_support::logical_devices;
using testing_support::make_buffer;
using testing_support::make_platform;
using testing_support::read;

class CudaRecording : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (const std::string why = testing_support::why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    open(false);
  }
  void open(bool trace) {
    for (Buffer* buffer : {&one_, &sum_, &out_}) *buffer = Buffer();  // before their platform
    platform_ = make_platform({.devices = logical_devices(2), .trace = trace, .graphs = GetParam(), .patience_s = 20});
    device_ = &platform_->device(0);
    compute_ = device_->create_stream("compute", Lane::Compute);
    copy_ = device_->create_stream("copy", Lane::Copy);
    one_ = make_buffer(*device_, 4);
    sum_ = make_buffer(*device_, 4);
    out_ = make_buffer(*device_, 4, MemorySpace::Pinned);
    device_->run(compute_, FillArgs{one_.view<float>(), 1.0f});
    device_->run(compute_, FillArgs{sum_.view<float>(), 0.0f});
  }
  /// sum += 1 on compute, then out = sum on copy; the next step's add waits for this step's copy by a signal.
  Recording record_step(Event& copied) {
    const Signal read = device_->create_signal("sum was read");
    device_->raise(copy_, read);  // before the first step
    device_->begin_recording();
    device_->await(compute_, read, "sum was read");
    device_->run(compute_, AddArgs{one_.view<float>(), sum_.view<float>()});
    device_->wait(copy_, device_->record(compute_), "sum is ready");
    copy(*device_, copy_, out_.view<float>(), sum_.view<float>(), "sum");
    device_->raise(copy_, read);
    copied = device_->record(copy_);
    return device_->end_recording();
  }
  float output() const { return out_.view<float>().data[0]; }

  std::unique_ptr<CudaPlatform> platform_;
  Device* device_ = nullptr;
  Stream compute_, copy_;
  Buffer one_, sum_, out_;
};
INSTANTIATE_TEST_SUITE_P(Replays, CudaRecording, testing::Values(true, false),
                         [](const auto& graphs) { return graphs.param ? "Graph" : "Commands"; });

TEST_P(CudaRecording, RunsOnlyWhenReplayedAndEveryTimeAnew) {
  Event copied;
  const Recording step = record_step(copied);
  for (int i = 1; i <= 30; ++i) {
    device_->replay(step);
    ASSERT_TRUE(device_->synchronize(copied, "step")) << "an event of a recording is that of its last replay";
    EXPECT_EQ(output(), static_cast<float>(i));
  }
}

TEST_P(CudaRecording, ReplaysMayBeEnqueuedAhead) {
  Event copied;
  const Recording step = record_step(copied);
  for (int i = 0; i < 30; ++i) device_->replay(step);
  ASSERT_TRUE(device_->synchronize(copied, "step"));
  EXPECT_EQ(output(), 30.0f);
}

TEST_P(CudaRecording, WorkBeforeAndAfterAReplayKeepsItsPlaceOnEveryStream) {
  Event copied;
  const Recording step = record_step(copied);
  for (int i = 1; i <= 20; ++i) {
    device_->run(compute_, AddArgs{one_.view<float>(), sum_.view<float>()});
    device_->replay(step);
    copy(*device_, copy_, sum_.view<float>(), out_.view<float>(), "back");  // comes after the step on both streams
    device_->wait(compute_, device_->record(copy_), "sum is back");
    ASSERT_TRUE(device_->synchronize(device_->record(copy_), "step"));
    EXPECT_EQ(output(), static_cast<float>(2 * i));
  }
}

/// Two recordings with the same streams, but launched from different ones.
TEST_P(CudaRecording, StepsThatShareStreamsFollowEachOther) {
  Event copied;
  const Recording first = record_step(copied);
  const Buffer back = make_buffer(*device_, 4);
  device_->begin_recording();
  copy(*device_, copy_, back.view<float>(), out_.view<float>(), "back");
  device_->wait(compute_, device_->record(copy_), "out is back");
  device_->run(compute_, AddArgs{back.view<float>(), sum_.view<float>()});
  const Recording second = device_->end_recording();
  float expected = 0.0f;
  for (int i = 0; i < 12; ++i) {
    device_->replay(first);
    device_->replay(second);
    expected = (expected + 1.0f) * 2.0f;
  }
  EXPECT_THAT(read(*device_, compute_, sum_), Each(expected));
}

TEST_P(CudaRecording, AWaitInsideForAnEventFromOutsideStaysThatEvent) {
  const Event filled = device_->record(compute_);
  device_->begin_recording();
  device_->wait(copy_, filled, "sum is filled");
  copy(*device_, copy_, out_.view<float>(), sum_.view<float>(), "sum");
  const Recording step = device_->end_recording();
  for (int i = 0; i < 3; ++i) device_->replay(step);
  ASSERT_TRUE(device_->synchronize(device_->record(copy_), "step"));
  EXPECT_EQ(output(), 0.0f);
}

/// Holds a stream up until open(): what does not wait for the stream has run by then.
class Gate {
 public:
  Gate(Device& device, Stream stream) {
    const Stream guard = device.create_stream("guard", Lane::Host);
    const Signal opened = device.create_signal("gate is open");
    device.host_task(guard, "gate", {}, {}, [this] { open_.wait(false); });
    device.raise(guard, opened);
    device.await(stream, opened, "gate is open");
  }
  ~Gate() { open(); }
  void open() {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    open_ = true;
    open_.notify_all();
  }

 private:
  std::atomic<bool> open_ = false;
};

TEST_P(CudaRecording, AReplayComesAfterEarlierWorkOnAllItsStreams) {
  const Buffer late = make_buffer(*device_, 4), number = make_buffer(*device_, 4, MemorySpace::Pinned);
  device_->begin_recording();  // launched from `compute_`
  device_->run(compute_, AddArgs{one_.view<float>(), sum_.view<float>()});
  copy(*device_, copy_, out_.view<float>(), late.view<float>(), "out");
  const Recording step = device_->end_recording();
  for (int i = 1; i <= 3; ++i) {
    Gate gate(*device_, copy_);
    std::fill_n(number.view<float>().data, 4, static_cast<float>(i));
    copy(*device_, copy_, late.view<float>(), number.view<float>(), "late");
    device_->replay(step);
    gate.open();
    ASSERT_TRUE(device_->synchronize(device_->record(copy_), "step"));
    EXPECT_EQ(output(), static_cast<float>(i));
  }
}

TEST_P(CudaRecording, AReplayComesAfterAnotherStepOnItsStreams) {
  const Stream third = device_->create_stream("third", Lane::Compute);
  const Signal gone = device_->create_signal("first of the step is done");
  const Stream host = device_->create_stream("host", Lane::Host);
  std::atomic<bool> go = false;
  device_->begin_recording();  // launched from `third`
  device_->run(third, FillArgs{one_.view<float>(), 1.0f});
  device_->wait(compute_, device_->record(third), "one is one");
  device_->host_task(host, "wait", {}, {}, [&] { go.wait(false); });
  device_->raise(host, gone);
  device_->await(compute_, gone, "host goes on");
  device_->run(compute_, AddArgs{one_.view<float>(), sum_.view<float>()});
  const Recording first = device_->end_recording();
  const Buffer scratch = make_buffer(*device_, 4);
  device_->begin_recording();  // launched from `copy_`
  device_->run(copy_, FillArgs{scratch.view<float>(), 1.0f});
  copy(*device_, compute_, out_.view<float>(), sum_.view<float>(), "out");
  const Recording second = device_->end_recording();
  device_->replay(first);
  device_->replay(second);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  go = true;
  go.notify_all();
  ASSERT_TRUE(device_->synchronize(device_->record(compute_), "both"));
  EXPECT_EQ(output(), 1.0f);
}

TEST_P(CudaRecording, AWaitForAnEventFromOutsideIsKept) {
  Gate gate(*device_, copy_);
  const Buffer late = make_buffer(*device_, 4), five = make_buffer(*device_, 4, MemorySpace::Pinned);
  std::fill_n(five.view<float>().data, 4, 5.0f);
  copy(*device_, copy_, late.view<float>(), five.view<float>(), "late");
  const Event outside = device_->record(copy_);
  device_->begin_recording();
  device_->wait(compute_, outside, "late is there");
  copy(*device_, compute_, out_.view<float>(), late.view<float>(), "out");
  const Recording step = device_->end_recording();
  device_->replay(step);
  gate.open();
  ASSERT_TRUE(device_->synchronize(device_->record(compute_), "step"));
  EXPECT_EQ(output(), 5.0f);
}

/// How a decode step and the host lane meet: by events, by signals, or by signals joined with copies and additions.
enum class Way : std::uint8_t { Events, Signals, Joined };

/// A decode step in small: for each layer the GPU hands over to the host lane, works on, and waits for it; the layers
/// alternate between two devices.
class DecodeStep {
 public:
  static constexpr int kLayers = 8;
  DecodeStep(CudaPlatform& platform, Way way) {
    home_ = &platform.device(0);
    host_ = home_->create_stream("CPU experts", Lane::Host);
    to_cpu_ = make_buffer(*home_, 64, MemorySpace::Pinned);
    from_cpu_ = make_buffer(*home_, 64, MemorySpace::Pinned);
    for (int i = 0; i < platform.device_count(); ++i) {
      Device& device = platform.device(i);
      parts_.push_back({&device, device.create_stream("compute " + std::to_string(i), Lane::Compute),
                        make_buffer(device, 64), make_buffer(device, 64), device.create_signal("to CPU"),
                        device.create_signal("from CPU")});
    }
    home_->run(parts_[0].compute, FillArgs{parts_[0].x.view<float>(), 0.0f});
    home_->begin_recording();
    for (int layer = 0; layer < kLayers; ++layer) enqueue(layer, way);
    move(parts_[(kLayers - 1) % parts_.size()], parts_[0]);
    done_ = home_->record(parts_[0].compute);
    step_ = home_->end_recording();
  }
  void replay() { home_->replay(step_); }
  Expected<void> synchronize() { return home_->synchronize(done_, "token is known"); }
  std::vector<float> x() { return read(*home_, parts_[0].compute, parts_[0].x); }

 private:
  struct Part {
    Device* device;
    Stream compute;
    Buffer x, sum;
    Signal to_cpu, from_cpu;
  };
  void move(Part& from, Part& to) {
    if (&from == &to) return;
    to.device->wait(to.compute, from.device->record(from.compute), "x arrives");
    copy(*to.device, to.compute, to.x.view<float>(), from.x.view<float>(), "move x");
    from.device->wait(from.compute, to.device->record(to.compute), "x has left");
  }
  /// x = 2 x / 2 + 1, by way of the host.
  void enqueue(int layer, Way way) {
    Part& part = parts_[static_cast<std::size_t>(layer) % parts_.size()];
    if (layer > 0) move(parts_[static_cast<std::size_t>(layer - 1) % parts_.size()], part);
    Device& device = *part.device;
    if (way == Way::Joined) {
      device.copy_and_raise(part.compute, std::array{CopyArgs{to_cpu_.view(), part.x.view<const std::byte>(), "to the CPU"}}, part.to_cpu);
    } else {
      copy(device, part.compute, to_cpu_.view<float>(), part.x.view<float>(), "to the CPU");
    }
    if (way == Way::Events) {
      home_->wait(host_, device.record(part.compute), "activations are on the host");
    } else {
      if (way == Way::Signals) device.raise(part.compute, part.to_cpu);
      home_->await(host_, part.to_cpu, "activations are on the host");
    }
    home_->host_task(host_, "CPU experts", {}, {}, [in = to_cpu_.view<float>(), out = from_cpu_.view<float>()] {
      for (std::size_t i = 0; i < in.size; ++i) out.data[i] = 1.0f - in.data[i];
    });
    device.run(part.compute, AddArgs{part.x.view<float>(), part.x.view<float>()});  // meanwhile
    if (way == Way::Events) {
      device.wait(part.compute, home_->record(host_), "CPU experts are done");
    } else {
      home_->raise(host_, part.from_cpu);
    }
    if (way == Way::Joined) {
      return device.await_and_add(part.compute, part.from_cpu, "CPU experts are done",
                                  {from_cpu_.view<const float>(), part.x.view<float>()}, part.sum.view<float>());
    }
    if (way == Way::Signals) device.await(part.compute, part.from_cpu, "CPU experts are done");
    copy(device, part.compute, part.sum.view<float>(), from_cpu_.view<float>(), "sum from the CPU");
    device.run(part.compute, AddArgs{part.sum.view<float>(), part.x.view<float>()});
  }

  Device* home_ = nullptr;
  Stream host_;
  Buffer to_cpu_, from_cpu_;
  std::vector<Part> parts_;
  Event done_;
  Recording step_;
};

TEST_P(CudaRecording, ADecodeStepMeetsTheHostInEveryLayer) {
  for (const Way way : {Way::Events, Way::Signals, Way::Joined}) {
    DecodeStep step(*platform_, way);
    for (int token = 1; token <= 100; ++token) {
      step.replay();
      const auto done = step.synchronize();
      ASSERT_TRUE(done) << done.error().message();
    }
    EXPECT_THAT(step.x(), Each(100.0f * DecodeStep::kLayers));
    for (int token = 1; token <= 100; ++token) step.replay();
    EXPECT_THAT(step.x(), Each(200.0f * DecodeStep::kLayers)) << "replays that overlap";
  }
}

TEST_P(CudaRecording, AStepOfAHostLaneAloneNeedsNoGraph) {
  const Stream host = device_->create_stream("host", Lane::Host);
  int count = 0;
  device_->begin_recording();
  device_->host_task(host, "count", {}, {}, [&] { ++count; });
  const Event counted = device_->record(host);
  const Recording step = device_->end_recording();
  for (int i = 0; i < 10; ++i) device_->replay(step);
  ASSERT_TRUE(device_->synchronize(counted, "counted"));
  EXPECT_EQ(count, 10);
}

TEST_P(CudaRecording, MisuseIsAnErrorOfTheNextSynchronize) {
  device_->begin_recording();
  const Event inside = device_->record(copy_);
  device_->end_recording();
  const auto never = device_->synchronize(inside, "step");
  ASSERT_FALSE(never);
  EXPECT_THAT(never.error().cause, HasSubstr("never replayed"));

  device_->replay({5});
  EXPECT_FALSE(device_->synchronize(device_->record(copy_), "no such recording"));
  EXPECT_TRUE(device_->synchronize(device_->record(compute_), "all is well again"));

  std::vector<float> pageable(4);
  device_->begin_recording();
  copy(*device_, compute_, View<float>{pageable.data(), 4}, sum_.view<float>(), "to any memory");
  device_->end_recording();
  const auto refused = device_->synchronize({}, "recorded");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().cause, HasSubstr("to any memory"));
}

TEST_P(CudaRecording, ATraceHasEveryOperationOfEveryReplayInItsOrder) {
  open(true);
  Event copied;
  const Recording step = record_step(copied);
  const Stream host = device_->create_stream("host", Lane::Host);
  device_->host_task(host, "experts", {}, {}, [] {});
  ASSERT_TRUE(device_->synchronize(device_->record(host), "host"));
  for (int i = 0; i < 3; ++i) device_->replay(step);
  ASSERT_TRUE(device_->synchronize(copied, "step"));
  ASSERT_TRUE(device_->synchronize(device_->record(compute_), "all"));
  int adds = 0, copies = 0, tasks = 0;
  std::int64_t last_add_end = 0;
  for (const TraceEntry& entry : platform_->trace()) {
    EXPECT_LE(entry.start_ns, entry.end_ns) << entry.name;
    tasks += entry.name == "experts" && entry.stream_name == "host";
    if (entry.name == "sum") {
      ++copies;
      EXPECT_EQ(entry.copied_bytes, 16u);
      EXPECT_EQ(entry.stream_name, "copy");
      EXPECT_GE(entry.start_ns + 1000, last_add_end) << "the copy follows the add that it waits for";
    }
    if (entry.name != "add") continue;
    ++adds;
    last_add_end = entry.end_ns;
  }
  EXPECT_EQ(adds, 3);
  EXPECT_EQ(copies, 3);
  EXPECT_EQ(tasks, 1);
}

TEST_P(CudaRecording, TracingIsSwitchedOnAndOffWhileCopiesAndTasksAreAlwaysCounted) {
  Event copied;
  const Recording step = record_step(copied);
  const Stream host = device_->create_stream("host", Lane::Host);
  const auto run = [&] {
    device_->replay(step);
    device_->run(compute_, FillArgs{one_.view<float>(), 1.0f});
    device_->host_task(host, "experts", {}, {}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); });
    for (const Stream stream : {host, copy_, compute_}) ASSERT_TRUE(device_->synchronize(device_->record(stream), "all"));
  };
  run();
  EXPECT_TRUE(platform_->trace().empty());
  const PlatformActivity before = platform_->activity();
  EXPECT_EQ(before.copied_bytes, 16u);
  EXPECT_GE(before.host_task_ns, 2'000'000);

  ASSERT_TRUE(platform_->set_tracing(true));
  run();
  std::vector<std::string> names;
  for (const TraceEntry& entry : platform_->trace()) names.push_back(entry.name);
  // A graph that was recorded without timing events is not looked into.
  if (GetParam()) {
    EXPECT_THAT(names, testing::UnorderedElementsAre("fill", "experts"));
  } else {
    EXPECT_THAT(names, testing::UnorderedElementsAre("add", "sum", "fill", "experts"));
  }
  EXPECT_EQ(platform_->activity().copied_bytes, 32u);

  ASSERT_TRUE(platform_->set_tracing(false));
  run();
  EXPECT_TRUE(platform_->trace().empty());
  ASSERT_TRUE(platform_->set_tracing(true));
  EXPECT_TRUE(platform_->trace().empty()) << "a new trace begins with nothing";
}

}  // namespace
}  // namespace krasis

#include "fixture.h"

namespace krasis {
namespace {

using testing::IsEmpty;
using testing_support::make_buffer;
using testing_support::make_platform;
using testing_support::messages;

class RecordingTest : public testing::TestWithParam<Schedule> {
 protected:
  RecordingTest()
      : platform_(make_platform({.schedule = GetParam(), .check_order = true})),
        device_(platform_->device()),
        compute_(device_.create_stream("compute", Lane::Compute)),
        copy_(device_.create_stream("copy", Lane::Copy)),
        one_(make_buffer(device_, 4)),
        sum_(make_buffer(device_, 4)),
        out_(make_buffer(device_, 4, MemorySpace::Pinned)) {
    device_.run(compute_, FillArgs{one_.view<float>(), 1.0f});
    device_.run(compute_, FillArgs{sum_.view<float>(), 0.0f});
  }
  /// sum += 1 on compute, then out = sum on copy; the next step's add waits for this step's copy by a signal.
  Recording record_step(Event& copied) {
    const Signal read = device_.create_signal("sum was read");
    device_.raise(copy_, read);  // before the first step
    device_.begin_recording();
    device_.await(compute_, read, "sum was read");
    device_.run(compute_, AddArgs{one_.view<float>(), sum_.view<float>()});
    device_.wait(copy_, device_.record(compute_), "sum is ready");
    copy(device_, copy_, out_.view<float>(), sum_.view<float>(), "sum");
    device_.raise(copy_, read);
    copied = device_.record(copy_);
    return device_.end_recording();
  }
  float output() {
    const Access reads[] = {Access::of(out_.view())};
    device_.host_access("output", reads, {});
    return out_.view<float>().data[0];
  }

  std::unique_ptr<HostPlatform> platform_;
  Device& device_;
  Stream compute_, copy_;
  Buffer one_, sum_, out_;
};
INSTANTIATE_TEST_SUITE_P(Schedules, RecordingTest, testing::Values(Schedule::Threads, Schedule::Seeded),
                         [](const auto& schedule) {
                           return schedule.param == Schedule::Threads ? "Threads" : "Seeded";
                         });

TEST_P(RecordingTest, RunsOnlyWhenReplayedAndEveryTimeAnew) {
  Event copied;
  const Recording step = record_step(copied);
  for (int i = 1; i <= 30; ++i) {
    device_.replay(step);
    ASSERT_TRUE(device_.synchronize(copied, "step")) << "an event of a recording is that of its last replay";
    EXPECT_EQ(output(), static_cast<float>(i));
  }
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

TEST_P(RecordingTest, ReplaysOverlapUnlessOrdered) {
  Event copied;
  const Recording step = record_step(copied);
  for (int i = 0; i < 30; ++i) device_.replay(step);
  ASSERT_TRUE(device_.synchronize(copied, "step"));
  EXPECT_EQ(output(), 30.0f);
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

TEST_P(RecordingTest, AnEventAfterAReplayCoversIt) {
  Event copied;
  device_.replay(record_step(copied));
  ASSERT_TRUE(device_.synchronize(device_.record(copy_), "step"));
  EXPECT_EQ(output(), 1.0f);
}

TEST_P(RecordingTest, AWaitInsideForAnEventFromOutsideStaysThatEvent) {
  const Event filled = device_.record(compute_);
  device_.begin_recording();
  device_.wait(copy_, filled, "sum is filled");
  copy(device_, copy_, out_.view<float>(), sum_.view<float>(), "sum");
  const Recording step = device_.end_recording();
  for (int i = 0; i < 3; ++i) device_.replay(step);
  ASSERT_TRUE(device_.synchronize(device_.record(copy_), "step"));
  EXPECT_EQ(output(), 0.0f);
  EXPECT_THAT(messages(platform_->violations()), IsEmpty());
}

/// The step's waits are dropped when it is replayed, and the checker sees each one missing.
TEST_P(RecordingTest, AMissingWaitInsideIsFound) {
  for (const std::string why : {"sum is ready", "sum was read"}) {
    auto platform = make_platform({.schedule = Schedule::Seeded, .check_order = true});
    Device& device = platform->device();
    const Stream compute = device.create_stream("compute", Lane::Compute),
                 copies = device.create_stream("copy", Lane::Copy);
    const Buffer one = make_buffer(device, 4), sum = make_buffer(device, 4),
                 out = make_buffer(device, 4, MemorySpace::Pinned);
    device.run(compute, FillArgs{one.view<float>(), 1.0f});
    device.run(compute, FillArgs{sum.view<float>(), 0.0f});
    const Signal read = device.create_signal("sum was read");
    device.raise(copies, read);
    device.begin_recording();
    device.await(compute, read, "sum was read");
    device.run(compute, AddArgs{one.view<float>(), sum.view<float>()});
    device.wait(copies, device.record(compute), "sum is ready");
    copy(device, copies, out.view<float>(), sum.view<float>(), "sum");
    device.raise(copies, read);
    const Recording step = device.end_recording();
    platform->drop_waits(why);
    device.replay(step);
    device.replay(step);
    ASSERT_TRUE(device.synchronize(device.record(copies), "copied"));
    ASSERT_TRUE(device.synchronize(device.record(compute), "computed"));
    EXPECT_FALSE(platform->violations().empty()) << why;
  }
}

TEST_P(RecordingTest, MisuseIsAnErrorOfTheNextSynchronize) {
  device_.begin_recording();
  const Event inside = device_.record(copy_);
  device_.end_recording();
  const auto never = device_.synchronize(inside, "step");
  ASSERT_FALSE(never);
  EXPECT_THAT(never.error().cause, testing::HasSubstr("never replayed"));

  device_.replay({5});
  EXPECT_FALSE(device_.synchronize(device_.record(copy_), "no such recording"));
  EXPECT_TRUE(device_.synchronize(device_.record(compute_), "all is well again"));
}

}  // namespace
}  // namespace krasis

#include <barrier>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "fixture.h"

namespace krasis {
namespace {

using testing_support::make_buffer;
using testing_support::make_platform;

/// A copy lane and a compute lane are both inside an operation at one moment (a barrier that each must reach), so their
/// entries overlap.
TEST(Trace, ShowsTwoLanesAtTheSameTime) {
  auto platform = make_platform({.trace = true});
  Device& device = platform->device();
  const Stream compute = device.create_stream("compute", Lane::Compute),
               copies = device.create_stream("copy", Lane::Copy);
  std::barrier both(2);
  std::vector<std::byte> from(1 << 16), to(1 << 16);
  device.host_task(compute, "matmul", {}, {}, [&] { both.arrive_and_wait(); });
  device.host_task(copies, "experts of group 1", {}, {}, [&] {
    both.arrive_and_wait();
    std::copy(from.begin(), from.end(), to.begin());
  });
  ASSERT_TRUE(device.synchronize(device.record(compute), "compute"));
  ASSERT_TRUE(device.synchronize(device.record(copies), "copy"));
  const auto trace = platform->trace();
  ASSERT_EQ(trace.size(), 2u);
  EXPECT_LE(trace[0].start_ns, trace[1].start_ns);
  EXPECT_LT(std::max(trace[0].start_ns, trace[1].start_ns), std::min(trace[0].end_ns, trace[1].end_ns));
}

TEST(Trace, EntriesOfOneStreamFollowEachOther) {
  auto platform = make_platform({.trace = true});
  Device& device = platform->device();
  const Stream stream = device.create_stream("compute", Lane::Compute);
  const Buffer buffer = make_buffer(device, 1000);
  std::vector<float> host(1000);
  device.run(stream, FillArgs{buffer.view<float>(), 1.0f});
  copy(device, stream, View<float>{host.data(), 1000}, buffer.view<float>(), "out");
  ASSERT_TRUE(device.synchronize(device.record(stream), "end"));
  const auto trace = platform->trace();
  ASSERT_EQ(trace.size(), 2u);
  EXPECT_EQ(trace[0].name, "fill");
  EXPECT_EQ(trace[0].copied_bytes, 0u);
  EXPECT_EQ(trace[1].name, "out");
  EXPECT_EQ(trace[1].stream_name, "compute");
  EXPECT_EQ(trace[1].copied_bytes, 4000u);
  EXPECT_LE(trace[0].start_ns, trace[0].end_ns);
  EXPECT_LE(trace[0].end_ns, trace[1].start_ns);
}

TEST(Trace, IsSwitchedOnAndOffWhileCopiesAndTasksAreAlwaysCounted) {
  for (const Schedule schedule : {Schedule::Threads, Schedule::Seeded}) {
    auto platform = make_platform({.schedule = schedule});
    Device& device = platform->device();
    const Stream stream = device.create_stream("compute", Lane::Compute), host = device.create_stream("host", Lane::Host);
    const Buffer buffer = make_buffer(device, 100);
    std::vector<float> out(100);
    device.begin_recording();
    device.run(stream, FillArgs{buffer.view<float>(), 1.0f});
    copy(device, stream, View<float>{out.data(), out.size()}, buffer.view<float>(), "out");
    device.host_task(host, "experts", {}, {}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); });
    const Recording step = device.end_recording();
    const auto run = [&] {
      device.replay(step);
      for (const Stream each : {stream, host}) ASSERT_TRUE(device.synchronize(device.record(each), "step"));
    };
    run();
    EXPECT_TRUE(platform->trace().empty());
    EXPECT_EQ(platform->activity().copied_bytes, 400u);
    EXPECT_GE(platform->activity().host_task_ns, 2'000'000);
    platform->set_tracing(true);
    run();
    EXPECT_EQ(platform->trace().size(), 3u);
    EXPECT_EQ(platform->activity().copied_bytes, 800u);
    platform->set_tracing(false);
    run();
    EXPECT_TRUE(platform->trace().empty());
  }
}

TEST(Trace, IsWrittenAsChromesFormat) {
  const std::vector<TraceEntry> entries = {{"matmul \"q\"", 2, "compute", 1, 5000, 8000, 0},
                                           {"experts", 3, "copy", 1, 6000, 10000, 8000}};
  const auto path = std::filesystem::path(testing::TempDir()) / "krasis_trace_test.json";
  ASSERT_TRUE(write_chrome_trace(entries, path));
  std::ifstream file(path);
  const auto trace = nlohmann::json::parse(file);
  std::filesystem::remove(path);
  std::vector<nlohmann::json> spans, names;
  for (const auto& event : trace.at("traceEvents")) (event.at("ph") == "X" ? spans : names).push_back(event);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].at("name"), "matmul \"q\"");
  EXPECT_EQ(spans[0].at("ts"), 5.0);  // microseconds
  EXPECT_EQ(spans[0].at("dur"), 3.0);
  EXPECT_EQ(spans[1].at("pid"), 1);
  EXPECT_EQ(spans[1].at("tid"), 3);
  EXPECT_EQ(spans[1].at("args").at("bytes"), 8000);
  EXPECT_EQ(spans[1].at("args").at("GB/s"), 2.0);
  EXPECT_EQ(names.size(), 3u);  // one device, two streams
}

TEST(Trace, AnUnwritableFileIsAnError) {
  const auto result = write_chrome_trace({}, "/nonexistent/trace.json");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Io);
}

}  // namespace
}  // namespace krasis

#include "kernels/host/trace_summary.h"

#include <gtest/gtest.h>

namespace krasis {
namespace {

/// Copies 0-10 and 20-30, compute 5-15 and 8-25: both run 5-10 and 20-25, neither never.
TEST(TraceSummary, TellsBusyIdleAndOverlappingTime) {
  const std::vector<TraceEntry> entries = {{"experts", 0, "compute", 0, 8, 25, 0},
                                           {"load", 1, "copy", 0, 0, 10, 100},
                                           {"matmul", 0, "compute", 0, 5, 15, 0},
                                           {"load", 1, "copy", 0, 20, 30, 300}};
  const TraceSummary summary = summarize(entries);
  EXPECT_EQ(summary.length_ns, 30);
  ASSERT_EQ(summary.streams.size(), 2u);
  EXPECT_EQ(summary.streams[0].name, "compute");
  EXPECT_EQ(summary.streams[0].busy_ns, 20) << "a moment in two operations counts once";
  EXPECT_EQ(summary.streams[0].idle_ns, 10);
  EXPECT_EQ(summary.streams[0].copied_bytes, 0u);
  EXPECT_EQ(summary.streams[1].copy_ns, 20);
  EXPECT_EQ(summary.streams[1].copied_bytes, 400u);
  EXPECT_DOUBLE_EQ(summary.streams[1].copy_gb_per_s(), 20.0);
  ASSERT_EQ(summary.devices.size(), 1u);
  EXPECT_EQ(summary.devices[0].copy_ns, 20);
  EXPECT_EQ(summary.devices[0].compute_ns, 20);
  EXPECT_EQ(summary.devices[0].overlap_ns, 10);
  EXPECT_EQ(summary.devices[0].idle_ns, 0);
  EXPECT_DOUBLE_EQ(summary.devices[0].overlap(), 0.5);
}

TEST(TraceSummary, DevicesDoNotOverlapEachOther) {
  const std::vector<TraceEntry> entries = {{"matmul", 0, "compute", 0, 0, 10, 0}, {"load", 1, "copy", 1, 0, 10, 8}};
  const TraceSummary summary = summarize(entries);
  ASSERT_EQ(summary.devices.size(), 2u);
  EXPECT_EQ(summary.devices[0].overlap_ns, 0);
  EXPECT_EQ(summary.devices[1].overlap_ns, 0);
  EXPECT_DOUBLE_EQ(summary.devices[1].overlap(), 0.0);
}

TEST(TraceSummary, OfNothingIsEmpty) {
  EXPECT_EQ(summarize({}).length_ns, 0);
  EXPECT_TRUE(summarize({}).streams.empty());
}

}  // namespace
}  // namespace krasis

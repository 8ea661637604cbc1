// Limits of containers, services and jobs: control groups of both versions, as seen from inside and outside.
#include "engine/system/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/system/tree.h"

namespace krasis {
namespace {

using test::Tree;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

TEST(CpuQuota, Version2OfTheOwnGroup) {
  Tree tree;
  tree.good().write("sys/fs/cgroup/cpu.max", "250000 100000\n");
  const Finding f = tree.finding("cpu_quota");
  EXPECT_EQ(f.severity, Severity::Warning);
  EXPECT_THAT(f.title, HasSubstr("2.5 CPUs"));
  EXPECT_THAT(f.detail, HasSubstr("/sys/fs/cgroup/cpu.max"));
  EXPECT_THAT(f.remedy, HasSubstr("2 threads"));
}

TEST(CpuQuota, AsManyAsTheCpusIsNoWarning) {
  Tree tree;
  tree.good().write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  const Finding f = tree.finding("cpu_quota");
  EXPECT_EQ(f.severity, Severity::Ok);
  EXPECT_THAT(f.title, HasSubstr("4 CPUs"));
  EXPECT_THAT(f.remedy, IsEmpty());
  EXPECT_EQ(tree.allow("0-1").finding("cpu_quota").severity, Severity::Ok);
}

TEST(CpuQuota, MaxIsNone) {
  Tree tree;
  tree.good().write("sys/fs/cgroup/cpu.max", "max 100000\n");
  const auto answer = cpu_quota(tree.root());
  EXPECT_TRUE(answer.known);
  EXPECT_FALSE(answer.limit);
}

TEST(CpuQuota, TheStrictestGroupAboveCounts) {
  Tree tree;
  tree.cgroup2("/user.slice/session/krasis.scope");
  tree.write("sys/fs/cgroup/user.slice/session/krasis.scope/cpu.max", "max 100000\n");
  tree.write("sys/fs/cgroup/user.slice/session/cpu.max", "300000 100000\n");
  tree.write("sys/fs/cgroup/user.slice/cpu.max", "600000 100000\n");
  tree.write("sys/fs/cgroup/other.slice/cpu.max", "10000 100000\n");
  const auto answer = cpu_quota(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_DOUBLE_EQ(answer.limit->cpus, 3);
  EXPECT_EQ(answer.limit->file, "/sys/fs/cgroup/user.slice/session/cpu.max");
}

/// Version 1 has a mount for each controller; docker without a namespace shows the group's outside path in both files.
Tree& version1(Tree& tree, const std::string& mount_root, const std::string& group) {
  tree.write("proc/self/cgroup", "4:memory:" + group + "\n2:cpu,cpuacct:" + group + "\n0::/\n");
  return tree.write("proc/self/mountinfo", "30 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                                           "31 23 0:28 " + mount_root + " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                           "32 23 0:29 " + mount_root + " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
}

TEST(CpuQuota, Version1InsideAContainer) {
  Tree tree;
  version1(tree, "/docker/abc", "/docker/abc").write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
  tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
  const auto answer = cpu_quota(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_DOUBLE_EQ(answer.limit->cpus, 3);
  tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_TRUE(cpu_quota(tree.root()).known);
  EXPECT_FALSE(cpu_quota(tree.root()).limit);
}

TEST(CpuQuota, Version1OfAGroupBelowTheMount) {
  Tree tree;
  version1(tree, "/", "/slurm/job_7").write("sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us", "200000\n");
  const auto answer = cpu_quota(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_DOUBLE_EQ(answer.limit->cpus, 2) << "a period of 100 ms is the kernel's default";
}

TEST(CpuQuota, NonsenseIsUnknownNotUnlimited) {
  for (const char* wrong : {"", "0 100000", "100000 0", "many 100000", "-5 100000", "99999999999999999999 100000"}) {
    Tree tree;
    tree.good().write("sys/fs/cgroup/cpu.max", wrong);
    EXPECT_FALSE(cpu_quota(tree.root()).known) << wrong;
    EXPECT_EQ(tree.finding("cpu_quota").severity, Severity::Unknown) << wrong;
  }
}

TEST(CpuQuota, PathsThatGoUpStayBelowTheMount) {
  Tree tree;
  tree.cgroup2("/../outside").write("sys/fs/outside/cpu.max", "100000 100000\n").write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  const auto answer = cpu_quota(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_DOUBLE_EQ(answer.limit->cpus, 2);
}

TEST(MemoryLimit, BelowTheMachineIsInfoAndItsCacheCountsAsFree) {
  Tree tree;
  tree.good().memory(64, 60).write("sys/fs/cgroup/memory.max", std::to_string(16 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory.current", std::to_string(14 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory.stat", "anon 5\nactive_file 7\ninactive_file " + std::to_string(10 * kGiB) + "\n");
  Finding f = tree.finding("memory");
  EXPECT_EQ(f.severity, Severity::Info);
  EXPECT_THAT(f.title, HasSubstr("12.0 GiB of 16.0 GiB free (limited)"));
  EXPECT_THAT(f.remedy, HasSubstr("--memory"));
  f = tree.write("sys/fs/cgroup/memory.stat", "inactive_file 0\n").finding("memory");
  EXPECT_EQ(f.severity, Severity::Warning) << "2 GiB of 16 are left";
}

TEST(MemoryLimit, WhatTheMachineHasLeftMayBeLessThanTheLimit) {
  Tree tree;
  tree.good().memory(64, 3).write("sys/fs/cgroup/memory.max", std::to_string(16 * kGiB) + "\n");
  EXPECT_THAT(tree.finding("memory").title, HasSubstr("3.0 GiB of 16.0 GiB"));
}

TEST(MemoryLimit, HighLimitsToo) {
  Tree tree;
  tree.cgroup2().write("sys/fs/cgroup/memory.max", "max\n").write("sys/fs/cgroup/memory.high", std::to_string(8 * kGiB) + "\n");
  const auto answer = memory_limit(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_EQ(answer.limit->limit_bytes, 8 * kGiB);
}

TEST(MemoryLimit, Version1SaysUnlimitedByAHugeNumber) {
  Tree tree;
  version1(tree, "/", "/").write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_TRUE(memory_limit(tree.root()).known);
  EXPECT_FALSE(memory_limit(tree.root()).limit);
  tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(4 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory/memory.usage_in_bytes", std::to_string(3 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file " + std::to_string(kGiB) + "\n");
  const auto answer = memory_limit(tree.root());
  ASSERT_TRUE(answer.limit);
  EXPECT_EQ(answer.limit->left_bytes(), 2 * kGiB);
}

TEST(MemoryLimit, MoreUsedThanAllowedLeavesNothing) {
  Tree tree;
  tree.cgroup2().write("sys/fs/cgroup/memory.max", "1000\n").write("sys/fs/cgroup/memory.current", "2000\n");
  EXPECT_EQ(memory_limit(tree.root()).limit->left_bytes(), 0u);
}

}  // namespace
}  // namespace krasis

// How much memory of the machine this process can get, by invented /proc and cgroup files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/system/memory.h"
#include "tests/engine/system/tree.h"

namespace krasis {
namespace {

using test::Tree;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

Tree& limits(Tree& tree, const std::string& data, const std::string& address_space) {
  return tree.write("proc/self/limits",
                    "Limit                     Soft Limit           Hard Limit           Units     \n"
                    "Max cpu time              unlimited            unlimited            seconds   \n"
                    "Max data size             " + data + "            unlimited            bytes     \n"
                    "Max address space         " + address_space + "            unlimited            bytes     \n");
}

TEST(HostMemory, IsWhatTheKernelCallsAvailable) {
  Tree tree;
  tree.good().memory(64, 60);
  const HostMemory memory = host_memory({tree.root()});
  EXPECT_EQ(memory.total_bytes, 64 * kGiB);
  EXPECT_EQ(memory.available_bytes, 60 * kGiB);
}

TEST(HostMemory, IsNotMoreThanTheControlGroupLeaves) {
  Tree tree;
  tree.good().memory(64, 60).write("sys/fs/cgroup/memory.max", std::to_string(16 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory.current", std::to_string(3 * kGiB) + "\n");
  HostMemory memory = host_memory({tree.root()});
  EXPECT_EQ(memory.total_bytes, 16 * kGiB);
  EXPECT_EQ(memory.available_bytes, 13 * kGiB);
  tree.memory(64, 2);
  memory = host_memory({tree.root()});
  EXPECT_EQ(memory.total_bytes, 16 * kGiB);
  EXPECT_EQ(memory.available_bytes, 2 * kGiB) << "others have used up the machine's memory before the group's limit";
}

// A checkpoint that was read twice lies in the active part of the file cache. The kernel drops that, too, before it
// refuses memory.
TEST(HostMemory, TheControlGroupsFileCacheIsAvailable) {
  Tree tree;
  tree.good().memory(64, 60).write("sys/fs/cgroup/memory.max", std::to_string(16 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory.current", std::to_string(15 * kGiB) + "\n");
  tree.write("sys/fs/cgroup/memory.stat",
             fmt::format("anon {}\nactive_file {}\ninactive_file {}\n", kGiB, 10 * kGiB, 4 * kGiB));
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, 15 * kGiB);
}

TEST(HostMemory, ALimitAboveTheMachineChangesNothing) {
  Tree tree;
  tree.good().memory(64, 60).write("sys/fs/cgroup/memory.max", std::to_string(100 * kGiB) + "\n");
  const HostMemory memory = host_memory({tree.root()});
  EXPECT_EQ(memory.total_bytes, 64 * kGiB);
  EXPECT_EQ(memory.available_bytes, 60 * kGiB);
}

TEST(HostMemory, IsNotMoreThanUlimitLeaves) {
  Tree tree;
  limits(tree.good().memory(64, 60), "unlimited", std::to_string(8 * kGiB));
  tree.write("proc/self/status", "VmSize:\t 3145728 kB\nVmData:\t 1048576 kB\n");
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, 5 * kGiB) << "3 of 8 GiB of addresses are taken";
  limits(tree, std::to_string(4 * kGiB), "unlimited");
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, 3 * kGiB) << "1 of 4 GiB of data is taken";
  limits(tree, std::to_string(kGiB / 2), "unlimited");
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, 0u) << "more is taken than would be allowed now";
  limits(tree, "unlimited", "unlimited");
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, 60 * kGiB);
}

// Explicit huge pages are no part of MemAvailable, and control groups do not count them as memory.
TEST(HostMemory, ThePoolOfHugePagesComesBesideIt) {
  Tree tree;
  const std::string pool = "sys/kernel/mm/hugepages/hugepages-2048kB/";
  tree.good().memory(64, 10).write(pool + "free_hugepages", "2048\n").write(pool + "resv_hugepages", "1024\n");
  tree.write("sys/fs/cgroup/memory.max", std::to_string(8 * kGiB) + "\n");
  EXPECT_EQ(host_memory({tree.root()}).pool_bytes, 2 * kGiB);
  EXPECT_EQ(host_memory({tree.root()}).usable_bytes(), 10 * kGiB);
  limits(tree, "unlimited", std::to_string(9 * kGiB));
  EXPECT_EQ(host_memory({tree.root()}).usable_bytes(), 9 * kGiB) << "addresses are needed for either kind of page";
  tree.write(pool + "free_hugepages", "18446744073709551615\n");
  EXPECT_LE(host_memory({tree.root()}).usable_bytes(), 9 * kGiB);
  EXPECT_EQ((HostMemory{.pool_bytes = 5}).usable_bytes(), UINT64_MAX);
}

TEST(HostMemory, WhatTheKernelDoesNotSayLimitsNothing) {
  Tree tree;
  EXPECT_EQ(host_memory({tree.root()}).total_bytes, UINT64_MAX);
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, UINT64_MAX);
  for (const char* wrong :
       {"MemTotal: 5 kB\nMemAvailable: many kB\n", "MemTotal: 5 kB\n", "MemAvailable: 18446744073709551615 kB\n"}) {
    EXPECT_EQ(host_memory({tree.write("proc/meminfo", wrong).root()}).available_bytes, UINT64_MAX) << wrong;
  }
  tree.cgroup2().write("sys/fs/cgroup/memory.max", std::to_string(kGiB) + "\n");
  EXPECT_EQ(host_memory({tree.root()}).available_bytes, kGiB) << "the group's limit holds without it";
}

TEST(HostMemory, OfThisMachineIsSomeOfIt) {
  const HostMemory memory = host_memory();
  EXPECT_GT(memory.available_bytes, 1u << 20);
  EXPECT_LE(memory.available_bytes, memory.total_bytes);
  EXPECT_LT(memory.total_bytes, std::uint64_t{1} << 50);
}

}  // namespace
}  // namespace krasis

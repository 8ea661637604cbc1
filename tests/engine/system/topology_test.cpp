// Which nodes compute and which CPUs a team's members get, on machines that hwloc invents.
#include "engine/system/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/system/system_check.h"

namespace krasis {
namespace {

using system_files::NumberList;
using testing::ElementsAre;
using testing::IsEmpty;

/// With all CPUs allowed but those in `forbidden`.
std::vector<ComputeNode> nodes_of(const std::string& words, const NumberList& forbidden = {}) {
  const auto topology = invented_topology(words);
  if (!topology) return {};
  NumberList allowed;
  for (const int cpu : topology->cpus()) {
    if (std::find(forbidden.begin(), forbidden.end(), cpu) == forbidden.end()) allowed.push_back(cpu);
  }
  return compute_nodes(*topology, allowed);
}

TEST(ComputeNodes, HaveTheirCoresAndCpus) {
  const auto nodes = nodes_of("package:2 numa:1 core:3 pu:2");
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].id, 0);
  EXPECT_EQ(nodes[1].id, 1);
  EXPECT_THAT(nodes[0].cores, ElementsAre(NumberList{0, 1}, NumberList{2, 3}, NumberList{4, 5}));
  EXPECT_THAT(nodes[1].cores, ElementsAre(NumberList{6, 7}, NumberList{8, 9}, NumberList{10, 11}));
  EXPECT_EQ(nodes_of("core:4 pu:1").size(), 1u);
  EXPECT_FALSE(invented_topology("no such words"));
}

TEST(ComputeNodes, AreThoseThatTheProcessMayUse) {
  auto nodes = nodes_of("numa:3 core:2 pu:2", {1, 4, 5, 6, 7});
  ASSERT_EQ(nodes.size(), 2u) << "none of node 1's CPUs";
  EXPECT_EQ(nodes[1].id, 2);
  EXPECT_THAT(nodes[0].cores, ElementsAre(NumberList{0}, NumberList{2, 3}));

  auto topology = *invented_topology("numa:2 core:2 pu:1");
  const NumberList all = topology.cpus();
  topology.nodes[1].memory_allowed = false;
  EXPECT_EQ(compute_nodes(topology, all).size(), 1u) << "its memory is another group's";
  topology.nodes[1].memory_allowed = true;
  topology.nodes[0].memory_bytes = 0;
  nodes = compute_nodes(topology, all);
  ASSERT_EQ(nodes.size(), 1u) << "node 0 has no memory";
  EXPECT_EQ(nodes[0].id, 1);
}

/// HBM beside a socket's memory names the same CPUs; CXL names none.
TEST(ComputeNodes, MemoryAloneIsNone) {
  auto topology = *invented_topology("numa:2 core:2 pu:1");
  topology.nodes.push_back({.id = 2, .cpus = topology.nodes[0].cpus, .memory_bytes = 1 << 30, .memory_known = true});
  topology.nodes.push_back({.id = 3, .cpus = {}, .memory_bytes = 1 << 30, .memory_known = true});
  const auto nodes = compute_nodes(topology, topology.cpus());
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[1].id, 1);
}

TEST(CpusByNode, EachNodeHasItsPartOfTheMembers) {
  const auto nodes = nodes_of("numa:2 core:4 pu:2");  // node 0 has CPUs 0-7, node 1 8-15, two on each core
  EXPECT_THAT(cpus_by_node(nodes, 8), ElementsAre(0, 2, 4, 6, 8, 10, 12, 14));
  EXPECT_THAT(cpus_by_node(nodes, 4), ElementsAre(0, 2, 8, 10));
  EXPECT_THAT(cpus_by_node(nodes, 5), ElementsAre(0, 2, 4, 8, 10));
  EXPECT_THAT(cpus_by_node(nodes, 1), ElementsAre(0));
  EXPECT_THAT(cpus_by_node(nodes, 12), ElementsAre(0, 2, 4, 6, 1, 3, 8, 10, 12, 14, 9, 11)) << "second CPUs of cores";
  EXPECT_THAT(cpus_by_node(nodes, 0), IsEmpty());
  EXPECT_THAT(cpus_by_node({}, 2), ElementsAre(-1, -1));
  const auto many = cpus_by_node(nodes, 18);
  EXPECT_EQ(std::set(many.begin(), many.end()).size(), 17u) << "16 CPUs, and -1 for who gets none";
  EXPECT_EQ(std::count(many.begin(), many.end(), -1), 2);
}

/// Numbers of CPUs that go around the nodes, as some firmware counts.
TEST(CpusByNode, FollowsNodesNotNumbers) {
  EXPECT_THAT(cpus_by_node({{0, {{0, 8}, {2, 10}}}, {1, {{1, 9}, {3, 11}}}}, 4), ElementsAre(0, 2, 1, 3));
}

TEST(CpusByNode, ANodeWithFewerCoresBorrowsFromTheOthers) {
  const auto nodes = nodes_of("numa:2 core:4 pu:1", {1, 2, 3});
  EXPECT_THAT(cpus_by_node(nodes, 5), ElementsAre(0, 6, 7, 4, 5)) << "members 0 to 2 belong to node 0";
  EXPECT_THAT(cpus_by_node(nodes, 2), ElementsAre(0, 4));
}

TEST(ThisMachine, ItsNodesHaveTheCpusThatCompute) {
  const auto nodes = compute_nodes();
  if (nodes.empty()) GTEST_SKIP() << "hwloc does not know this machine's nodes";
  const std::size_t count = compute_cpus().size();
  const auto cpus = cpus_by_node(nodes, static_cast<int>(count));
  const std::set<int> different(cpus.begin(), cpus.end());
  EXPECT_EQ(different.size(), count);
  EXPECT_GE(*different.begin(), 0);
}

}  // namespace
}  // namespace krasis

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/system/system_files.h"

namespace krasis {

/// Cores and NUMA nodes of a machine. "CPU" is the kernel's word: a hardware thread.
struct Topology {
  struct Node {
    int id = 0;
    system_files::NumberList cpus;   ///< none for memory alone (CXL, HBM)
    std::uint64_t memory_bytes = 0;  ///< 0: none, or not known
    bool memory_known = false;
    bool memory_allowed = true;  ///< to this process
  };

  std::vector<system_files::NumberList> cores;  ///< the online CPUs of each physical core
  std::vector<Node> nodes;                      ///< at least one, unless the files do not say
  int packages = 0;

  system_files::NumberList cpus() const;
  /// Cores with at least one of these CPUs.
  int cores_with(const system_files::NumberList& cpus) const;
};

/// Of this machine, from hwloc, whatever the process may use of it; nullopt when hwloc finds no cores.
std::optional<Topology> topology_of_this_machine();
/// Of a machine that hwloc invents, e.g. from "numa:2 core:4 pu:1"; nullopt when the words make no sense to it.
std::optional<Topology> invented_topology(const std::string& words);
/// From /sys below `root`; nullopt when it does not name each online CPU's core. `nodes` is empty when it does not say.
std::optional<Topology> topology_from_files(const std::filesystem::path& root);

/// A NUMA node that a process can compute on from its own memory.
struct ComputeNode {
  int id = 0;                                   ///< the system's number
  std::vector<system_files::NumberList> cores;  ///< of each core the CPUs that the process may use
};
/// In the topology's order: those with memory that the process may use, and with cores of which it may use CPUs. A core
/// belongs to the first node that names its CPUs: memory beside another node's (HBM) is no node of its own.
std::vector<ComputeNode> compute_nodes(const Topology& topology, const system_files::NumberList& allowed);

/// CPUs for `threads` members of a team, so that member m computes on node number m * n / threads of the n nodes: the
/// same number on each, whatever they have, since each node's memory holds the same share of the weights. Members get
/// cores of their own as long as there are any, on another node where their own has too few (what those read then comes
/// from another node, too), then second CPUs of the cores; -1 when there are no more.
std::vector<int> cpus_by_node(const std::vector<ComputeNode>& nodes, int threads);

}  // namespace krasis

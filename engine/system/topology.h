#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
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
/// From /sys below `root`; nullopt when it does not name each online CPU's core. `nodes` is empty when it does not say.
std::optional<Topology> topology_from_files(const std::filesystem::path& root);

}  // namespace krasis

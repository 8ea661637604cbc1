#include "engine/system/topology.h"

#include <hwloc.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace krasis {
namespace {

using system_files::NumberList;
namespace files = system_files;

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, DestroyTopology>;

NumberList numbers(hwloc_const_bitmap_t set) {
  NumberList list;
  if (!set) return list;
  for (int n = hwloc_bitmap_first(set); n >= 0 && n < files::kMaxNumber; n = hwloc_bitmap_next(set, n)) list.push_back(n);
  return list;
}

/// hwloc's answer: all CPUs that are online, also those that this process may not use; or what `invented` says.
TopologyHandle load_hwloc(const std::string& invented) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  TopologyHandle topology(raw);
  if (hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0) return nullptr;
  if (!invented.empty() && hwloc_topology_set_synthetic(raw, invented.c_str()) != 0) return nullptr;
  if (hwloc_topology_load(raw) != 0) return nullptr;
  return topology;
}

std::optional<Topology> topology_by_hwloc(const std::string& invented) {
  const TopologyHandle handle = load_hwloc(invented);
  if (!handle) return std::nullopt;
  hwloc_topology_t hwloc = handle.get();
  Topology topology;
  // Where a virtual machine hides its cores, each processing unit counts as one.
  const hwloc_obj_type_t kind = hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(hwloc, kind, core));) {
    if (NumberList cpus = numbers(core->cpuset); !cpus.empty()) topology.cores.push_back(std::move(cpus));
  }
  hwloc_const_bitmap_t allowed = hwloc_topology_get_allowed_nodeset(hwloc);
  for (hwloc_obj_t node = nullptr; (node = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_NUMANODE, node));) {
    topology.nodes.push_back({.id = static_cast<int>(node->os_index),
                              .cpus = numbers(node->cpuset),
                              .memory_bytes = node->attr ? node->attr->numanode.local_memory : 0,
                              .memory_known = node->attr != nullptr,
                              .memory_allowed = !allowed || hwloc_bitmap_isset(allowed, node->os_index) != 0});
  }
  topology.packages = std::max(1, hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_PACKAGE));
  if (topology.cores.empty()) return std::nullopt;
  return topology;
}

std::vector<Topology::Node> nodes_from_files(const std::filesystem::path& folder) {
  std::vector<Topology::Node> nodes;
  const auto online = files::read_list(folder / "online");
  if (!online) return nodes;
  for (const int id : *online) {
    const std::string name = "node" + std::to_string(id);
    auto cpus = files::read_list(folder / name / "cpulist");
    if (!cpus) return {};
    Topology::Node node{.id = id, .cpus = std::move(*cpus)};
    if (const auto text = files::read_text(folder / name / "meminfo")) {
      if (const auto bytes = files::kib_value_of(*text, "Node " + std::to_string(id) + " MemTotal")) {
        node.memory_bytes = *bytes;
        node.memory_known = true;
      }
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace

NumberList Topology::cpus() const {
  NumberList all;
  for (const NumberList& core : cores) all.insert(all.end(), core.begin(), core.end());
  std::sort(all.begin(), all.end());
  return all;
}

int Topology::cores_with(const NumberList& cpus) const {
  return static_cast<int>(
      std::count_if(cores.begin(), cores.end(), [&](const NumberList& core) { return !files::common(core, cpus).empty(); }));
}

std::optional<Topology> topology_of_this_machine() {
  return topology_by_hwloc("");
}
std::optional<Topology> invented_topology(const std::string& words) {
  return topology_by_hwloc(words);
}

std::optional<Topology> topology_from_files(const std::filesystem::path& root) {
  const std::filesystem::path folder = root / "sys/devices/system";
  const auto online = files::read_list(folder / "cpu/online");
  if (!online || online->empty()) return std::nullopt;
  std::map<int, NumberList> cores;  // by the first CPU of each
  std::set<std::uint64_t> packages;
  for (const int cpu : *online) {
    const std::filesystem::path of_cpu = folder / "cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    const auto siblings = files::read_list(of_cpu / "thread_siblings_list");
    if (!siblings || !std::binary_search(siblings->begin(), siblings->end(), cpu)) return std::nullopt;
    cores[siblings->front()].push_back(cpu);
    packages.insert(files::read_number(of_cpu / "physical_package_id").value_or(0));
  }
  Topology topology;
  for (auto& [first, cpus] : cores) topology.cores.push_back(std::move(cpus));
  topology.nodes = nodes_from_files(folder / "node");
  topology.packages = static_cast<int>(packages.size());
  return topology;
}

std::vector<ComputeNode> compute_nodes(const Topology& topology, const NumberList& allowed) {
  std::vector<ComputeNode> nodes;
  std::vector<bool> taken(topology.cores.size());
  for (const Topology::Node& node : topology.nodes) {
    if (!node.memory_allowed || (node.memory_known && node.memory_bytes == 0)) continue;
    ComputeNode found{.id = node.id, .cores = {}};
    for (std::size_t i = 0; i < topology.cores.size(); ++i) {
      NumberList usable = files::common(files::common(topology.cores[i], node.cpus), allowed);
      if (taken[i] || usable.empty()) continue;
      taken[i] = true;
      found.cores.push_back(std::move(usable));
    }
    if (!found.cores.empty()) nodes.push_back(std::move(found));
  }
  return nodes;
}

std::vector<int> cpus_by_node(const std::vector<ComputeNode>& nodes, int threads) {
  struct Cpu {
    std::size_t node, nth;  ///< of its core's
    int number;
  };
  std::vector<Cpu> free;
  std::size_t most = 0;
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    for (const NumberList& core : nodes[node].cores) {
      for (std::size_t nth = 0; nth < core.size(); ++nth) free.push_back({node, nth, core[nth]});
      most = std::max(most, core.size());
    }
  }
  const auto count = static_cast<std::size_t>(std::max(threads, 0));
  std::vector<int> cpus(count, -1);
  for (std::size_t nth = 0; nth < most; ++nth) {
    for (const bool elsewhere : {false, true}) {
      for (std::size_t member = 0; member < count; ++member) {
        if (cpus[member] >= 0) continue;
        const std::size_t own = member * nodes.size() / count;
        const auto cpu = std::find_if(free.begin(), free.end(),
                                      [&](const Cpu& c) { return c.nth == nth && (elsewhere || c.node == own); });
        if (cpu == free.end()) continue;
        cpus[member] = cpu->number;
        free.erase(cpu);
      }
    }
  }
  return cpus;
}

}  // namespace krasis

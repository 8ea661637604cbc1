#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/system/topology.h"

namespace krasis {

enum class Severity : std::uint8_t {
  Ok,       ///< as it should be
  Info,     ///< worth knowing when figures are compared; costs little or cannot be changed from here
  Warning,  ///< costs speed, or makes a run fail; the remedy helps
  Unknown,  ///< the system does not say, or says something that cannot be
};
/// "ok", "info", "warning", "unknown".
std::string_view to_string(Severity severity);

/// One thing about this machine that decides how fast, or whether, experts run on its CPU.
struct Finding {
  std::string id;  ///< never changes: "governor", "smt", ...
  Severity severity = Severity::Unknown;
  std::string title;   ///< a few words with the result
  std::string detail;  ///< whole sentences with the figures that were read
  std::string remedy;  ///< what the user can do, whole sentences; empty: nothing to do
};

/// Where the kernel's files are: /proc and /sys below `root`.
struct SystemPaths {
  std::filesystem::path root = "/";
};

/// Looks at: governor, smt, transparent_huge_pages, huge_page_pool, numa, memory, instruction_sets, cpu_quota,
/// cpu_affinity; always all of them, in this order. Only reads, starts nothing, and changes nothing.
///
/// `program_simd` is what the program's operations say that they use (simd_level()); empty: told from the CPU's flags by
/// their rule. Cores and NUMA nodes come from hwloc for "/" and from the files alone below any other root. A file that
/// is missing or contradicts itself makes a finding Unknown. Takes some 10 ms.
std::vector<Finding> check_system(const SystemPaths& paths = {}, std::string_view program_simd = {});

/// A JSON array of objects with the members of Finding.
std::string to_json(const std::vector<Finding>& findings);

/// The physical cores that this process may use: those with at least one CPU in its affinity mask (and so in its
/// container's cpuset), at least 1. The default number of threads: SMT siblings share one core's ports and caches, so a
/// second thread there reads memory no faster. Asks hwloc each time, some 10 ms.
int physical_cores();

/// Where to compute: the first CPU of each of these cores, fewer where a container's quota gives less CPU time (a thread
/// beyond it would only be stopped in the middle of its work). At least one.
std::vector<int> compute_cpus();
/// The nodes of this machine, with the CPUs in this process's affinity mask; none when hwloc does not know them.
std::vector<ComputeNode> compute_nodes();

}  // namespace krasis

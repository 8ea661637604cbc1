#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/system/system_check.h"
#include "engine/system/topology.h"

/// The single checks behind check_system().
namespace krasis::findings {

/// What several checks need, read once.
struct SystemView {
  std::filesystem::path root;
  std::optional<Topology> topology;
  std::optional<system_files::NumberList> online;   ///< CPUs
  std::optional<system_files::NumberList> allowed;  ///< CPUs that are online and in the process's affinity mask
  std::string status;                               ///< /proc/self/status
  std::string meminfo;                              ///< /proc/meminfo

  std::filesystem::path cpu_folder() const { return root / "sys/devices/system/cpu"; }
};

Finding governor(const SystemView& view);
Finding smt(const SystemView& view);
Finding instruction_sets(const SystemView& view, std::string_view program_simd);
Finding cpu_quota(const SystemView& view);
Finding cpu_affinity(const SystemView& view);

Finding transparent_huge_pages(const SystemView& view);
Finding huge_page_pool(const SystemView& view);
Finding numa(const SystemView& view);
Finding memory(const SystemView& view);

/// "1 core", "2 cores".
std::string count_of(std::size_t count, std::string_view noun);

}  // namespace krasis::findings

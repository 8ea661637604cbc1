#include "engine/system/memory.h"

#include <algorithm>

#include "engine/system/cgroup.h"
#include "engine/system/system_files.h"

namespace krasis {
namespace {

namespace files = system_files;

/// What the soft limit `name` of /proc/self/limits leaves beside what `used` of /proc/self/status says is taken.
std::uint64_t left_of_limit(std::string_view limits, std::string_view name, std::string_view status,
                            std::string_view used) {
  for (const std::string_view line : files::split(limits, '\n')) {
    if (!line.starts_with(name)) continue;
    const std::string_view values = files::trimmed(line.substr(name.size()));
    const auto limit = files::parse_number(values.substr(0, values.find(' ')));  // "unlimited" is no number
    if (!limit) break;
    const std::uint64_t taken = files::kib_value_of(status, used).value_or(0);
    return *limit > taken ? *limit - taken : 0;
  }
  return UINT64_MAX;
}

std::uint64_t free_pool_bytes(const std::filesystem::path& folder) {
  constexpr std::uint64_t kPage = std::uint64_t{2} << 20;
  constexpr std::uint64_t kMost = (std::uint64_t{1} << 50) / kPage;  // no machine has as much
  const auto free = files::read_number(folder / "free_hugepages").value_or(0);
  const auto promised = files::read_number(folder / "resv_hugepages").value_or(0);
  return free > promised ? std::min(free - promised, kMost) * kPage : 0;
}

}  // namespace

HostMemory host_memory(const SystemPaths& paths) {
  const auto meminfo = files::read_text(paths.root / "proc/meminfo").value_or("");
  HostMemory memory{.total_bytes = files::kib_value_of(meminfo, "MemTotal").value_or(UINT64_MAX),
                    .available_bytes = files::kib_value_of(meminfo, "MemAvailable").value_or(UINT64_MAX)};
  if (const auto group = memory_limit(paths.root); group.limit) {
    memory.total_bytes = std::min(memory.total_bytes, group.limit->limit_bytes);
    memory.available_bytes = std::min(memory.available_bytes, group.limit->left_bytes());
  }
  memory.pool_bytes = free_pool_bytes(paths.root / "sys/kernel/mm/hugepages/hugepages-2048kB");
  const auto limits = files::read_text(paths.root / "proc/self/limits").value_or("");
  const auto status = files::read_text(paths.root / "proc/self/status").value_or("");
  for (const auto& [name, used] : {std::pair{"Max address space", "VmSize"}, std::pair{"Max data size", "VmData"}}) {
    const std::uint64_t left = left_of_limit(limits, name, status, used);
    memory.available_bytes = std::min(memory.available_bytes, left);
    memory.pool_bytes = std::min(memory.pool_bytes, left - memory.available_bytes);
  }
  return memory;
}

}  // namespace krasis

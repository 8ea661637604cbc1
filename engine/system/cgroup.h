#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace krasis {

/// A limit that a container, a service or a batch job puts on this process, of cgroup version 1 or 2. The strictest of
/// the process's own group and all groups above it that can be seen.
template <class Limit>
struct CgroupAnswer {
  bool known = false;          ///< false: no such hierarchy can be seen, or it says something that cannot be
  std::optional<Limit> limit;  ///< none: not limited
};

struct CpuQuota {
  double cpus = 0;   ///< CPU time per time: 2.5 = two and a half CPUs
  std::string file;  ///< that said so, below the root
};
/// v2: cpu.max; v1: cpu.cfs_quota_us over cpu.cfs_period_us.
CgroupAnswer<CpuQuota> cpu_quota(const std::filesystem::path& root);

struct MemoryLimit {
  std::uint64_t limit_bytes = 0;
  std::uint64_t used_bytes = 0;  ///< without the cache of files, which the kernel drops before it refuses memory
  std::string file;              ///< that said so, below the root
  std::uint64_t left_bytes() const { return limit_bytes > used_bytes ? limit_bytes - used_bytes : 0; }
};
/// The group with the least left. v2: memory.max and memory.high; v1: memory.limit_in_bytes.
CgroupAnswer<MemoryLimit> memory_limit(const std::filesystem::path& root);

}  // namespace krasis

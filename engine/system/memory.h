#pragma once

#include <cstdint>

#include "engine/system/system_check.h"

namespace krasis {

/// The machine's memory as far as this process may have it. Bytes; UINT64_MAX = the kernel does not say.
struct HostMemory {
  /// The machine's, or the limit of the process's control group if that is less.
  std::uint64_t total_bytes = UINT64_MAX;
  /// What the process can still get in pages of the usual kind: what the kernel calls available (MemAvailable), but not
  /// more than its control groups (cgroup.h) and its limits of addresses and data (ulimit -v and -d) leave.
  std::uint64_t available_bytes = UINT64_MAX;
  /// Beside it, for memory that asks for them: the pool's 2 MiB pages that nobody has or was promised; 0 = no pool.
  std::uint64_t pool_bytes = 0;

  /// Both.
  std::uint64_t usable_bytes() const {
    return available_bytes > UINT64_MAX - pool_bytes ? UINT64_MAX : available_bytes + pool_bytes;
  }
};

/// As it is now; reads a few small files below paths.root.
HostMemory host_memory(const SystemPaths& paths = {});

}  // namespace krasis

#pragma once

#include <string>

#include "kernels/host/operations/thread_team.h"

namespace krasis {

/// What this machine's memory gives, measured now. GB/s are 1e9 bytes.
struct Ceilings {
  double read_gb_per_s = 0;  ///< the team reading one large array
  double copy_gb_per_s = 0;  ///< one thread's memcpy: the host device's "link"; counts the bytes copied once
  int threads = 0;
};

/// Takes about a second: the best of several passes over arrays larger than the caches (1 GiB, less where little memory
/// is free). `team` should be the one that the engine computes with.
Ceilings measure_ceilings(ThreadTeam& team);

std::string to_json(const Ceilings& ceilings);

}  // namespace krasis

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/config/run_configuration.h"
#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {

/// What this machine gives, measured now. GB/s are 1e9 bytes; 0 = not known.
struct Ceilings {
  double read_gb_per_s = 0;  ///< the team reading one large array
  double copy_gb_per_s = 0;  ///< the link: page-locked memory to the GPU, or one thread's memcpy for the host device
  int threads = 0;
  double device_read_gb_per_s = 0;  ///< a GPU's own memory
  double dense_tflop_per_s = 0;     ///< a GPU's large dense BF16 product
};

/// Takes about a second: the best of several passes over arrays larger than the caches (1 GiB, less where little memory
/// is free). `team` should be the one that the engine computes with; of the configuration, device and GPUs matter.
/// `memory` is read instead of an array of its own if it is as large: weights that fill the machine leave no room for one.
Ceilings measure_ceilings(ThreadTeam& team, const RunConfiguration& configuration = {}, std::span<const std::byte> memory = {});

std::string to_json(const Ceilings& ceilings);

}  // namespace krasis

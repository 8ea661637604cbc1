#pragma once

#include <string>

namespace krasis {

/// What this machine's memory gives, measured now. GB/s are 1e9 bytes.
struct Ceilings {
  double read_gb_per_s = 0;  ///< all threads summing one large array
  double copy_gb_per_s = 0;  ///< one thread's memcpy: the host device's "link"; counts the bytes copied once
  int threads = 0;
};

/// Takes about a second: the best of several passes over arrays larger than the caches.
Ceilings measure_ceilings(int threads);

std::string to_json(const Ceilings& ceilings);

}  // namespace krasis

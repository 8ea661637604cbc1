#include "engine/runtime/compute_threads.h"

#include <vector>

#include "engine/system/system_check.h"

namespace krasis {

std::shared_ptr<ThreadTeam> make_thread_team(int threads) {
  if (threads > 0) return std::make_shared<ThreadTeam>(threads);
  const std::vector<int> cpus = compute_cpus();
  return std::make_shared<ThreadTeam>(static_cast<int>(cpus.size()), cpus);
}

}  // namespace krasis

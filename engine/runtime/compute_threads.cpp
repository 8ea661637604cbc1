#include "engine/runtime/compute_threads.h"

#include <vector>

#include "engine/system/system_check.h"

namespace krasis {

std::shared_ptr<ThreadTeam> make_thread_team(int threads, const std::vector<ComputeNode>& nodes) {
  if (nodes.size() > 1) {
    const int count = threads > 0 ? threads : static_cast<int>(compute_cpus().size());
    return std::make_shared<ThreadTeam>(count, cpus_by_node(nodes, count), static_cast<int>(nodes.size()));
  }
  if (threads > 0) return std::make_shared<ThreadTeam>(threads);
  const std::vector<int> cpus = compute_cpus();
  return std::make_shared<ThreadTeam>(static_cast<int>(cpus.size()), cpus);
}

}  // namespace krasis

#pragma once

#include <memory>
#include <vector>

#include "engine/system/topology.h"
#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {

/// The threads that compute on the CPU. `threads` 0 takes one for each physical core that this process may use (fewer
/// where a container's quota gives less CPU time) and keeps each on its core; another number leaves them to the system,
/// which knows what else runs.
///
/// With several `nodes` (RunConfiguration::numa) any number of threads is kept on CPUs, in order of the nodes
/// (cpus_by_node). A thread that the system does not let stay there runs anywhere: it computes the same, but reads from
/// other nodes.
std::shared_ptr<ThreadTeam> make_thread_team(int threads, const std::vector<ComputeNode>& nodes = {});

}  // namespace krasis

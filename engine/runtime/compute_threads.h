#pragma once

#include <memory>

#include "kernels/host/operations/thread_team.h"

namespace krasis {

/// The threads that compute on the CPU. `threads` 0 takes one for each physical core that this process may use (fewer
/// where a container's quota gives less CPU time) and keeps each on its core; another number leaves them to the system,
/// which knows what else runs.
std::shared_ptr<ThreadTeam> make_thread_team(int threads);

}  // namespace krasis

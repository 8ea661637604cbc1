#pragma once

#include "engine/bench/limits.h"
#include "engine/protocol/protocol.h"

namespace krasis {

/// What is known of this machine and this program without measuring: CPU, memory, kernel, governor, compiler, the
/// binary's fingerprint (of /proc/self/exe), and the findings of check_system() as "system_check", so that each run
/// stores what its machine was set to.
protocol::MachineFacts machine_facts();

}  // namespace krasis

#pragma once

#include "engine/bench/limits.h"
#include "engine/worker/protocol.h"

namespace krasis {

/// What is known of this machine and this program without measuring: CPU, memory, kernel, governor, compiler, the
/// binary's fingerprint (of /proc/self/exe).
protocol::MachineFacts machine_facts();

}  // namespace krasis

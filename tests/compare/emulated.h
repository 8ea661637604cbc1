#pragma once

#include <functional>
#include <string>

#include "engine/runtime/engine.h"

namespace krasis::compare {

/// Loads with "emulated avx512" or "emulated amx", the wider instruction sets' kernels for rows as the tests of this
/// tree emulate them. Slow; for checkpoints, and configurations that Engine::load accepts.
/// @return whether there is such a set
bool with_emulated(const std::string& set, const RunConfiguration& configuration,
                   const std::function<void(Engine&)>& use);

}  // namespace krasis::compare

#pragma once

#include <functional>
#include <string>

#include "engine/runtime/engine.h"

namespace krasis::compare {

/// "emulated avx512", "emulated amx": the wider rows kernels with their instructions emulated, as the tests of this tree
/// have them. Slow; checkpoints alone, and configurations that Engine::load accepts.
/// @return whether there is such a set
bool with_emulated(const std::string& set, const RunConfiguration& configuration, const std::function<void(Engine&)>& use);

}  // namespace krasis::compare

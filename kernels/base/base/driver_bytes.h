#pragma once

#include <cstddef>

namespace krasis {

/// What a GPU's memory holds beside what was allocated there: the rest of chunks, recorded graphs, kernels and
/// libraries that are loaded when they are first used. Plans count with it, measurements stay below it (PlaceUsage
/// "driver").
constexpr std::size_t kDriverBytes = std::size_t{768} << 20;

}  // namespace krasis

#pragma once

#include "kernels/blocks.h"
#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// router_block for few tokens in one kernel; false, and nothing is done, for shapes that it does not know.
bool router_few(const Launch& launch, const RouterBlock& block);

}  // namespace krasis::cuda

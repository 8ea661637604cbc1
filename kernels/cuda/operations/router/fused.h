#pragma once

#include "kernels/blocks.h"
#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// A router block that fuses_router(), in one kernel.
void router_fused(const Launch& launch, const RouterBlock& block);

}  // namespace krasis::cuda

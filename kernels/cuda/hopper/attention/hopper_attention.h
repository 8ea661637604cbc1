#pragma once

#include "kernels/cuda/operations/operations.h"

/// Attention of many tokens on Hopper, by warpgroup products (flash_kernel.cuh). Compiled for sm_90a alone.
namespace krasis::cuda::hopper {

/// AttentionPath::Hopper.
void attention(const Launch& launch, const AttentionArgs& args);

}  // namespace krasis::cuda::hopper

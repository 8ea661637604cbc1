#pragma once

#include "kernels/cuda/operations/operations.h"

/// Attention of many tokens on Hopper, by warpgroup products (flash_kernel.cuh). Compiled for sm_90a alone.
namespace krasis::cuda::hopper {

/// Attends if it is for these arguments: compute capability 9, head_dim 64, 128 or 256, at least 512 rows of
/// (token, head) for each cache head, 16-byte aligned addresses, a positive scale; for a cache in FP8
/// widened_cache_bytes of workspace. Otherwise nothing happens and the
/// result is false.
bool attention(const Launch& launch, const AttentionArgs& args);

}  // namespace krasis::cuda::hopper

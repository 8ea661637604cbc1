#pragma once

#include "kernels/cuda/operations/kv_cache.cuh"

/// The ways to attend, from which attention() chooses.
namespace krasis::cuda {

/// Any head_dim up to 512; a warp for each (token, head), key after key: right and slow.
void attention_any(const Launch& launch, const AttentionArgs& args);

}  // namespace krasis::cuda

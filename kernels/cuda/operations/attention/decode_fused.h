#pragma once

#include "kernels/blocks.h"
#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// The middle of a block that fuses_decode(), in one kernel: q's and k's norm, rotary, the cache, attention.
void attention_decode(const Launch& launch, const AttentionBlock& block);

}  // namespace krasis::cuda

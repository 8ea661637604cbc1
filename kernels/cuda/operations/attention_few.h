#pragma once

#include "kernels/blocks.h"
#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// The middle of attention_block for one token, in one kernel: q's and k's norm, rotary, the cache, attention. False,
/// and nothing is done, for shapes that it does not know.
bool attention_few(const Launch& launch, const AttentionBlock& block);

}  // namespace krasis::cuda

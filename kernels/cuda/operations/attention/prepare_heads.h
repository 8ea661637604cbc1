#pragma once

#include "kernels/cuda/operations/operations.h"

namespace krasis::cuda {

/// The middle of an attention block: q = rotary(norm(q)) in place, rotary(norm(k)) and v into the cache. head_dim up to
/// 512. k and v stay as the products gave them.
void prepare_heads(const Launch& launch, const AttentionBlock& block);

}  // namespace krasis::cuda

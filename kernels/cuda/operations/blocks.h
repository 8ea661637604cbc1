#pragma once

#include "kernels/blocks.h"
#include "kernels/cuda/operations/operations.h"

/// Blocks (kernels/blocks.h) with fewer launches than their primitives: a decode step is mostly launches. The results
/// are those of the primitives, rounded at the same points; sums of squares may run in another order.
namespace krasis::cuda {

/// q, k and v in one product where their formats agree and there are few tokens; q's and k's norm, rotary and the cache
/// in one kernel. k and v are workspaces: afterwards they hold what the products gave.
void attention_block(const Launch& launch, const AttentionBlock& block);

/// residual += down(glu(gate, up)); gate and up in one product where they can be.
void mlp_block(const Launch& launch, const MlpBlock& block);

/// normed = rms_norm(residual); ids, weights = top-k of router(normed). Few tokens: one kernel, whose last block of
/// threads picks.
void router_block(const Launch& launch, const RouterBlock& block);

/// logits = lm_head(rms_norm(residual))
void head_block(const Launch& launch, const HeadBlock& block);

/// The middle of attention_block: q = rotary(norm(q)) in place, rotary(norm(k)) and v into the cache. head_dim up to
/// 512.
void prepare_heads(const Launch& launch, const AttentionBlock& block);

}  // namespace krasis::cuda

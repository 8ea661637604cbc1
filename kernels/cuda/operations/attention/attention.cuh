#pragma once

#include "kernels/cuda/operations/cache/layout.cuh"

/// The ways to attend, from which attention() chooses.
namespace krasis::cuda {

/// Any head_dim up to 512; a warp for each (token, head), key after key: right and slow.
void attention_fallback(const Launch& launch, const AttentionArgs& args);

/// AttentionPath::Tiles and, with `split`, SplitTiles (flash.cuh).
void attention_tiles_bf16(const Launch& launch, const AttentionArgs& args, bool split);
void attention_tiles_fp8(const Launch& launch, const AttentionArgs& args, bool split);

/// What the blocks that share the keys of a query leave: for each split, token and head the sum of weights * values,
/// the maximum score and the sum of weights; the sum of weights is 0 where a split had no keys.
struct AttentionParts {
  float* sums = nullptr;    ///< [splits, tokens, heads, head_dim]
  float2* stats = nullptr;  ///< [splits, tokens, heads]: maximum, sum of weights
  int splits = 1;
};
/// out = the parts, brought to one maximum and divided by the sum of weights; added in the order of the splits.
void combine_attention(const Launch& launch, const AttentionArgs& args, const AttentionParts& parts);

}  // namespace krasis::cuda

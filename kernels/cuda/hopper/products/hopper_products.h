#pragma once

#include "kernels/cuda/operations/experts/sort_by_expert.cuh"

/// Products of many tokens on Hopper: warpgroup products with packed weights as the register operand, out^T = weight *
/// tokens^T, and tokens gathered row by row to shared memory (product_pipeline.cuh). Compiled for sm_90a alone.
///
/// A weight is unpacked once for each 128 tokens and rounded nowhere: integers are multiplied as they are, groups are
/// FP32 sums, and scales multiply those. Unpacking into a BF16 copy of a matrix would round its weights; besides, it
/// would be read and written again.
///
/// A row of a result depends neither on its place among the tokens nor on the block that computes it.
namespace krasis::cuda::hopper {

/// Tokens of a tile for the expert functions: what sort_by_expert() is asked for.
constexpr int kTileTokens = 128;

/// activated[i, :] = bf16(glu(gate(x), up(x))) for the i-th pair of the tiles' order.
void activate_experts(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles);
/// down[order[i], :] = down(activated[i, :])
void down_experts(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles);
/// As krasis::cuda::matmul.
void matmul(const Launch& launch, const MatmulArgs& args);

}  // namespace krasis::cuda::hopper

#pragma once

#include <span>

#include "kernels/host/operations/vector/kernels.h"
#include "kernels/operations.h"

/// Products of packed weights with tokens, tile by tile: the part that matmul and experts share.
namespace krasis::simd {

/// A tile: weights are unpacked to FP32 once for 128 tokens. 48 x 512 weights (96 KiB) and 128 x 512 activations (256
/// KiB) stay in a core's L2 cache, the 4 + 3 rows of 512 that the inner loop works on (14 KiB) in L1.
constexpr int kTileRows = 48;
constexpr int kTileTokens = 128;
constexpr int kTileColumns = 512;

/// A thread's own memory, allocated at its first tile.
struct TileScratch {
  alignas(64) float weights[kTileRows * kTileColumns];
  alignas(64) float x[kTileTokens * kTileColumns];
  alignas(64) float first[kTileTokens * kTileRows];   ///< results [tokens, kTileRows]
  alignas(64) float second[kTileTokens * kTileRows];  ///< the same, for a second matrix (gate and up)
};
TileScratch& tile_scratch();

/// The tokens of a tile: row n is x[index ? index[n] : n].
struct TokenRows {
  const bf16* x = nullptr;
  const std::int32_t* index = nullptr;
  int count = 0;  ///< at most kTileTokens
};

constexpr std::int64_t tiles(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

/// result[n, r] = sum_i weight[row_begin + r, i] * x[n, i]: [tokens.count, kTileRows], the first row_count of each row.
/// With one token the weights are used as they are read; with more the order of the sums is the same for any count.
void product_tile(const Kernels& k, const Matrix& weight, std::int64_t row_begin, int row_count,
                  const TokenRows& tokens, TileScratch& scratch, float* result);

void matmul(const Kernels& k, const MatmulArgs& args);
void matmuls(const Kernels& k, std::span<const MatmulArgs> products);
void experts(const Kernels& k, const ExpertsArgs& args);
void attention(const Kernels& k, const AttentionArgs& args);

}  // namespace krasis::simd

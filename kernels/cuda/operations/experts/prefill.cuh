#pragma once

#include "kernels/cuda/operations/experts/sort_by_expert.cuh"
#include "kernels/cuda/operations/tensor_cores/tile_product.cuh"

/// Experts of many tokens: one launch multiplies the tiles of all experts of a layer (tile_product.cuh).
namespace krasis::cuda {

/// activated[i, :] = bf16(glu(gate(x), up(x))) for the i-th pair of `order`. A tile of weights is 64 rows of gate and
/// the same of up: of a warp's 32 rows the first 16 are gate, so that both sums of a number meet in one thread.
/// blockIdx.x: tile of tokens, so that blocks which share weights run together; blockIdx.y: 64 rows.
template <class Product>
__global__ void __launch_bounds__(kTileThreads, 1)
    activate_tiles_kernel(ExpertPool pool, ExpertTiles tiles, const __nv_bfloat16* x, __nv_bfloat16* activated,
                          int top_k) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  if (static_cast<int>(blockIdx.x) >= *tiles.count) return;
  const ExpertTile tile = tiles.tiles[blockIdx.x];
  const std::uint8_t* block = pool.pool + pool.offsets[tile.expert];
  const int first_row = static_cast<int>(blockIdx.y) * (kTileWeightRows / 2);
  const int width = pool.gate.rows;
  typename Product::Sums sums = {};
  Product::run(
      sums, pool.gate,
      [&](int r) -> const __nv_bfloat16* {
        if (r >= tile.count) return nullptr;
        return x + static_cast<std::int64_t>(tiles.order[tile.first + r] / top_k) * pool.gate.columns;
      },
      [&](int r) {
        const bool is_up = r % 32 >= 16;
        const int row = first_row + r / 32 * 16 + r % 16;
        return weight_row(pool.gate, is_up ? block + pool.up_offset : block, row);
      },
      shared);
#pragma unroll
  for (int m = 0; m < Product::kTokens / 32; ++m) {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int local = Product::row(n, 0);
      const int row = first_row + local / 32 * 16 + local % 32;
      if (row >= width) continue;  // width is a multiple of 8, so row + 1 is there as well
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const int r = Product::token(m, i);
        if (r >= tile.count) continue;
        *reinterpret_cast<std::uint32_t*>(activated + static_cast<std::int64_t>(tile.first + r) * width + row) =
            to_pair(activate(pool.glu, sums[m][n][i], sums[m][n + 2][i]),
                    activate(pool.glu, sums[m][n][i + 1], sums[m][n + 2][i + 1]));
      }
    }
  }
}

/// down[order[i], :] = down(activated[i, :])
template <class Product>
__global__ void __launch_bounds__(kTileThreads, 1)
    down_tiles_kernel(ExpertPool pool, ExpertTiles tiles, const __nv_bfloat16* activated, float* down) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  if (static_cast<int>(blockIdx.x) >= *tiles.count) return;
  const ExpertTile tile = tiles.tiles[blockIdx.x];
  const std::uint8_t* matrix = pool.pool + pool.offsets[tile.expert] + pool.down_offset;
  const int first_row = static_cast<int>(blockIdx.y) * kTileWeightRows;
  typename Product::Sums sums = {};
  Product::run(
      sums, pool.down,
      [&](int r) -> const __nv_bfloat16* {
        if (r >= tile.count) return nullptr;
        return activated + static_cast<std::int64_t>(tile.first + r) * pool.down.columns;
      },
      [&](int r) { return weight_row(pool.down, matrix, first_row + r); }, shared);
#pragma unroll
  for (int m = 0; m < Product::kTokens / 32; ++m) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const int r = Product::token(m, i);
      if (r >= tile.count) continue;
      float* to = down + static_cast<std::int64_t>(tiles.order[tile.first + r]) * pool.down.rows + first_row;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const int row = Product::row(n, 0);
        if (first_row + row >= pool.down.rows) continue;  // a multiple of 8, too
        *reinterpret_cast<float2*>(to + row) = make_float2(sums[m][n][i], sums[m][n][i + 1]);
      }
    }
  }
}

void activate_tiles(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens);
void down_tiles(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens);

}  // namespace krasis::cuda

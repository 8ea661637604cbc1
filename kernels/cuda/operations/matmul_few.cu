#include <algorithm>

#include "kernels/cuda/operations/matmul_few.h"
#include "kernels/cuda/operations/row_product.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTileRows = 16;
constexpr int kTokens = 8;  ///< of one token tile

struct Jobs {
  FewTokensJob job[kMostJobs];
  WeightShape shape[kMostJobs];
  int first_tile[kMostJobs + 1];  ///< of each job, then the number of tiles
};

/// A block takes kWarps / split row tiles; `split` warps share the columns of one and add up in order.
template <class Product, int kTokenTiles>
__global__ void __launch_bounds__(kWarps* kWarp, 2)
    matmul_few_kernel(const __grid_constant__ Jobs jobs, const __nv_bfloat16* x, int tokens, int split) {
  __shared__ float4 partial[kWarps][kTokenTiles][kWarp];
  const int tile = static_cast<int>(blockIdx.x) * (kWarps / split) + warp_id() / split;
  const int part = warp_id() % split;
  int j = 0;
  while (j + 1 < kMostJobs && tile >= jobs.first_tile[j + 1]) ++j;
  const bool there = tile < jobs.first_tile[kMostJobs];
  const WeightShape& shape = jobs.shape[j];
  const int g = lane_id() / 4;
  const int row = (tile - jobs.first_tile[j]) * kTileRows + g;

  float sums[kTokenTiles][4] = {};
  if (there) {
    const __nv_bfloat16* token[kTokenTiles];
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      const int index = n * kTokens + g;
      token[n] = index < tokens ? x + static_cast<std::int64_t>(index) * shape.columns : nullptr;
    }
    const Range units = part_of(ceil_div(shape.columns, Product::kUnit.columns), part, split);
    const std::uint8_t* data = jobs.job[j].weight;
    Product::run(sums, shape, row_pointers(shape, data, data, row, row + 8), token, units.begin, units.end);
  }
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
    partial[warp_id()][n][lane_id()] = make_float4(sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
  }
  __syncthreads();
  if (part != 0 || !there) return;
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
    float4 sum = partial[warp_id()][n][lane_id()];
    for (int p = 1; p < split; ++p) {
      const float4 other = partial[warp_id() + p][n][lane_id()];
      sum.x += other.x;
      sum.y += other.y;
      sum.z += other.z;
      sum.w += other.w;
    }
    const ProductOutput& out = jobs.job[j].out;
    const int token = n * kTokens + lane_id() % 4 * 2;
    const std::int64_t at = static_cast<std::int64_t>(token) * shape.rows + row;
    if (token < tokens && row < shape.rows) put(out, at, sum.x);
    if (token + 1 < tokens && row < shape.rows) put(out, at + shape.rows, sum.y);
    if (token < tokens && row + 8 < shape.rows) put(out, at + 8, sum.z);
    if (token + 1 < tokens && row + 8 < shape.rows) put(out, at + shape.rows + 8, sum.w);
  }
}

}  // namespace

bool few_tokens_support(const MatrixLayout& layout, const std::byte* data, const bf16* x, std::int64_t tokens) {
  return tokens <= kMostFewTokens && tiles_support(layout.format) && layout.columns % kPiece == 0 &&
         is_aligned(data, 16) && is_aligned(x, 16);
}

void matmul_few(const Launch& launch, const bf16* x, std::int64_t tokens, std::span<const Matrix> weights,
                std::span<const ProductOutput> outputs) {
  Jobs jobs{};
  for (std::size_t i = 0; i < kMostJobs; ++i) {
    int tiles = 0;
    if (i < weights.size()) {
      jobs.job[i] = {bytes_of(weights[i].data), outputs[i]};
      jobs.shape[i] = shape_of(weights[i].layout);
      tiles = ceil_div(jobs.shape[i].rows, kTileRows);
    }
    jobs.first_tile[i + 1] = jobs.first_tile[i] + tiles;
  }
  const int tiles = jobs.first_tile[kMostJobs];
  if (tiles == 0 || tokens == 0) return;
  with_row_product(weights[0].layout.format, [&](auto product) {
    using Product = decltype(product);
    const int units = ceil_div(jobs.shape[0].columns, Product::kUnit.columns);
    // Enough warps to fill the device, as long as each has something to request ahead.
    int split = 1;
    while (split < kWarps && tiles * split < launch.multiprocessors * 16 && units / (split * 2) >= 2) split *= 2;
    const auto blocks = static_cast<unsigned>(ceil_div(tiles, kWarps / split));
    const auto kernel = tokens <= kTokens ? matmul_few_kernel<Product, 1> : matmul_few_kernel<Product, 2>;
    kernel<<<blocks, kWarps * kWarp, 0, launch.stream>>>(jobs, device_bf16(x), static_cast<int>(tokens), split);
  });
}

}  // namespace krasis::cuda

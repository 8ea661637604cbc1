#include <algorithm>

#include "kernels/cuda/operations/norm/fused.cuh"
#include "kernels/cuda/operations/matmul/decode.h"
#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/operations/tensor_cores/row_product.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTileRows = 16;
constexpr int kTokens = 8;  ///< of one token tile

struct Jobs {
  RowsJob job[kMostJobs];
  WeightShape shape[kMostJobs];
  int first_tile[kMostJobs + 1];  ///< of each job, then the number of tiles
  NormJob norm;                   ///< with kNorm
  const __nv_bfloat16* x;         ///< without
  int tokens;
  int split;
};

/// A block takes kWarps / split row tiles; `split` warps share the columns of one and add up in order.
/// kLong: a warp has more units than it requests at once.
template <class Product, int kTokenTiles, bool kLong, bool kNorm>
__global__ void __launch_bounds__(kWarps* kWarp, kLong || kTokenTiles > 1 ? 2 : 3)
    matmul_rows_kernel(const __grid_constant__ Jobs jobs) {
  extern __shared__ __align__(16) __nv_bfloat16 normed[];
  __shared__ float4 partial[kWarps][kTokenTiles][kWarp];
  __shared__ float scratch[kWarps];
  const int split = jobs.split, tokens = jobs.tokens;
  const int tile = static_cast<int>(blockIdx.x) * (kWarps / split) + warp_id() / split;
  const int part = warp_id() % split;
  int j = 0;
  while (j + 1 < static_cast<int>(kMostJobs) && tile >= jobs.first_tile[j + 1]) ++j;
  const bool there = tile < jobs.first_tile[kMostJobs];
  const WeightShape& shape = jobs.shape[j];
  const ProductOutput& out = jobs.job[j].out;
  const int g = lane_id() / 4;
  const int row = (tile - jobs.first_tile[j]) * kTileRows + g;
  const Range units = part_of(ceil_div(shape.columns, Product::kUnit.columns), part, split);
  const std::uint8_t* data = jobs.job[j].weight;
  const RowPointers rows = row_pointers(shape, data, data, row, row + 8);
  typename Product::Batch batch;
  if (there) Product::fetch(batch, shape, rows, units.begin, units.end);
  FusedNorm<kWarps * kWarp> norm;
  if constexpr (kNorm) norm.fetch(jobs.norm);

  wait_for_predecessor();
  // What is added to is on its way while the products run.
  float before[kTokenTiles][4] = {};
  const auto each_output = [&](auto use) {
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = n * kTokens + lane_id() % 4 * 2 + i % 2;
        const int r = row + i / 2 * 8;
        if (token < tokens && r < shape.rows) use(static_cast<std::int64_t>(token) * shape.rows + r, n, i);
      }
    }
  };
  if (there && part == 0 && out.accumulate) {
    each_output([&](std::int64_t at, int n, int i) { before[n][i] = out.accumulate[at]; });
  }
  if constexpr (kNorm) norm.run(jobs.norm, tokens, normed, scratch, false);
  float sums[kTokenTiles][4] = {};
  if (there) {
    const __nv_bfloat16* token[kTokenTiles];
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      const int index = n * kTokens + g;
      if constexpr (kNorm) {
        token[n] = index < tokens ? normed + index * (shape.columns + kNormPad) : nullptr;
      } else {
        token[n] = index < tokens ? jobs.x + static_cast<std::int64_t>(index) * shape.columns : nullptr;
      }
    }
    if constexpr (kLong) {
      Product::run(sums, batch, shape, rows, token, units.begin, units.end);
    } else {
      Product::add(sums, batch, shape, token, units.begin, units.end);
    }
  }
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
    partial[warp_id()][n][lane_id()] = make_float4(sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
  }
  __syncthreads();
  if (part != 0 || !there) return;
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
    for (int p = 1; p < split; ++p) {
      const float4 other = partial[warp_id() + p][n][lane_id()];
      sums[n][0] += other.x;
      sums[n][1] += other.y;
      sums[n][2] += other.z;
      sums[n][3] += other.w;
    }
  }
  each_output([&](std::int64_t at, int n, int i) {
    if (out.bf16) out.bf16[at] = __float2bfloat16_rn(sums[n][i]);
    if (out.f32) out.f32[at] = sums[n][i];
    if (out.accumulate) out.accumulate[at] = before[n][i] + sums[n][i];
  });
}

Jobs jobs_of(std::int64_t tokens, std::span<const Matrix> weights, std::span<const ProductOutput> outputs) {
  Jobs jobs{};
  jobs.tokens = static_cast<int>(tokens);
  for (std::size_t i = 0; i < kMostJobs; ++i) {
    int tiles = 0;
    if (i < weights.size()) {
      jobs.job[i] = {bytes_of(weights[i].data), outputs[i]};
      jobs.shape[i] = shape_of(weights[i].layout);
      tiles = ceil_div(jobs.shape[i].rows, kTileRows);
    }
    jobs.first_tile[i + 1] = jobs.first_tile[i] + tiles;
  }
  return jobs;
}

/// Warps that share the columns of a tile: enough to fill the device, as long as each has something to request ahead.
int split_of(const Launch& launch, int tiles, int units) {
  int split = 1;
  while (split < kWarps && tiles * split < launch.multiprocessors * 16 && units / (split * 2) >= 2) split *= 2;
  // Many rows: shorter blocks end closer together.
  return split == 1 && units >= 16 ? 2 : split;
}

template <bool kNorm>
void run_jobs(const Launch& launch, Jobs& jobs, const WeightFormat& format, std::size_t shared_bytes) {
  const int tiles = jobs.first_tile[kMostJobs];
  if (tiles == 0 || jobs.tokens == 0) return;
  with_row_product(format, [&](auto product) {
    using Product = decltype(product);
    const int units = ceil_div(jobs.shape[0].columns, Product::kUnit.columns);
    jobs.split = split_of(launch, tiles, units);
    const bool is_long = ceil_div(units, jobs.split) > Product::kAhead;
    const auto blocks = static_cast<unsigned>(ceil_div(tiles, kWarps / jobs.split));
    const auto run = [&](auto kernel) {
      launch_overlapped(launch, kernel, dim3(blocks), kWarps * kWarp, shared_bytes, jobs);
    };
    if (kNorm || jobs.tokens <= kTokens) {
      is_long ? run(matmul_rows_kernel<Product, 1, true, kNorm>) : run(matmul_rows_kernel<Product, 1, false, kNorm>);
    } else if constexpr (!kNorm) {
      is_long ? run(matmul_rows_kernel<Product, 2, true, false>) : run(matmul_rows_kernel<Product, 2, false, false>);
    }
  });
}

}  // namespace

void matmul_rows(const Launch& launch, const bf16* x, std::int64_t tokens, std::span<const Matrix> weights,
                 std::span<const ProductOutput> outputs) {
  Jobs jobs = jobs_of(tokens, weights, outputs);
  jobs.x = device_bf16(x);
  run_jobs<false>(launch, jobs, weights[0].layout.format, 0);
}

bool matmul_rows_normed(const Launch& launch, const NormJob& norm, std::int64_t tokens, std::span<const Matrix> weights,
                        std::span<const ProductOutput> outputs) {
  Jobs jobs = jobs_of(tokens, weights, outputs);
  jobs.norm = norm;
  const std::int64_t most_tiles = static_cast<std::int64_t>(launch.multiprocessors) * 8;
  if (jobs.first_tile[kMostJobs] > most_tiles) return false;
  run_jobs<true>(launch, jobs, weights[0].layout.format, fused_norm_bytes(norm, tokens));
  return true;
}

}  // namespace krasis::cuda

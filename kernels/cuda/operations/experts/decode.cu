#include <algorithm>

#include "kernels/cuda/operations/experts/pool.cuh"
#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/operations/tensor_cores/row_product.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTileRows = 8;  ///< rows of gate, and as many of up: together the 16 of an instruction

/// Where the experts lie is read only after the router: bring it near meanwhile.
__device__ void prefetch_offsets(const ExpertPool& pool) {
  for (int i = static_cast<int>(threadIdx.x) * 16; i < pool.experts; i += static_cast<int>(blockDim.x) * 16) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(pool.offsets + i));
  }
}

/// activated[pair, row] = bf16(glu(gate(x), up(x))) for one (token, pick) pair, blockIdx.y. A lane's two rows are row
/// g of gate and row g of up, so their sums meet in one lane. `split` warps share the columns of a tile.
/// kLong: a warp has more units than it requests at once.
template <class Product, bool kLong>
__global__ void __launch_bounds__(kWarps* kWarp, kLong ? 2 : 3)
    activate_decode_kernel(const __grid_constant__ ExpertPool pool, const std::int32_t* ids, const __nv_bfloat16* x,
                           __nv_bfloat16* activated, int top_k, int split) {
  __shared__ float2 partial[kWarps][kTileRows];
  prefetch_offsets(pool);
  const std::int64_t pair = blockIdx.y;
  const int tile = static_cast<int>(blockIdx.x) * (kWarps / split) + warp_id() / split;
  const int part = warp_id() % split;
  const int g = lane_id() / 4;
  const int row = tile * kTileRows + g;
  const bool there = tile * kTileRows < pool.gate.rows;
  const Range units = part_of(ceil_div(pool.gate.columns, Product::kUnit.columns), part, split);
  wait_for_predecessor();
  const std::uint8_t* block = pool.block(ids[pair]);
  if (!block) return;  // the whole block of threads
  float sums[1][4] = {};
  if (there) {
    // The token is column 0 of the instruction; the others are zeros.
    const __nv_bfloat16* const token[1] = {g == 0 ? x + pair / top_k * pool.gate.columns : nullptr};
    const RowPointers rows = row_pointers(pool.gate, block, block + pool.up_offset, row, row);
    typename Product::Batch batch;
    Product::fetch(batch, pool.gate, rows, units.begin, units.end);
    if constexpr (kLong) {
      Product::run(sums, batch, pool.gate, rows, token, units.begin, units.end);
    } else {
      Product::add(sums, batch, pool.gate, token, units.begin, units.end);
    }
  }
  if (lane_id() % 4 == 0) partial[warp_id()][g] = make_float2(sums[0][0], sums[0][2]);
  __syncthreads();
  if (part != 0 || lane_id() % 4 != 0 || row >= pool.gate.rows) return;
  float gate = 0.0f, up = 0.0f;
  for (int p = 0; p < split; ++p) {
    gate += partial[warp_id() + p][g].x;
    up += partial[warp_id() + p][g].y;
  }
  activated[pair * pool.gate.rows + row] = __float2bfloat16_rn(activate(pool.glu, gate, up));
}

constexpr int kDownRows = 16;
constexpr int kDownWarps = 16;
constexpr int kMostPicks = 64;  ///< whose weights are kept in shared memory

/// out[t, rows] += sum_j weights[j] * down_j(activated[j]) for 16 rows of one token: `split` warps for each pick, so
/// many picks at a time as there are warps; added in the order of j.
/// What the kernel before does not write is read ahead of its end: picks, weights, offsets and, of the first picks, the
/// experts' rows.
template <class Product>
__global__ void __launch_bounds__(kDownWarps* kWarp, 1)
    down_decode_kernel(const __grid_constant__ ExpertPool pool, const std::int32_t* ids, const float* weights,
                       const __nv_bfloat16* activated, float* out, int top_k, int split) {
  __shared__ float partial[kDownWarps][kDownRows];
  __shared__ float pick_weight[kMostPicks];
  __shared__ bool pick_here[kMostPicks];
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t t = blockIdx.y;
  const int g = lane_id() / 4;
  const int first_row = static_cast<int>(blockIdx.x) * kDownRows;
  const int row = first_row + g;
  const int own_row = first_row + thread;  // of the threads that add up
  const bool adds = thread < kDownRows && own_row < pool.down.rows;
  const int at_once = warps / split;
  const Range units = part_of(ceil_div(pool.down.columns, Product::kUnit.columns), warp_id() % split, split);
  const auto block_of = [&](int j) { return j < top_k ? pool.block(ids[t * top_k + j]) : nullptr; };
  const auto rows_of = [&](const std::uint8_t* block) {
    const std::uint8_t* data = block + pool.down_offset;
    return row_pointers(pool.down, data, data, row, row + 8);
  };

  const std::uint8_t* block = block_of(warp_id() / split);
  typename Product::Batch batch;
  if (block) Product::fetch(batch, pool.down, rows_of(block), units.begin, units.end);
  for (int j = thread; j < min(top_k, kMostPicks); j += static_cast<int>(blockDim.x)) {
    pick_weight[j] = weights[t * top_k + j];
    pick_here[j] = block_of(j) != nullptr;
  }
  float sum = adds ? out[t * pool.down.rows + own_row] : 0.0f;
  bool any = false;

  wait_for_predecessor();
  for (int first = 0; first < top_k; first += at_once) {
    const int j = first + warp_id() / split;
    if (first > 0) {
      block = block_of(j);
      if (block) Product::fetch(batch, pool.down, rows_of(block), units.begin, units.end);
    }
    if (block) {
      float sums[1][4] = {};
      const __nv_bfloat16* const token[1] = {g == 0 ? activated + (t * top_k + j) * pool.down.columns : nullptr};
      Product::run(sums, batch, pool.down, rows_of(block), token, units.begin, units.end);
      if (lane_id() % 4 == 0) {
        partial[warp_id()][g] = sums[0][0];
        partial[warp_id()][g + 8] = sums[0][2];
      }
    }
    __syncthreads();
    if (adds) {
      for (int k = first; k < min(top_k, first + at_once); ++k) {
        const bool here = k < kMostPicks ? pick_here[k] : block_of(k) != nullptr;
        if (!here) continue;
        float product = 0.0f;
        for (int p = 0; p < split; ++p) product += partial[(k - first) * split + p][thread];
        any = true;
        sum += (k < kMostPicks ? pick_weight[k] : weights[t * top_k + k]) * product;
      }
    }
    __syncthreads();  // before the next picks overwrite the parts
  }
  if (adds && any) out[t * pool.down.rows + own_row] = sum;
}

}  // namespace

void experts_decode(const Launch& launch, const ExpertsArgs& args) {
  const ExpertPool pool = pool_of(args);
  const auto pairs = static_cast<int>(args.ids.size);
  const int tokens = pairs / args.top_k;
  __nv_bfloat16* activated = scratch_of(args).activated;
  with_row_product(args.layout.gate.format, [&](auto product) {
    using Product = decltype(product);
    const int tiles = ceil_div(pool.gate.rows, kTileRows);
    const int units = ceil_div(pool.gate.columns, Product::kUnit.columns);
    int split = 1;
    while (split < kWarps && tiles * pairs * split < launch.multiprocessors * 16 && units / (split * 2) >= 2)
      split *= 2;
    const dim3 grid(static_cast<unsigned>(ceil_div(tiles, kWarps / split)), static_cast<unsigned>(pairs));
    const auto kernel = ceil_div(units, split) > Product::kAhead ? activate_decode_kernel<Product, true>
                                                                 : activate_decode_kernel<Product, false>;
    launch_overlapped(launch, kernel, grid, kWarps * kWarp, 0, pool, args.ids.data, device_bf16(args.x.data), activated,
                      args.top_k, split);
  });
  with_row_product(args.layout.down.format, [&](auto product) {
    using Product = decltype(product);
    const int units = ceil_div(pool.down.columns, Product::kUnit.columns);
    int split = 1;
    while (args.top_k * split * 2 <= kDownWarps && units / (split * 2) >= 2) split *= 2;
    const int warps = std::min(args.top_k * split, kDownWarps / split * split);
    const dim3 grid(static_cast<unsigned>(ceil_div(pool.down.rows, kDownRows)), static_cast<unsigned>(tokens));
    launch_overlapped(launch, down_decode_kernel<Product>, grid, static_cast<unsigned>(warps * kWarp), 0, pool,
                      args.ids.data, args.weights.data, activated, args.out.data, args.top_k, split);
  });
}

}  // namespace krasis::cuda

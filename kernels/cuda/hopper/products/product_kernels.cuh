#pragma once

#include "kernels/cuda/hopper/products/product_pipeline.cuh"
#include "kernels/cuda/operations/experts/sort_by_expert.cuh"
#include "kernels/cuda/operations/matmul/products.cuh"

/// What the pipeline multiplies: gate and up of experts, down of experts, one matrix. A job is cut into items of 128
/// rows of weights and up to 128 tokens; blocks take items in turns, those of the same tokens after one another.
namespace krasis::cuda::hopper {

/// As common.cuh's activate() but for the quotient: 2 ulp, where a division would take as long as all the rest.
template <Glu kGlu>
__device__ float activate_fast(float gate, float up) {
  float y;
  if constexpr (kGlu == Glu::SwiGlu) {
    asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(1.0f + expf(-gate)));
    return gate * y * up;
  } else {
    gate = gate > 7.0f ? 7.0f : gate;
    up = up > 7.0f ? 7.0f : up < -7.0f ? -7.0f : up;
    asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(1.0f + expf(-1.702f * gate)));
    return (up + 1.0f) * (gate * y);
  }
}

/// activated[i, :] = bf16(glu(gate(x), up(x))) for the i-th pair of `order`. The block's rows are 64 of gate and the
/// same 64 of up: in turns of 8, so that both sums of a number meet in one lane.
struct ActivateJob {
  ExpertPool pool;
  ExpertTiles tiles;
  const __nv_bfloat16* x;
  __nv_bfloat16* activated;
  int top_k;
  int row_tiles;

  struct Item {
    const ActivateJob& job;
    int first;
    int tokens;
    int first_row;
    const std::uint8_t* block;
    __device__ const __nv_bfloat16* x() const { return job.x; }
    __device__ std::uint32_t x_row(int r) const {
      return static_cast<std::uint32_t>(__ldg(job.tiles.order + first + r) / job.top_k);
    }
    __device__ const std::uint8_t* matrix() const { return block; }
    __device__ int own_row(int r) const { return min(first_row + r / 16 * 8 + r % 8, job.pool.gate.rows - 1); }
    __device__ std::int64_t part(int r) const { return r % 16 < 8 ? 0 : job.pool.up_offset; }
    __device__ std::uint32_t weight_row(int r) const {
      return static_cast<std::uint32_t>((part(r) + own_row(r) * job.pool.gate.row_bytes) / 16);
    }
    __device__ const std::uint8_t* scales(int r) const {
      return block + part(r) + job.pool.gate.scales_offset + own_row(r) * job.pool.gate.scale_row_bytes;
    }
  };
  __device__ const WeightShape& shape() const { return pool.gate; }
  __device__ int items() const { return *tiles.count * row_tiles; }
  __device__ Item item(int i) const {
    const ExpertTile tile = tiles.tiles[i / row_tiles];
    return {*this, tile.first, tile.count, i % row_tiles * 64, pool.pool + pool.offsets[tile.expert]};
  }
  /// Sums of a lane whose row (Multiplier::row) is `row`.
  template <int kTokens>
  __device__ void store(const Item& item, const float (&sums)[kTokens / 2], int row) const {
    if (pool.glu == Glu::SwiGlu) return store_as<Glu::SwiGlu, kTokens>(item, sums, row);
    store_as<Glu::ClampedSwiGlu, kTokens>(item, sums, row);
  }

 private:
  template <Glu kGlu, int kTokens>
  __device__ void store_as(const Item& item, const float (&sums)[kTokens / 2], int row) const {
    // After the transposition: this lane's token of 8, and 2 of the warp's 8 rows.
    const int own_row = item.first_row + row / 16 * 8 + lane_id() % 4 * 2;
    const int own_token = lane_id() / 4;
    __nv_bfloat16* to = activated + static_cast<std::int64_t>(item.first + own_token) * pool.gate.rows + own_row;
#pragma unroll
    for (int j = 0; j < kTokens / 8; ++j) {
      const std::uint32_t pair = transpose_tile(to_pair(activate_fast<kGlu>(sums[4 * j], sums[4 * j + 2]),
                                                        activate_fast<kGlu>(sums[4 * j + 1], sums[4 * j + 3])));
      // The width is a multiple of 8, so own_row + 1 is there as well.
      if (8 * j + own_token < item.tokens && own_row < pool.gate.rows) {
        *reinterpret_cast<std::uint32_t*>(to + static_cast<std::int64_t>(8 * j) * pool.gate.rows) = pair;
      }
    }
  }
};

/// down[order[i], :] = down(activated[i, :])
struct DownJob {
  ExpertPool pool;
  ExpertTiles tiles;
  const __nv_bfloat16* activated;
  float* down;
  int row_tiles;

  struct Item {
    const DownJob& job;
    int first;
    int tokens;
    int first_row;
    const std::uint8_t* data;
    __device__ const __nv_bfloat16* x() const {
      return job.activated + static_cast<std::int64_t>(first) * job.pool.down.columns;
    }
    __device__ std::uint32_t x_row(int r) const { return static_cast<std::uint32_t>(r); }
    __device__ const std::uint8_t* matrix() const { return data; }
    __device__ int own_row(int r) const { return min(first_row + r, job.pool.down.rows - 1); }
    __device__ std::uint32_t weight_row(int r) const {
      return static_cast<std::uint32_t>(own_row(r) * job.pool.down.row_bytes / 16);
    }
    __device__ const std::uint8_t* scales(int r) const {
      return data + job.pool.down.scales_offset + own_row(r) * job.pool.down.scale_row_bytes;
    }
  };
  __device__ const WeightShape& shape() const { return pool.down; }
  __device__ int items() const { return *tiles.count * row_tiles; }
  __device__ Item item(int i) const {
    const ExpertTile tile = tiles.tiles[i / row_tiles];
    return {*this, tile.first, tile.count, i % row_tiles * kStepRows,
            pool.pool + pool.offsets[tile.expert] + pool.down_offset};
  }
  template <int kTokens>
  __device__ void store(const Item& item, const float (&sums)[kTokens / 2], int row) const {
    const int own_row = item.first_row + row;
    if (own_row >= pool.down.rows) return;  // rows are a multiple of 8: the same for all lanes of the warp
    const bool both = own_row + 8 < pool.down.rows;
    // 8 lanes have neighbouring numbers of a token, which fill a sector of 32 bytes.
#pragma unroll
    for (int j = 0; j < kTokens / 4; ++j) {
      const int token = j / 2 * 8 + lane_id() % 4 * 2 + j % 2;
      if (token >= item.tokens) continue;
      float* to = down + static_cast<std::int64_t>(__ldg(tiles.order + item.first + token)) * pool.down.rows + own_row;
      to[0] = sums[j / 2 * 4 + j % 2];
      if (both) to[8] = sums[j / 2 * 4 + j % 2 + 2];
    }
  }
};

/// out = weight * x for one matrix (MatmulArgs).
struct MatrixJob {
  WeightShape weight;
  const std::uint8_t* data;
  const __nv_bfloat16* activations;
  ProductOutput out;
  int tokens;
  int row_tiles;

  struct Item {
    const MatrixJob& job;
    int first;
    int tokens;
    int first_row;
    __device__ const __nv_bfloat16* x() const {
      return job.activations + static_cast<std::int64_t>(first) * job.weight.columns;
    }
    __device__ std::uint32_t x_row(int r) const { return static_cast<std::uint32_t>(r); }
    __device__ const std::uint8_t* matrix() const { return job.data; }
    __device__ int own_row(int r) const { return min(first_row + r, job.weight.rows - 1); }
    __device__ std::uint32_t weight_row(int r) const {
      return static_cast<std::uint32_t>(own_row(r) * job.weight.row_bytes / 16);
    }
    __device__ const std::uint8_t* scales(int r) const {
      return job.data + job.weight.scales_offset + own_row(r) * job.weight.scale_row_bytes;
    }
  };
  __device__ const WeightShape& shape() const { return weight; }
  __device__ int items() const { return ceil_div(tokens, kMostTileTokens) * row_tiles; }
  __device__ Item item(int i) const {
    const int first = i / row_tiles * kMostTileTokens;
    return {*this, first, min(kMostTileTokens, tokens - first), i % row_tiles * kStepRows};
  }
  template <int kTokens>
  __device__ void store(const Item& item, const float (&sums)[kTokens / 2], int row) const {
    if (out.bf16 && weight.rows % 8 == 0) {
      store_bf16<kTokens>(item, sums, row);
    } else if (out.accumulate) {
      store_each<kTokens>(item, sums, row, [this](std::int64_t at, float sum) { out.accumulate[at] += sum; });
    } else if (out.f32) {
      store_each<kTokens>(item, sums, row, [this](std::int64_t at, float sum) { out.f32[at] = sum; });
    } else {
      store_each<kTokens>(item, sums, row,
                          [this](std::int64_t at, float sum) { out.bf16[at] = __float2bfloat16_rn(sum); });
    }
  }

 private:
  template <int kTokens, class Store>
  __device__ void store_each(const Item& item, const float (&sums)[kTokens / 2], int row, Store store_one) const {
    const int own_row = item.first_row + row;
    const bool first = own_row < weight.rows, second = own_row + 8 < weight.rows;
    const int own_token = lane_id() % 4 * 2;
    const std::int64_t begin = static_cast<std::int64_t>(item.first + own_token) * weight.rows + own_row;
#pragma unroll
    for (int j = 0; j < kTokens / 4; ++j) {
      const int token = j / 2 * 8 + j % 2;  // and the lane's own
      if (token + own_token >= item.tokens) continue;
      const std::int64_t at = begin + static_cast<std::int64_t>(token) * weight.rows;
      if (first) store_one(at, sums[j / 2 * 4 + j % 2]);
      if (second) store_one(at + 8, sums[j / 2 * 4 + j % 2 + 2]);
    }
  }
  template <int kTokens>
  __device__ void store_bf16(const Item& item, const float (&sums)[kTokens / 2], int row) const {
    const int own_row = item.first_row + row / 16 * 16 + lane_id() % 4 * 2;
    const int own_token = lane_id() / 4;
    __nv_bfloat16* to = out.bf16 + static_cast<std::int64_t>(item.first + own_token) * weight.rows + own_row;
#pragma unroll
    for (int j = 0; j < kTokens / 4; ++j) {
      const int at = j / 2 * 4 + j % 2 * 2;  // of rows 0 to 7, then of rows 8 to 15
      const std::uint32_t pair = transpose_tile(to_pair(sums[at], sums[at + 1]));
      if (j / 2 * 8 + own_token < item.tokens && own_row + j % 2 * 8 < weight.rows) {
        *reinterpret_cast<std::uint32_t*>(to + static_cast<std::int64_t>(j / 2 * 8) * weight.rows + j % 2 * 8) = pair;
      }
    }
  }
};

template <int kTokens, class Rows, class Job>
__device__ void multiply_item(Multiplier<Rows>& multiplier, const Job& job, const typename Job::Item& item, int steps) {
  float sums[kTokens / 2];
  multiplier.template multiply<kTokens>(sums, steps);
  job.template store<kTokens>(item, sums, multiplier.row());
}

template <class Rows, class Job>
__global__ void __launch_bounds__(kBlockThreads, 1) product_kernel(const __grid_constant__ Job job) {
  extern __shared__ std::uint8_t shared[];
  Pipeline<Rows> pipe(shared);
  if (threadIdx.x == 0) pipe.init();
  __syncthreads();
  const int items = job.items();
  const int stride = static_cast<int>(gridDim.x);
  // 168 registers for each thread at the start: 2 * 208 + 88 = 3 * 168.
  if (threadIdx.x >= 2 * kGroupThreads) {
    give_registers<88>();
    Copier<Rows> copier(pipe);
    for (int i = static_cast<int>(blockIdx.x); i < items; i += stride) copier.copy(job.item(i), job.shape());
    copier.finish();
  } else {
    take_registers<208>();
    Multiplier<Rows> multiplier(pipe);
    const int steps = ceil_div(job.shape().padded_columns, kStepColumns);
    for (int i = static_cast<int>(blockIdx.x); i < items; i += stride) {
      const auto item = job.item(i);
      if (item.tokens > 64)
        multiply_item<128>(multiplier, job, item, steps);
      else if (item.tokens > 32)
        multiply_item<64>(multiplier, job, item, steps);
      else if (item.tokens > 16)
        multiply_item<32>(multiplier, job, item, steps);
      else
        multiply_item<16>(multiplier, job, item, steps);
    }
  }
}

template <class Rows, class Job>
void launch_products(const Launch& launch, const Job& job, std::int64_t most_items) {
  const auto blocks = static_cast<unsigned>(most_items < launch.multiprocessors ? most_items : launch.multiprocessors);
  constexpr int kBytes = Pipeline<Rows>::kSharedBytes;
  cudaFuncSetAttribute(product_kernel<Rows, Job>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  product_kernel<Rows, Job><<<blocks, kBlockThreads, kBytes, launch.stream>>>(job);
}

/// The three jobs for one format; each is compiled in its own file (int4.cu, ...).
template <Element kElement, int kGroup>
struct Products {
  using Rows = PackedRows<kElement, kGroup>;
  static void activate(const Launch& launch, const ActivateJob& job, std::int64_t most_items) {
    launch_products<Rows>(launch, job, most_items);
  }
  static void down(const Launch& launch, const DownJob& job, std::int64_t most_items) {
    launch_products<Rows>(launch, job, most_items);
  }
  static void matrix(const Launch& launch, const MatrixJob& job, std::int64_t most_items) {
    launch_products<Rows>(launch, job, most_items);
  }
};

}  // namespace krasis::cuda::hopper

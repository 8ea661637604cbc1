#include "kernels/cuda/operations/matmul/prefill.h"
#include "kernels/cuda/operations/tensor_cores/tile_product.cuh"

namespace krasis::cuda {
namespace {

/// Two neighbouring numbers of one token, together where the address allows.
__device__ void put_two(const ProductOutput& out, std::int64_t at, float first, float second, bool both) {
  if (!both || at % 2 != 0) {
    put(out, at, first);
    if (both) put(out, at + 1, second);
  } else if (out.bf16) {
    *reinterpret_cast<std::uint32_t*>(out.bf16 + at) = to_pair(first, second);
  } else if (out.f32) {
    *reinterpret_cast<float2*>(out.f32 + at) = make_float2(first, second);
  } else {
    auto* to = reinterpret_cast<float2*>(out.accumulate + at);
    const float2 before = *to;
    *to = make_float2(before.x + first, before.y + second);
  }
}

/// Blocks that share weights follow one another (blockIdx.x counts token tiles), so that a weight comes from device
/// memory once.
template <class Product>
__global__ void __launch_bounds__(kTileThreads, 1)
    matmul_tiles_kernel(const __nv_bfloat16* x, WeightShape shape, const std::uint8_t* weight, ProductOutput out,
                        int tokens) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  const int first_token = static_cast<int>(blockIdx.x) * Product::kTokens;
  const int first_row = static_cast<int>(blockIdx.y) * kTileWeightRows;
  typename Product::Sums sums = {};
  Product::run(
      sums, shape,
      [&](int r) -> const __nv_bfloat16* {
        const int token = first_token + r;
        return token < tokens ? x + static_cast<std::int64_t>(token) * shape.columns : nullptr;
      },
      [&](int r) { return weight_row(shape, weight, first_row + r); }, shared);
#pragma unroll
  for (int m = 0; m < Product::kTokens / 32; ++m) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int row = first_row + Product::row(n, 0);
      if (row >= shape.rows) continue;
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const int token = first_token + Product::token(m, i);
        if (token >= tokens) continue;
        put_two(out, static_cast<std::int64_t>(token) * shape.rows + row, sums[m][n][i], sums[m][n][i + 1],
                row + 1 < shape.rows);
      }
    }
  }
}

template <int kM>
void run(const Launch& launch, const MatmulArgs& args) {
  const WeightShape shape = shape_of(args.weight.layout);
  with_tile_product<kM>(args.weight.layout.format, [&](auto product) {
    using Product = decltype(product);
    const dim3 grid(blocks_for(args.tokens, Product::kTokens), blocks_for(shape.rows, kTileWeightRows));
    launch_with_shared(launch, matmul_tiles_kernel<Product>, grid, kTileThreads, Product::kSharedBytes,
                       device_bf16(args.x.data), shape, bytes_of(args.weight.data), output_of(args),
                       static_cast<int>(args.tokens));
  });
}

}  // namespace

void matmul_tiles(const Launch& launch, const MatmulArgs& args) {
  if (args.tokens == 0 || args.weight.layout.rows == 0) return;
  // Large tiles read shared memory less for each product, but the device has to have enough of them.
  const std::int64_t large =
      ceil_div<std::int64_t>(args.tokens, 128) * ceil_div<std::int64_t>(args.weight.layout.rows, kTileWeightRows);
  if (large >= launch.multiprocessors) return run<4>(launch, args);
  run<2>(launch, args);
}

}  // namespace krasis::cuda

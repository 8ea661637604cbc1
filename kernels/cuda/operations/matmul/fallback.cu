#include "kernels/cuda/operations/matmul/products.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;

__global__ void __launch_bounds__(kWarps* kWarp)
    matmul_fallback_kernel(const __nv_bfloat16* x, WeightShape shape, const std::uint8_t* weight, ProductOutput out,
                           std::int64_t outputs) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(); at < outputs; at += stride) {
    const std::int64_t t = at / shape.rows;
    const int row = static_cast<int>(at % shape.rows);
    const __nv_bfloat16* from = x + t * shape.columns;
    float sum = 0.0f;
    for (int i = lane_id(); i < shape.columns; i += kWarp) {
      sum += weight_at(shape, weight, row, i) * __bfloat162float(from[i]);
    }
    sum = warp_sum(sum);
    if (lane_id() == 0) put(out, at, sum);
  }
}

}  // namespace

void matmul_fallback(const Launch& launch, const MatmulArgs& args) {
  const std::int64_t outputs = args.tokens * args.weight.layout.rows;
  if (outputs == 0) return;
  const auto most = static_cast<unsigned>(launch.multiprocessors) * 8u;
  const unsigned wanted = blocks_for(outputs, kWarps);
  const unsigned blocks = wanted < most ? wanted : most;
  matmul_fallback_kernel<<<blocks, kWarps * kWarp, 0, launch.stream>>>(
      device_bf16(args.x.data), shape_of(args.weight.layout), bytes_of(args.weight.data), output_of(args), outputs);
}

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/common.cuh"

/// The ways to multiply, from which matmul() and experts() choose.
namespace krasis::cuda {

/// Where a product goes; exactly one is not null.
struct ProductOutput {
  __nv_bfloat16* bf16 = nullptr;
  float* f32 = nullptr;
  float* accumulate = nullptr;
};
inline ProductOutput output_of(const MatmulArgs& args) {
  return {device_bf16(args.out_bf16.data), args.out_f32.data, args.accumulate.data};
}
__device__ inline void put(const ProductOutput& out, std::int64_t at, float value) {
  if (out.bf16) out.bf16[at] = __float2bfloat16_rn(value);
  if (out.f32) out.f32[at] = value;
  if (out.accumulate) out.accumulate[at] += value;
}

/// Any format, any shape, a warp for each number: right and slow.
void matmul_fallback(const Launch& launch, const MatmulArgs& args);
void experts_fallback(const Launch& launch, const ExpertsArgs& args);

}  // namespace krasis::cuda

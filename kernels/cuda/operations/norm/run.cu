#include "kernels/cuda/operations/common.cuh"
#include "kernels/cuda/operations/overlap.cuh"

namespace krasis::cuda {
namespace {

constexpr int kNormThreads = 512;

/// One block for each token. The row is read twice, the second time from the L1 cache.
/// kVector: rows of 4 floats at 16-byte aligned addresses.
template <bool kVector>
__global__ void __launch_bounds__(kNormThreads)
    rms_norm_kernel(const float* x, const __nv_bfloat16* weight, __nv_bfloat16* out, int width, float epsilon) {
  __shared__ float scratch[kNormThreads / kWarp];
  wait_for_predecessor();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * width;
  x += begin;
  out += begin;
  float sum = 0.0f;
  if constexpr (kVector) {
    for (int i = 4 * static_cast<int>(threadIdx.x); i < width; i += 4 * kNormThreads) {
      const float4 v = *reinterpret_cast<const float4*>(x + i);
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < width; i += kNormThreads) sum += x[i] * x[i];
  }
  const float norm = sqrtf(block_sum(sum, scratch) / static_cast<float>(width) + epsilon);
  if constexpr (kVector) {
    for (int i = 4 * static_cast<int>(threadIdx.x); i < width; i += 4 * kNormThreads) {
      const float4 v = *reinterpret_cast<const float4*>(x + i);
      const auto* w = reinterpret_cast<const __nv_bfloat162*>(weight + i);
      const float2 w0 = __bfloat1622float2(w[0]);
      const float2 w1 = __bfloat1622float2(w[1]);
      auto* to = reinterpret_cast<__nv_bfloat162*>(out + i);
      to[0] = __floats2bfloat162_rn(v.x / norm * w0.x, v.y / norm * w0.y);
      to[1] = __floats2bfloat162_rn(v.z / norm * w1.x, v.w / norm * w1.y);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < width; i += kNormThreads) {
      out[i] = __float2bfloat16_rn(x[i] / norm * __bfloat162float(weight[i]));
    }
  }
}

constexpr int kHeadWarps = 8;

/// One warp for each row.
__global__ void __launch_bounds__(kHeadWarps* kWarp)
    head_norm_kernel(__nv_bfloat16* x, const __nv_bfloat16* weight, std::int64_t rows, int head_dim, float epsilon) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kHeadWarps + warp_id();
  if (row >= rows) return;
  x += row * head_dim;
  float sum = 0.0f;
  for (int i = lane_id(); i < head_dim; i += kWarp) {
    const float v = __bfloat162float(x[i]);
    sum += v * v;
  }
  const float norm = sqrtf(warp_sum(sum) / static_cast<float>(head_dim) + epsilon);
  for (int i = lane_id(); i < head_dim; i += kWarp) {
    x[i] = __float2bfloat16_rn(__bfloat162float(x[i]) / norm * __bfloat162float(weight[i]));
  }
}

/// One warp for each row.
__global__ void __launch_bounds__(kHeadWarps* kWarp)
    gated_norm_kernel(const __nv_bfloat16* x, const __nv_bfloat16* gate, const __nv_bfloat16* weight,
                      __nv_bfloat16* out, std::int64_t rows, int width, float epsilon) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kHeadWarps + warp_id();
  if (row >= rows) return;
  const std::int64_t begin = row * width;
  float sum = 0.0f;
  for (int i = lane_id(); i < width; i += kWarp) {
    const float v = __bfloat162float(x[begin + i]);
    sum += v * v;
  }
  const float norm = sqrtf(warp_sum(sum) / static_cast<float>(width) + epsilon);
  const auto rounded = [](float v) { return __bfloat162float(__float2bfloat16_rn(v)); };
  for (int i = lane_id(); i < width; i += kWarp) {
    const float normed = rounded(__bfloat162float(x[begin + i]) / norm);
    const float weighted = rounded(__bfloat162float(weight[i]) * normed);
    out[begin + i] = __float2bfloat16_rn(activate(Glu::SwiGlu, __bfloat162float(gate[begin + i]), weighted));
  }
}

}  // namespace

template <>
void run(const Launch& launch, const RmsNormArgs& args) {
  if (args.x.empty()) return;
  const auto tokens = static_cast<unsigned>(args.x.size / static_cast<std::size_t>(args.width));
  const bool vector = args.width % 4 == 0 && is_aligned(args.x.data, 16) && is_aligned(args.weight.data, 8) &&
                      is_aligned(args.out.data, 8);
  const auto kernel = vector ? rms_norm_kernel<true> : rms_norm_kernel<false>;
  launch_overlapped(launch, kernel, dim3(tokens), kNormThreads, 0, args.x.data, device_bf16(args.weight.data),
                    device_bf16(args.out.data), static_cast<int>(args.width), args.epsilon);
}

template <>
void run(const Launch& launch, const HeadNormArgs& args) {
  const auto rows = static_cast<std::int64_t>(args.x.size) / args.head_dim;
  head_norm_kernel<<<blocks_for(rows, kHeadWarps), kHeadWarps * kWarp, 0, launch.stream>>>(
      device_bf16(args.x.data), device_bf16(args.weight.data), rows, static_cast<int>(args.head_dim), args.epsilon);
}

template <>
void run(const Launch& launch, const GatedNormArgs& args) {
  if (args.x.empty()) return;
  const auto rows = static_cast<std::int64_t>(args.x.size) / args.width;
  gated_norm_kernel<<<blocks_for(rows, kHeadWarps), kHeadWarps * kWarp, 0, launch.stream>>>(
      device_bf16(args.x.data), device_bf16(args.gate.data), device_bf16(args.weight.data), device_bf16(args.out.data),
      rows, static_cast<int>(args.width), args.epsilon);
}

}  // namespace krasis::cuda

#include "kernels/cuda/operations/attention/prepare_heads.h"
#include "kernels/cuda/operations/cache/layout.cuh"
#include "kernels/cuda/operations/overlap.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMostEach = 8;  ///< pairs of a lane: head_dim up to 512

struct HeadsJob {
  __nv_bfloat16* q;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  const __nv_bfloat16* q_norm;  ///< null = none
  const __nv_bfloat16* k_norm;
  const float* inverse_frequency;
  KvPointers cache;
  BatchPointers batch;
  int heads;
  float epsilon;
};

/// One warp for each head of q, k and v of each token; a lane holds the pairs (i, i + head_dim / 2) for i = lane, lane
/// + 32, ... Each step rounds to BF16 as its own operation would: norm, rotary, cache.
template <KvElement kElement>
__global__ void __launch_bounds__(kWarps* kWarp) prepare_heads_kernel(HeadsJob job) {
  wait_for_predecessor();
  const KvPointers& cache = job.cache;
  const int all_heads = job.heads + 2 * cache.heads;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
  const std::int64_t t = index / all_heads;
  if (t >= job.batch.tokens) return;
  int head = static_cast<int>(index % all_heads);
  const bool is_q = head < job.heads;
  const bool is_v = head >= job.heads + cache.heads;
  head -= is_q ? 0 : is_v ? job.heads + cache.heads : job.heads;
  const int d = cache.head_dim, half = d / 2;
  const __nv_bfloat16* from = is_q   ? job.q + (t * job.heads + head) * d
                              : is_v ? job.v + (t * cache.heads + head) * d
                                     : job.k + (t * cache.heads + head) * d;
  float a[kMostEach], b[kMostEach];
#pragma unroll
  for (int n = 0; n < kMostEach; ++n) {
    const int i = lane_id() + n * kWarp;
    a[n] = i < half ? __bfloat162float(from[i]) : 0.0f;
    b[n] = i < half ? __bfloat162float(from[i + half]) : 0.0f;
  }
  const auto rounded = [](float v) { return __bfloat162float(__float2bfloat16_rn(v)); };
  const __nv_bfloat16* weight = is_q ? job.q_norm : is_v ? nullptr : job.k_norm;
  if (weight) {
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kMostEach; ++n) sum += a[n] * a[n] + b[n] * b[n];
    const float norm = sqrtf(warp_sum(sum) / static_cast<float>(d) + job.epsilon);
#pragma unroll
    for (int n = 0; n < kMostEach; ++n) {
      const int i = lane_id() + n * kWarp;
      if (i >= half) continue;
      a[n] = rounded(a[n] / norm * __bfloat162float(weight[i]));
      b[n] = rounded(b[n] / norm * __bfloat162float(weight[i + half]));
    }
  }
  const int position = job.batch.positions[t];
  if (!is_v) {
#pragma unroll
    for (int n = 0; n < kMostEach; ++n) {
      const int i = lane_id() + n * kWarp;
      if (i >= half) continue;
      float sine, cosine;
      sincosf(__fmul_rn(static_cast<float>(position), job.inverse_frequency[i]), &sine, &cosine);
      const float first = rounded(a[n] * cosine - b[n] * sine);
      b[n] = rounded(b[n] * cosine + a[n] * sine);
      a[n] = first;
    }
  }
  if (is_q) {
    __nv_bfloat16* to = job.q + (t * job.heads + head) * d;
#pragma unroll
    for (int n = 0; n < kMostEach; ++n) {
      const int i = lane_id() + n * kWarp;
      if (i >= half) continue;
      to[i] = __float2bfloat16_rn(a[n]);
      to[i + half] = __float2bfloat16_rn(b[n]);
    }
    return;
  }
  const int slot = first_slot_of(job.batch, static_cast<int>(t));
  const std::int64_t row = static_cast<std::int64_t>(slot) + position;
  if (slot < 0 || row < 0 || row >= cache.rows) return;
  const std::int64_t line = row * cache.heads + head;
  const KvPlanePointers& plane = is_v ? cache.values : cache.keys;
  float scale = 1.0f;
  if constexpr (kElement == KvElement::Fp8) {
    float largest = 0.0f;
#pragma unroll
    for (int n = 0; n < kMostEach; ++n) largest = fmaxf(largest, fmaxf(fabsf(a[n]), fabsf(b[n])));
    scale = warp_max(largest) / 448.0f;
    if (scale == 0.0f) scale = 1.0f;
    if (lane_id() == 0) plane.scales[line] = scale;
  }
#pragma unroll
  for (int n = 0; n < kMostEach; ++n) {
    const int i = lane_id() + n * kWarp;
    if (i >= half) continue;
    if constexpr (kElement == KvElement::Fp8) {
      plane.values[line * d + i] = to_e4m3(a[n] / scale);
      plane.values[line * d + i + half] = to_e4m3(b[n] / scale);
    } else {
      auto* to = reinterpret_cast<__nv_bfloat16*>(plane.values) + line * d;
      to[i] = __float2bfloat16_rn(a[n]);
      to[i + half] = __float2bfloat16_rn(b[n]);
    }
  }
}

}  // namespace

void prepare_heads(const Launch& launch, const AttentionBlock& b) {
  const HeadsJob job{device_bf16(b.q.data),
                     device_bf16(b.k.data),
                     device_bf16(b.v.data),
                     b.q_norm.empty() ? nullptr : device_bf16(b.q_norm.data),
                     b.k_norm.empty() ? nullptr : device_bf16(b.k_norm.data),
                     b.inverse_frequency.data,
                     pointers_of(b.cache),
                     pointers_of(b.batch),
                     b.heads,
                     b.epsilon};
  const std::int64_t warps = static_cast<std::int64_t>(b.batch.tokens) * (b.heads + 2 * b.cache.heads);
  const auto kernel =
      b.cache.element == KvElement::Bf16 ? prepare_heads_kernel<KvElement::Bf16> : prepare_heads_kernel<KvElement::Fp8>;
  launch_overlapped(launch, kernel, dim3(blocks_for(warps, kWarps)), kWarps * kWarp, 0, job);
}

}  // namespace krasis::cuda

#include "kernels/cuda/operations/attention/attention.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMostEach = 16;  ///< numbers of a head that a lane holds: head_dim up to 512

template <KvElement kElement>
__global__ void __launch_bounds__(kWarps* kWarp)
    attention_fallback_kernel(const __nv_bfloat16* q, KvPointers cache, BatchPointers batch, __nv_bfloat16* out,
                              int heads, float scale) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
  if (index >= static_cast<std::int64_t>(batch.tokens) * heads) return;
  const int t = static_cast<int>(index / heads);
  const int head = static_cast<int>(index % heads);
  const int kv_head = head / (heads / cache.heads);
  const int first_slot = first_slot_of(batch, t);
  if (first_slot < 0) return;
  const int d = cache.head_dim;
  float query[kMostEach], sum[kMostEach];
#pragma unroll
  for (int j = 0; j < kMostEach; ++j) {
    const int i = lane_id() + j * kWarp;
    query[j] = i < d ? __bfloat162float(q[index * d + i]) : 0.0f;
    sum[j] = 0.0f;
  }
  float maximum = -INFINITY;
  float total = 0.0f;
  const int position = batch.positions[t];
  for (int p = 0; p <= position; ++p) {
    const std::int64_t row = static_cast<std::int64_t>(first_slot) + p;
    float dot = 0.0f;
#pragma unroll
    for (int j = 0; j < kMostEach; ++j) {
      const int i = lane_id() + j * kWarp;
      if (i < d) dot += query[j] * read_kv<kElement>(cache, cache.keys, row, kv_head, i);
    }
    const float score = scale * warp_sum(dot);
    if (score > maximum) {
      const float shrink = expf(maximum - score);
#pragma unroll
      for (int j = 0; j < kMostEach; ++j) sum[j] *= shrink;
      total *= shrink;
      maximum = score;
    }
    const float weight = expf(score - maximum);
    total += weight;
#pragma unroll
    for (int j = 0; j < kMostEach; ++j) {
      const int i = lane_id() + j * kWarp;
      if (i < d) sum[j] += weight * read_kv<kElement>(cache, cache.values, row, kv_head, i);
    }
  }
#pragma unroll
  for (int j = 0; j < kMostEach; ++j) {
    const int i = lane_id() + j * kWarp;
    if (i < d) out[index * d + i] = __float2bfloat16_rn(sum[j] / total);
  }
}

}  // namespace

void attention_fallback(const Launch& launch, const AttentionArgs& args) {
  const std::int64_t warps = static_cast<std::int64_t>(args.batch.tokens) * args.heads;
  const auto kernel = args.cache.element == KvElement::Bf16 ? attention_fallback_kernel<KvElement::Bf16>
                                                            : attention_fallback_kernel<KvElement::Fp8>;
  kernel<<<blocks_for(warps, kWarps), kWarps * kWarp, 0, launch.stream>>>(
      device_bf16(args.q.data), pointers_of(args.cache), pointers_of(args.batch), device_bf16(args.out.data),
      args.heads, args.scale);
}

}  // namespace krasis::cuda

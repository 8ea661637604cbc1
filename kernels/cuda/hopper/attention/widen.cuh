#pragma once

#include "kernels/cuda/operations/common.cuh"
#include "kernels/cuda/operations/cache/layout.cuh"

/// An FP8 cache as BF16, so that the flash kernel reads it as it lies. What a prompt's tokens see is widened once for
/// all of its tiles: bytes that hardly count beside the products, where widening on the way to each tile's shared
/// memory took a third of the time.
namespace krasis::cuda::flash {

/// keys, values: [cache.rows, cache.heads, head_dim]. Rows that some token of the batch sees are written: scale * fp8,
/// rounded to BF16. head_dim is a multiple of 16.
inline __global__ void __launch_bounds__(256)
    widen_kernel(KvPointers cache, BatchPointers batch, __nv_bfloat16* keys, __nv_bfloat16* values) {
  __shared__ int last;
  const int pieces = cache.head_dim / 16;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (int s = 0; s < batch.sequence_count; ++s) {
    const SequenceSpan span = batch.sequences[s];
    __syncthreads();
    if (threadIdx.x == 0) last = -1;
    __syncthreads();
    int own = -1;
    for (int t = static_cast<int>(threadIdx.x); t < span.query_count; t += static_cast<int>(blockDim.x)) {
      own = max(own, __ldg(batch.positions + span.query_begin + t));
    }
    own = __reduce_max_sync(kAllLanes, own);
    if (lane_id() == 0) atomicMax(&last, own);
    __syncthreads();
    const std::int64_t lines = static_cast<std::int64_t>(min(last + 1, cache.rows - span.first_slot)) * cache.heads;
    const std::int64_t first = static_cast<std::int64_t>(span.first_slot) * cache.heads;
    for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < 2 * lines * pieces; i += stride) {
      const bool is_value = i >= lines * pieces;
      const KvPlanePointers& from = is_value ? cache.values : cache.keys;
      const std::int64_t piece = first * pieces + (is_value ? i - lines * pieces : i);
      const float scale = __ldg(from.scales + piece / pieces);
      const uint4 codes = load_once_16(from.values + piece * 16);
      const std::uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
      std::uint32_t out[8];
#pragma unroll
      for (int w = 0; w < 8; ++w) {
        const auto two = static_cast<__nv_fp8x2_storage_t>(words[w / 2] >> (w % 2 * 16));
        const float2 pair = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(two, __NV_E4M3)));
        out[w] = to_pair(pair.x * scale, pair.y * scale);
      }
      auto* to = reinterpret_cast<uint4*>((is_value ? values : keys) + piece * 16);
      to[0] = make_uint4(out[0], out[1], out[2], out[3]);
      to[1] = make_uint4(out[4], out[5], out[6], out[7]);
    }
  }
}

}  // namespace krasis::cuda::flash

#include "kernels/cuda/operations/norm/fused.cuh"
#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/operations/router/fused.h"
#include "kernels/cuda/operations/router/pick.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kLoads = kMostFusedWidth / (kWarp * kPiece);  ///< of 16 bytes in a lane's part of a row

struct RouterJob {
  NormJob norm;
  const std::uint8_t* router;  ///< BF16 [experts, width]
  std::int64_t row_bytes;
  float* logits;
  std::int32_t* ids;
  float* weights;
  unsigned* counter;
  int tokens;
  int experts;
  int top_k;
  bool renormalize;
};

/// A warp for each expert: its row is requested before the residual is there. The last block of threads picks.
/// kHalf: rows of half the most width at most. kEach: experts of a lane that picks.
template <bool kHalf, int kEach>
__global__ void __launch_bounds__(kThreads, 2) router_fused_kernel(const __grid_constant__ RouterJob job) {
  constexpr int kRowLoads = kHalf ? kLoads / 2 : kLoads;
  extern __shared__ __align__(16) __nv_bfloat16 normed[];
  __shared__ float scratch[kWarps];
  const int expert = static_cast<int>(blockIdx.x) * kWarps + warp_id();
  const int width = job.norm.width;
  const int first = lane_id() * kPiece;
  uint4 row[kRowLoads];
  const auto* from = reinterpret_cast<const __nv_bfloat16*>(job.router + expert * job.row_bytes) + first;
#pragma unroll
  for (int l = 0; l < kRowLoads; ++l) {
    const bool there = expert < job.experts && first + l * kWarp * kPiece < width;
    row[l] = there ? load_once_16(from + l * kWarp * kPiece) : make_uint4(0, 0, 0, 0);
  }
  FusedNorm<kThreads> norm;
  norm.fetch(job.norm);
  wait_for_predecessor();
  norm.run(job.norm, job.tokens, normed, scratch, blockIdx.x == 0);
  for (int t = 0; t < job.tokens; ++t) {
    const __nv_bfloat16* x = normed + t * (width + kNormPad) + first;
    float sums[4] = {};
#pragma unroll
    for (int l = 0; l < kRowLoads; ++l) {
      if (first + l * kWarp * kPiece >= width) continue;
      const Piece a = as_piece(row[l]), b = as_piece(*reinterpret_cast<const uint4*>(x + l * kWarp * kPiece));
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        sums[k] += __uint_as_float(a.pair[k] << 16) * __uint_as_float(b.pair[k] << 16);
        sums[k] += __uint_as_float(a.pair[k] & 0xffff0000u) * __uint_as_float(b.pair[k] & 0xffff0000u);
      }
    }
    const float sum = warp_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    if (lane_id() == 0 && expert < job.experts) job.logits[static_cast<std::int64_t>(t) * job.experts + expert] = sum;
  }
  if (!is_last_block(job.counter, gridDim.x)) return;
  const int t = warp_id();
  if (t >= job.tokens) return;
  float logit[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int e = lane_id() + i * kWarp;
    logit[i] = e < job.experts ? __ldcg(job.logits + static_cast<std::int64_t>(t) * job.experts + e) : -INFINITY;
  }
  pick_experts(logit, job.experts, job.top_k, job.renormalize, job.ids + t * job.top_k, job.weights + t * job.top_k);
}

}  // namespace

void router_fused(const Launch& launch, const RouterBlock& b) {
  const auto experts = static_cast<int>(b.router.layout.rows);
  const NormJob norm{b.residual.data, device_bf16(b.norm.data), device_bf16(b.normed.data),
                     static_cast<int>(b.router.layout.columns), b.epsilon};
  const RouterJob job{norm,
                      bytes_of(b.router.data),
                      static_cast<std::int64_t>(b.router.layout.row_bytes()),
                      b.logits.data,
                      b.ids.data,
                      b.weights.data,
                      launch.counters,
                      static_cast<int>(b.tokens),
                      experts,
                      b.top_k,
                      b.renormalize};
  const auto run = [&](auto kernel) {
    launch_overlapped(launch, kernel, dim3(blocks_for(experts, kWarps)), kThreads, fused_norm_bytes(norm, b.tokens),
                      job);
  };
  const bool half = norm.width <= kMostFusedWidth / 2;
  if (experts <= 4 * kWarp) return half ? run(router_fused_kernel<true, 4>) : run(router_fused_kernel<false, 4>);
  if (experts <= 8 * kWarp) return half ? run(router_fused_kernel<true, 8>) : run(router_fused_kernel<false, 8>);
  return half ? run(router_fused_kernel<true, 16>) : run(router_fused_kernel<false, 16>);
}

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/common.cuh"

namespace krasis::cuda {

/// softmax over the experts, the top_k (up to kMostPickedExperts) largest; by one warp. Lane l holds the logits of the
/// experts l, l + 32, ...; NaN comes last, ties go to the smaller index.
template <int kEach>
__device__ void pick_experts(const float (&logit)[kEach], int experts, int top_k, bool renormalize, std::int32_t* ids,
                             float* weights) {
  constexpr unsigned kNone = 0, kNaN = 1;  // below the rank of every number
  const int lane = lane_id();
  unsigned rank[kEach];
  float maximum = -INFINITY;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const bool there = lane + i * kWarp < experts;
    rank[i] = !there ? kNone : isnan(logit[i]) ? kNaN : float_rank(logit[i]);
    if (there) maximum = fmaxf(maximum, logit[i]);  // of a number and NaN: the number
  }
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, step));
  }
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (lane + i * kWarp < experts) total += expf(logit[i] - maximum);
  }
  total = warp_sum(total);

  int picked = -1;  // lane j: the j-th pick and its rank
  unsigned picked_rank = kNone;
  for (int j = 0; j < top_k; ++j) {
    unsigned best = kNone;
    int at = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (rank[i] > best) best = rank[i], at = i;
    }
    const unsigned best_of_all = __reduce_max_sync(kAllLanes, best);
    if (best_of_all == kNone) break;
    const unsigned own = best == best_of_all ? static_cast<unsigned>(lane + at * kWarp) : 0xffffffffu;
    const auto expert = static_cast<int>(__reduce_min_sync(kAllLanes, own));
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (lane + i * kWarp == expert) rank[i] = kNone;
    }
    if (lane == j) picked = expert, picked_rank = best_of_all;
  }
  float weight = 0.0f;
  if (picked >= 0) {
    const unsigned bits = picked_rank & 0x80000000u ? picked_rank ^ 0x80000000u : ~picked_rank;
    const float of_picked = picked_rank == kNaN ? NAN : __uint_as_float(bits);
    weight = expf(of_picked - maximum) / total;
  }
  float kept = 0.0f;
  for (int j = 0; j < top_k; ++j) kept += __shfl_sync(kAllLanes, weight, j);
  if (lane < top_k) {
    ids[lane] = picked;
    weights[lane] = renormalize ? weight / kept : weight;
  }
}

}  // namespace krasis::cuda

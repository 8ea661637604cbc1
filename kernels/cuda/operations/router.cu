#include "kernels/cuda/operations/common.cuh"

namespace krasis::cuda {
namespace {

/// A logit and its expert in one number whose order is the ranking: larger logits first, NaN last, ties to the smaller
/// index. 0 is "none".
__device__ std::uint64_t rank_of(float logit, int expert) {
  return static_cast<std::uint64_t>(float_rank(logit)) << 32 | (0xffffffffu - static_cast<std::uint32_t>(expert));
}
__device__ int expert_of(std::uint64_t rank) {
  return static_cast<int>(0xffffffffu - static_cast<std::uint32_t>(rank));
}

/// One warp for each token; lane l holds the experts l, l + 32, ... Each pick is a maximum over the warp.
/// kEach: experts of a lane, in registers.
template <int kEach>
__global__ void router_kernel(const float* logits, std::int32_t* ids, float* weights, int experts, int top_k,
                              bool renormalize) {
  const std::int64_t token = blockIdx.x;
  logits += token * experts;
  ids += token * top_k;
  weights += token * top_k;
  const int lane = lane_id();
  float logit[kEach];
  std::uint64_t rank[kEach];
  float maximum = -INFINITY;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int e = lane + i * kWarp;
    logit[i] = e < experts ? logits[e] : -INFINITY;
    rank[i] = e < experts ? rank_of(logit[i], e) : 0;
    maximum = fmaxf(maximum, logit[i]);  // of a number and NaN: the number
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

  float kept = 0.0f;
  for (int j = 0; j < top_k; ++j) {
    std::uint64_t best = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) best = rank[i] > best ? rank[i] : best;
    best = warp_max(best);
    const int expert = best == 0 ? -1 : expert_of(best);
    float of_best = 0.0f;  // the logit, on the lane that holds it
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (rank[i] == best) {
        rank[i] = 0;
        of_best = logit[i];
      }
    }
    of_best = __shfl_sync(kAllLanes, of_best, expert < 0 ? 0 : expert % kWarp);
    const float weight = expert < 0 ? 0.0f : expf(of_best - maximum) / total;
    kept += weight;
    if (lane == 0) {
      ids[j] = expert;
      weights[j] = weight;
    }
  }
  if (!renormalize) return;
  __syncwarp();  // lane 0's weights are visible to the others
  for (int j = lane; j < top_k; j += kWarp) weights[j] /= kept;
}

}  // namespace

void router(const Launch& launch, const RouterArgs& args) {
  const auto tokens = static_cast<unsigned>(args.logits.size / static_cast<std::size_t>(args.experts));
  if (tokens == 0) return;
  const auto run = [&](auto kernel) {
    kernel<<<tokens, kWarp, 0, launch.stream>>>(args.logits.data, args.ids.data, args.weights.data, args.experts,
                                                args.top_k, args.renormalize);
  };
  if (args.experts <= 4 * kWarp) return run(router_kernel<4>);
  if (args.experts <= 8 * kWarp) return run(router_kernel<8>);
  if (args.experts <= 16 * kWarp) return run(router_kernel<16>);
  run(router_kernel<32>);  // up to 1024, and no model has more
}

}  // namespace krasis::cuda

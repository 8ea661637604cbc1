#include <stdexcept>

#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/operations/router/pick.cuh"

namespace krasis::cuda {
namespace {

/// One warp for each token. kEach: experts of a lane, in registers.
template <int kEach>
__global__ void router_kernel(const float* logits, std::int32_t* ids, float* weights, int experts, int top_k,
                              bool renormalize) {
  wait_for_predecessor();
  const std::int64_t token = blockIdx.x;
  float logit[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int e = lane_id() + i * kWarp;
    logit[i] = e < experts ? logits[token * experts + e] : -INFINITY;
  }
  pick_experts(logit, experts, top_k, renormalize, ids + token * top_k, weights + token * top_k);
}

}  // namespace

template <>
void run(const Launch& launch, const RouterArgs& args) {
  const auto tokens = static_cast<unsigned>(args.logits.size / static_cast<std::size_t>(args.experts));
  if (tokens == 0) return;
  if (!router_fits(args)) throw std::invalid_argument("the router's kernel knows up to 1024 experts and 32 picks");
  const auto run = [&](auto kernel) {
    launch_overlapped(launch, kernel, dim3(tokens), kWarp, 0, args.logits.data, args.ids.data, args.weights.data,
                      args.experts, args.top_k, args.renormalize);
  };
  if (args.experts <= 4 * kWarp) return run(router_kernel<4>);
  if (args.experts <= 8 * kWarp) return run(router_kernel<8>);
  if (args.experts <= 16 * kWarp) return run(router_kernel<16>);
  run(router_kernel<32>);
}

}  // namespace krasis::cuda

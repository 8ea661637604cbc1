#pragma once

#include "kernels/cuda/hopper/attention/flash_copy.cuh"
#include "kernels/cuda/hopper/attention/flash_take.cuh"

/// Flash attention with grouped heads on Hopper (FlashAttention-3, Shah et al. 2024).
///
/// A block goes through tiles of (token, head of the group) rows: all heads that read one cache head share its keys.
/// One warpgroup copies keys and values to a ring in shared memory, the others multiply: scores from shared memory,
/// softmax in registers, weights from registers times values from shared memory.
///
/// Rounding: scores are FP32 sums of exact products. Weights are rounded to BF16 (2^-8 of each) before they multiply
/// values; the sum of weights that divides is of unrounded ones. A cache in FP8 is read as BF16 (widen.cuh).
namespace krasis::cuda::flash {

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) flash_kernel(const __grid_constant__ Job job) {
  extern __shared__ __align__(1024) std::uint8_t memory[];
  auto& shared = *reinterpret_cast<typename S::Shared*>(memory);
  if (threadIdx.x == 0) S::init(shared);
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<S::kCopyRegisters>();
    Copy<S>::run(job, shared);
  } else {
    take_registers<S::kTakeRegisters>();
    Take<S> take(job, shared);
    take.run();
  }
}

template <class S>
void run_flash(const Launch& launch, const AttentionArgs& args) {
  const int group = args.heads / args.cache.heads;
  const std::int64_t tiles = static_cast<std::int64_t>(args.batch.tokens) * group / S::kRows +
                             static_cast<std::int64_t>(args.batch.sequences.size);
  const Job job{device_bf16(args.q.data),
                pointers_of(args.cache),
                pointers_of(args.batch),
                device_bf16(args.out.data),
                args.heads,
                group,
                args.scale,
                static_cast<int>(tiles)};
  const auto kernel = flash_kernel<S>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(typename S::Shared));
  const auto blocks = std::min<std::int64_t>(tiles * args.cache.heads, launch.multiprocessors);
  kernel<<<static_cast<unsigned>(blocks), S::kThreads, sizeof(typename S::Shared), launch.stream>>>(job);
}

/// For each head_dim (head_*.cu).
void run_head_64(const Launch& launch, const AttentionArgs& args);
void run_head_128(const Launch& launch, const AttentionArgs& args);
void run_head_256(const Launch& launch, const AttentionArgs& args);

}  // namespace krasis::cuda::flash

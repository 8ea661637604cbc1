#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/operations/operations.h"

/// Kernels that begin while the one before them in the stream still ends (programmatic dependent launch, Hopper and
/// later; captured into a graph it becomes a programmatic edge). A decode step is 300 kernels of some microseconds, and
/// starting one, finding its parameters and the first weights in memory takes as long as its work.
///
/// The rule that keeps this simple: every kernel launched by launch_overlapped() has each of its threads (or none of a
/// block that has left nothing undone, after one has) call wait_for_predecessor() once, before it writes anything.
///  - After it, everything earlier in the stream is done and visible.
///  - Before it, everything is done and visible except the kernel directly before: the next kernel is let go after the
///    wait, not before. So weights, and whatever the kernel directly before does not write, may be read ahead.
namespace krasis::cuda {

template <class... Parameters, class... Arguments>
void launch_overlapped(const Launch& launch, void (*kernel)(Parameters...), dim3 grid, unsigned threads,
                       std::size_t shared_bytes, const Arguments&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = launch.stream;
  config.attrs = &attribute;
  config.numAttrs = launch.compute_major >= 9 ? 1 : 0;
  // A refusal is the last error, too, which whoever launches looks at.
  (void)cudaLaunchKernelEx(&config, kernel, arguments...);
}

__device__ inline void wait_for_predecessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Whether this block of threads is the last of `blocks` to come here. If so, what the others wrote before is visible,
/// and the counter is zero again. Every thread of the block comes here.
__device__ inline bool is_last_block(unsigned* counter, unsigned blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1u) == blocks - 1;
    if (last) *counter = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

}  // namespace krasis::cuda

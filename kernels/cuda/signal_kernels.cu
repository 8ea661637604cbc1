#include <cuda_runtime.h>

#include "kernels/cuda/operations/overlap.cuh"
#include "kernels/cuda/signal_kernels.h"

namespace krasis::cuda {
namespace {

/// A relaxed load of both words at system scope: never from a cache that the host does not keep coherent.
__device__ uint2 load_line(const SignalLine* line) {
  uint2 words;
  asm volatile("ld.volatile.global.v2.u32 {%0, %1}, [%2];" : "=r"(words.x), "=r"(words.y) : "l"(line) : "memory");
  return words;
}

__device__ void wait_until(const SignalLine* line, std::uint32_t wanted) {
  for (int polls = 0;; ++polls) {
    const uint2 words = load_line(line);
    if (words.y != 0 || static_cast<std::int32_t>(words.x - wanted) >= 0) break;
    if (polls > 64) __nanosleep(100);  // a poll takes about a microsecond anyway
  }
  __threadfence_system();  // acquire: what the raising lane wrote before is read after
}

__global__ void raise_kernel(std::uint32_t* count, SignalLine* line) {
  const std::uint32_t n = *count + 1;
  *count = n;
  // Release. Earlier kernels and copies of the stream happen before this kernel; a fence at system scope is cumulative,
  // so it carries their writes along.
  __threadfence_system();
  asm volatile("st.volatile.global.u32 [%0], %1;" ::"l"(&line->raised), "r"(n) : "memory");
}

__global__ void await_kernel(std::uint32_t* count, const SignalLine* line) {
  const std::uint32_t n = *count + 1;
  *count = n;
  wait_until(line, n);
}

__global__ void await_value_kernel(const SignalLine* line, std::uint32_t wanted) {
  wait_until(line, wanted);
}

constexpr unsigned kHandOverThreads = 512;

/// One block, so that one barrier tells that all is written.
__global__ void copy_and_raise_kernel(SmallCopies copies, std::uint32_t* count, SignalLine* line) {
  wait_for_predecessor();
  for (int i = 0; i < copies.count; ++i) {
    for (std::uint32_t j = threadIdx.x; j < copies.words[i]; j += blockDim.x) copies.to[i][j] = __ldcv(copies.from[i] + j);
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  const std::uint32_t n = *count + 1;
  *count = n;
  __threadfence_system();  // release, as in raise_kernel; the barrier brings the block's writes along
  asm volatile("st.volatile.global.u32 [%0], %1;" ::"l"(&line->raised), "r"(n) : "memory");
}

/// T is float, or float4 where everything is aligned.
template <class T>
__global__ void await_and_add_kernel(std::uint32_t* count, const SignalLine* line, const T* x, T* out, std::size_t elements) {
  wait_for_predecessor();
  if (threadIdx.x == 0) {
    const std::uint32_t n = *count + 1;
    *count = n;
    wait_until(line, n);
  }
  __syncthreads();
  for (std::size_t i = threadIdx.x; i < elements; i += blockDim.x) {
    const T a = __ldcv(x + i);
    if constexpr (sizeof(T) == sizeof(float)) {
      out[i] += a;
    } else {
      T sum = out[i];
      sum.x += a.x, sum.y += a.y, sum.z += a.z, sum.w += a.w;
      out[i] = sum;
    }
  }
}

/// Reads with __ldcv, past the caches: the host may have written the source after an earlier kernel read it.
template <class T>
__global__ void small_copy_kernel(T* to, const T* from, std::size_t count) {
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += std::size_t{gridDim.x} * blockDim.x) {
    to[i] = __ldcv(from + i);
  }
}

template <class T>
void small_copy(cudaStream_t stream, std::byte* to, const std::byte* from, std::size_t bytes) {
  const std::size_t count = bytes / sizeof(T);
  constexpr unsigned kThreads = 256;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  const unsigned grid = blocks > 64 ? 64 : blocks;
  small_copy_kernel<T>
      <<<grid, kThreads, 0, stream>>>(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(from), count);
}

}  // namespace

void launch_raise(cudaStream_t stream, std::uint32_t* count, SignalLine* line) {
  raise_kernel<<<1, 1, 0, stream>>>(count, line);
}

void launch_await(cudaStream_t stream, std::uint32_t* count, const SignalLine* line) {
  await_kernel<<<1, 1, 0, stream>>>(count, line);
}

void launch_await_value(cudaStream_t stream, const SignalLine* line, std::uint32_t wanted) {
  await_value_kernel<<<1, 1, 0, stream>>>(line, wanted);
}

void launch_copy_and_raise(const Launch& launch, const SmallCopies& copies, std::uint32_t* count, SignalLine* line) {
  launch_overlapped(launch, copy_and_raise_kernel, dim3(1), kHandOverThreads, 0, copies, count, line);
}

void launch_await_and_add(const Launch& launch, std::uint32_t* count, const SignalLine* line, const AddArgs& sum) {
  const auto bits = reinterpret_cast<std::uintptr_t>(sum.x.data) | reinterpret_cast<std::uintptr_t>(sum.out.data) | sum.x.bytes();
  if (bits % sizeof(float4) == 0) {
    launch_overlapped(launch, await_and_add_kernel<float4>, dim3(1), kHandOverThreads, 0, count, line,
                      reinterpret_cast<const float4*>(sum.x.data), reinterpret_cast<float4*>(sum.out.data), sum.x.size / 4);
  } else {
    launch_overlapped(launch, await_and_add_kernel<float>, dim3(1), kHandOverThreads, 0, count, line, sum.x.data, sum.out.data,
                      sum.x.size);
  }
}

void launch_small_copy(cudaStream_t stream, std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes == 0) return;
  const auto bits = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | bytes;
  if (bits % 16 == 0) return small_copy<uint4>(stream, to, from, bytes);
  if (bits % 4 == 0) return small_copy<std::uint32_t>(stream, to, from, bytes);
  small_copy<unsigned char>(stream, to, from, bytes);
}

cudaError_t load_signal_kernels() {
  cudaFuncAttributes attributes{};
  for (const void* kernel :
       {reinterpret_cast<const void*>(raise_kernel), reinterpret_cast<const void*>(await_kernel),
        reinterpret_cast<const void*>(await_value_kernel), reinterpret_cast<const void*>(copy_and_raise_kernel),
        reinterpret_cast<const void*>(await_and_add_kernel<float>), reinterpret_cast<const void*>(await_and_add_kernel<float4>),
        reinterpret_cast<const void*>(small_copy_kernel<uint4>),
        reinterpret_cast<const void*>(small_copy_kernel<std::uint32_t>),
        reinterpret_cast<const void*>(small_copy_kernel<unsigned char>)}) {
    if (const cudaError_t status = cudaFuncGetAttributes(&attributes, kernel); status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace krasis::cuda

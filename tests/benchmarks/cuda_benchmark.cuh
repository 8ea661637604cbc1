#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "kernels/cuda/operations/operations.h"

/// What the benchmarks of CUDA operations share: random data on the device, times of graphs.
namespace krasis::benchmark {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

__device__ inline unsigned hash(unsigned long long v) {
  v = (v ^ (v >> 31)) * 0x9e3779b97f4a7c15ULL;
  v = (v ^ (v >> 29)) * 0xbf58476d1ce4e5b9ULL;
  return static_cast<unsigned>(v >> 32);
}
static __global__ void fill_bytes(unsigned* out, std::size_t words, unsigned seed) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < words; i += stride) {
    out[i] = hash(i * 2654435761ULL + seed);
  }
}
/// Numbers between `low` and `high`, of random sign if `both`.
template <class T>
__global__ void fill_numbers(T* out, std::size_t count, float low, float high, bool both, unsigned seed) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < count; i += stride) {
    const unsigned bits = hash(i * 40503ULL + seed);
    const float value = low + (high - low) * static_cast<float>(bits & 0xffff) / 65536.0f;
    out[i] = static_cast<T>(both && bits >> 31 ? -value : value);
  }
}
/// A packed matrix of random numbers.
inline void randomize(std::byte* data, const MatrixLayout& layout, unsigned seed) {
  auto* numbers = reinterpret_cast<__nv_bfloat16*>(data);
  if (layout.format.element == Element::Bf16) {
    fill_numbers<<<1024, 256>>>(numbers, layout.bytes() / 2, 0.0f, 0.05f, true, seed);
    return;
  }
  const float step = layout.format.element == Element::Int8 ? 0.0003f : 0.005f;
  fill_bytes<<<1024, 256>>>(reinterpret_cast<unsigned*>(data), layout.bytes() / 4, seed);
  fill_numbers<<<256, 256>>>(numbers + layout.scales_offset() / 2, (layout.bytes() - layout.scales_offset()) / 2, step,
                             2 * step, false, seed + 1);
}

/// What operations are launched with on the first GPU; without one the program ends with 77. Lives until the end.
inline cuda::Launch open_device() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    std::fprintf(stderr, "no CUDA device can be used\n");
    std::exit(77);
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "properties");
  std::printf("%s, %d multiprocessors\n", properties.name, properties.multiProcessorCount);
  cuda::Launch launch;
  launch.multiprocessors = properties.multiProcessorCount;
  launch.compute_major = properties.major;
  check(cudaStreamCreateWithFlags(&launch.stream, cudaStreamNonBlocking), "stream");
  return launch;
}

/// Microseconds of `work`, which enqueues on the stream: the median of so many replays of its graph, an odd number.
inline double time_of(cudaStream_t stream, int replays, const std::function<void()>& work) {
  check(cudaDeviceSynchronize(), "filling");  // the data come by another stream
  work();
  check(cudaStreamSynchronize(stream), "warming up");
  check(cudaGetLastError(), "launch");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  work();
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&replay, graph, 0), "instantiate");
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  std::vector<float> times;
  for (int round = -1; round < replays; ++round) {
    check(cudaEventRecord(begin, stream), "record");
    check(cudaGraphLaunch(replay, stream), "replay");
    check(cudaEventRecord(end, stream), "record");
    check(cudaEventSynchronize(end), "replay");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "time");
    if (round >= 0) times.push_back(milliseconds);
  }
  std::nth_element(times.begin(), times.begin() + replays / 2, times.end());
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return 1000.0 * times[static_cast<std::size_t>(replays / 2)];
}

}  // namespace krasis::benchmark

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/failures.h"

namespace krasis {
namespace {

constexpr unsigned kThreads = 512;

/// Data that looks random: zeros can be moved faster than real weights.
__global__ void scramble(uint4* data, std::size_t count) {
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count;
       i += std::size_t(gridDim.x) * blockDim.x) {
    const std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761u + 12345u;
    data[i] = make_uint4(x, x ^ (x >> 15), x * 2246822519u, x * 3266489917u);
  }
}

/// Reads all of it once, four independent loads of 16 bytes at a time; writes next to nothing.
__global__ void read_all(const uint4* data, std::size_t count, std::uint32_t* out) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  std::uint32_t sum = 0;
  std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    const uint4 a = __ldcs(data + i), b = __ldcs(data + i + stride), c = __ldcs(data + i + 2 * stride),
                d = __ldcs(data + i + 3 * stride);
    sum += (a.x ^ a.y ^ a.z ^ a.w) + (b.x ^ b.y ^ b.z ^ b.w) + (c.x ^ c.y ^ c.z ^ c.w) + (d.x ^ d.y ^ d.z ^ d.w);
  }
  for (; i < count; i += stride) {
    const uint4 a = __ldcs(data + i);
    sum += a.x ^ a.y ^ a.z ^ a.w;
  }
  if (sum == 0x12345678u) *out = sum;  // hardly ever, but the compiler cannot know
}

/// A stream, two events and memory for the time of a measurement.
class Bench {
 public:
  explicit Bench(int repetitions) : repetitions_(std::max(1, repetitions)) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    cudaFreeHost(host);
    cudaFree(device);
    if (start_) cudaEventDestroy(start_);
    if (end_) cudaEventDestroy(end_);
    if (stream) cudaStreamDestroy(stream);
  }

  Expected<void> open(int cuda_index, std::size_t host_bytes, std::size_t wanted_bytes) {
    std::size_t free = 0, total = 0;
    KRASIS_CHECK(check(cudaSetDevice(cuda_index), "select a device"));
    KRASIS_CHECK(check(cudaMemGetInfo(&free, &total), "ask for a device's memory"));
    device_bytes = std::max(host_bytes, std::min(wanted_bytes, free / 2)) / 16 * 16;
    KRASIS_CHECK(check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "make a stream"));
    KRASIS_CHECK(check(cudaEventCreate(&start_), "make an event"));
    KRASIS_CHECK(check(cudaEventCreate(&end_), "make an event"));
    KRASIS_CHECK(check(cudaMalloc(&device, device_bytes), "get memory to measure with"));
    return check(cudaHostAlloc(&host, host_bytes, cudaHostAllocPortable), "page-lock memory to measure with");
  }

  /// The median of the seconds that `work`, which enqueues on `stream`, takes.
  template <class Work>
  Expected<double> median_seconds(const char* what, const Work& work) {
    std::vector<double> seconds;
    for (int i = 0; i <= repetitions_; ++i) {
      cudaError_t status = cudaEventRecord(start_, stream);
      if (status == cudaSuccess) status = work();
      if (status == cudaSuccess) status = cudaEventRecord(end_, stream);
      if (status == cudaSuccess) status = cudaEventSynchronize(end_);
      float ms = 0;
      if (status == cudaSuccess) status = cudaEventElapsedTime(&ms, start_, end_);
      KRASIS_CHECK(check(status, what));
      if (i > 0) seconds.push_back(ms / 1e3);
    }
    std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
    return seconds[seconds.size() / 2];
  }
  static Expected<void> check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return {};
    cudaGetLastError();
    return tl::unexpected(cuda::cuda_error(what, status));
  }

  cudaStream_t stream = nullptr;
  void* host = nullptr;
  void* device = nullptr;
  std::size_t device_bytes = 0;

 private:
  int repetitions_;
  cudaEvent_t start_ = nullptr, end_ = nullptr;
};

}  // namespace

Expected<CudaCeilings> measure_ceilings(int cuda_index, const CeilingOptions& options) {
  CudaCeilings ceilings;
  std::vector<std::size_t> sizes = options.copy_bytes;
  std::sort(sizes.begin(), sizes.end());
  const std::size_t largest = sizes.empty() ? 16 : std::max<std::size_t>(16, sizes.back());
  Bench bench(options.repetitions);
  KRASIS_CHECK(bench.open(cuda_index, largest, options.read_bytes));
  int multiprocessors = 1;
  KRASIS_CHECK(Bench::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, cuda_index),
                            "describe a device"));
  const auto blocks = static_cast<unsigned>(multiprocessors) * 4;
  const std::size_t count = bench.device_bytes / 16;
  auto* const data = static_cast<uint4*>(bench.device);
  scramble<<<blocks, kThreads, 0, bench.stream>>>(data, count);
  KRASIS_CHECK(Bench::check(cudaGetLastError(), "fill memory to measure with"));
  KRASIS_CHECK(Bench::check(cudaMemcpyAsync(bench.host, bench.device, largest, cudaMemcpyDefault, bench.stream),
                            "fill memory to measure with"));

  for (const std::size_t bytes : sizes) {
    const auto copy = [&](void* to, const void* from) {
      return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, bench.stream);
    };
    KRASIS_TRY(const double h2d,
               bench.median_seconds("copy to the GPU", [&] { return copy(bench.device, bench.host); }));
    KRASIS_TRY(const double d2h,
               bench.median_seconds("copy from the GPU", [&] { return copy(bench.host, bench.device); }));
    const auto gigabytes = static_cast<double>(bytes) / 1e9;
    ceilings.copies.push_back({bytes, gigabytes / h2d, gigabytes / d2h});
  }

  std::uint32_t* sum = nullptr;
  KRASIS_CHECK(Bench::check(cudaMalloc(&sum, sizeof *sum), "get memory to measure with"));
  const auto seconds = bench.median_seconds("read the GPU's memory", [&] {
    read_all<<<blocks, kThreads, 0, bench.stream>>>(data, count, sum);
    return cudaGetLastError();
  });
  cudaFree(sum);
  if (!seconds) return tl::unexpected(seconds.error());
  ceilings.device_read_gb_per_s = static_cast<double>(bench.device_bytes) / *seconds / 1e9;

  if (options.dense_bf16_tflops) {
    KRASIS_TRY(ceilings.dense_bf16_tflops, options.dense_bf16_tflops(cuda_index));
  }
  return ceilings;
}

}  // namespace krasis

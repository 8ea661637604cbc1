#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/failures.h"
#include "kernels/cuda/operations/matmul/cublaslt.h"
#include "kernels/cuda/operations/operations.h"

namespace krasis {
namespace {

constexpr std::int64_t kSide = 8192;
constexpr int kRepetitions = 7;

/// BF16 numbers of either sign between 2^-7 and 2, as random as their hash: zeros would multiply faster.
__global__ void scramble(std::uint16_t* data, std::size_t count) {
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += std::size_t(gridDim.x) * blockDim.x) {
    std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761u + 12345u;
    x = (x ^ (x >> 15)) * 2246822519u;
    data[i] = static_cast<std::uint16_t>((x & 0x80ffu) | (0x3c00u + ((x >> 16 & 7u) << 7 & 0x380u)));
  }
}

/// Device memory, events and a stream for the time of the measurement.
struct Resources {
  void* data = nullptr;
  void* workspace = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t start = nullptr, end = nullptr;
  ~Resources() {
    cudaFree(data);
    cudaFree(workspace);
    if (start) cudaEventDestroy(start);
    if (end) cudaEventDestroy(end);
    if (stream) cudaStreamDestroy(stream);
    cudaGetLastError();
  }
};

Expected<void> check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();
  return tl::unexpected(cuda::cuda_error(what, status));
}

}  // namespace

Expected<double> dense_bf16_tflops(int cuda_index) {
  constexpr std::size_t kNumbers = std::size_t{kSide} * kSide;
  Resources r;
  KRASIS_CHECK(check(cudaSetDevice(cuda_index), "select a device"));
  KRASIS_CHECK(check(cudaMalloc(&r.data, 4 * kNumbers * sizeof(bf16)), "get memory to measure with"));  // x, weight, FP32 out
  KRASIS_CHECK(check(cudaMalloc(&r.workspace, cuda::DenseProducts::kWorkspaceBytes), "get memory to measure with"));
  KRASIS_CHECK(check(cudaStreamCreateWithFlags(&r.stream, cudaStreamNonBlocking), "make a stream"));
  KRASIS_CHECK(check(cudaEventCreate(&r.start), "make an event"));
  KRASIS_CHECK(check(cudaEventCreate(&r.end), "make an event"));
  cuda::Launch launch{.stream = r.stream};
  KRASIS_CHECK(check(cudaDeviceGetAttribute(&launch.multiprocessors, cudaDevAttrMultiProcessorCount, cuda_index), "describe a device"));
  KRASIS_CHECK(check(cudaDeviceGetAttribute(&launch.compute_major, cudaDevAttrComputeCapabilityMajor, cuda_index), "describe a device"));
  const auto library =
      cuda::DenseProducts::load({static_cast<std::byte*>(r.workspace), cuda::DenseProducts::kWorkspaceBytes});
  if (library) launch.dense = library->get();

  auto* const numbers = static_cast<bf16*>(r.data);
  scramble<<<static_cast<unsigned>(launch.multiprocessors) * 4, 256, 0, r.stream>>>(reinterpret_cast<std::uint16_t*>(numbers),
                                                                                   2 * kNumbers);
  KRASIS_CHECK(check(cudaGetLastError(), "fill memory to measure with"));
  const MatmulArgs product{.x = {numbers, kNumbers},
                           .weight = {MatrixLayout{{Element::Bf16}, kSide, kSide}, reinterpret_cast<std::byte*>(numbers + kNumbers)},
                           .out_bf16 = {numbers + 2 * kNumbers, kNumbers},
                           .tokens = kSide};
  std::vector<double> seconds;
  for (int i = 0; i <= kRepetitions; ++i) {
    KRASIS_CHECK(check(cudaEventRecord(r.start, r.stream), "time a product"));
    cuda::run(launch, product);
    KRASIS_CHECK(check(cudaGetLastError(), "multiply"));
    KRASIS_CHECK(check(cudaEventRecord(r.end, r.stream), "time a product"));
    KRASIS_CHECK(check(cudaEventSynchronize(r.end), "multiply"));
    float ms = 0;
    KRASIS_CHECK(check(cudaEventElapsedTime(&ms, r.start, r.end), "time a product"));
    if (i > 0) seconds.push_back(ms / 1e3);
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepetitions / 2, seconds.end());
  return 2.0 * kSide * kSide * kSide / seconds[kRepetitions / 2] / 1e12;
}

}  // namespace krasis

#include "kernels/cuda/signals.h"

#include <new>

#include "kernels/cuda/failures.h"

namespace krasis::cuda {
namespace {

constexpr std::size_t kLinesPerBlock = 1024;
constexpr std::size_t kCountsPerBlock = 4096;

}  // namespace

std::uint32_t load_acquire(const std::uint32_t& word) {
  return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(word)).load(std::memory_order_acquire);
}

void store_release(std::uint32_t& word, std::uint32_t value) {
  std::atomic_ref<std::uint32_t>(word).store(value, std::memory_order_release);
}

Signals::~Signals() {
  for (SignalLine* block : blocks_) cudaFreeHost(block);
  for (const auto& [cuda_index, counts] : counts_) {
    for (std::uint32_t* block : counts.blocks) cudaFree(block);
  }
}

Expected<SignalLine*> Signals::make_line() {
  if (blocks_.empty() || used_ == kLinesPerBlock) {
    void* data = nullptr;
    const cudaError_t status =
        cudaHostAlloc(&data, kLinesPerBlock * sizeof(SignalLine), cudaHostAllocPortable | cudaHostAllocMapped);
    if (status != cudaSuccess) return tl::unexpected(cuda_error("page-lock memory for signals", status));
    auto* const lines = static_cast<SignalLine*>(data);
    for (std::size_t i = 0; i < kLinesPerBlock; ++i) new (lines + i) SignalLine();
    blocks_.push_back(lines);
    used_ = 0;
  }
  return blocks_.back() + used_++;
}

Expected<std::uint32_t*> Signals::make_count(int cuda_index) {
  Counts& counts = counts_[cuda_index];
  if (counts.blocks.empty() || counts.used == kCountsPerBlock) {
    cudaError_t status = cudaSetDevice(cuda_index);
    void* data = nullptr;
    if (status == cudaSuccess) status = cudaMalloc(&data, kCountsPerBlock * sizeof(std::uint32_t));
    if (status == cudaSuccess) {
      counts.blocks.push_back(static_cast<std::uint32_t*>(data));
      counts.used = 0;
      // On a stream of its own: the default stream would have to be waited for, too.
      cudaStream_t stream = nullptr;
      status = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
      if (status == cudaSuccess) status = cudaMemsetAsync(data, 0, kCountsPerBlock * sizeof(std::uint32_t), stream);
      if (status == cudaSuccess) status = cudaStreamSynchronize(stream);
      if (stream) cudaStreamDestroy(stream);
    }
    if (status != cudaSuccess) return tl::unexpected(cuda_error("make counters for signals", status));
  }
  return counts.blocks.back() + counts.used++;
}

void Signals::stop_all() {
  for (SignalLine* block : blocks_) {
    for (std::size_t i = 0; i < kLinesPerBlock; ++i) store_release(block[i].stop, 1);
  }
}

}  // namespace krasis::cuda

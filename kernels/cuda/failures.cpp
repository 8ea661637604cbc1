#include "kernels/cuda/failures.h"

#include <cuda_runtime_api.h>

namespace krasis::cuda {

Error cuda_error(std::string_view what, cudaError_t status) {
  const bool memory = status == cudaErrorMemoryAllocation;
  return {memory ? ErrorCode::OutOfMemory : ErrorCode::Io,
          "CUDA could not " + std::string(what) + ": " + cudaGetErrorString(status) + ".",
          memory ? "Close other programs that use the GPU, or lower the device's memory budget."
                 : "Check the GPU with nvidia-smi, or use the host device."};
}

void Failures::note(Error error) {
  const std::lock_guard lock(mutex_);
  if (!first_) first_ = std::move(error);
}

bool Failures::check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return true;
  cudaGetLastError();  // so that the next operation is not blamed for this one
  note(cuda_error(what, status));
  return false;
}

void Failures::note_broken(Error error) {
  const std::lock_guard lock(mutex_);
  if (!last_word_) last_word_ = std::move(error);
  broken_.store(true, std::memory_order_release);
}

Expected<void> Failures::take() {
  const std::lock_guard lock(mutex_);
  if (first_) return tl::unexpected(*std::exchange(first_, std::nullopt));
  if (last_word_) return tl::unexpected(*last_word_);
  return {};
}

}  // namespace krasis::cuda

#pragma once

#include <driver_types.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace krasis::cuda {

/// "CUDA could not <what>: <CUDA's words>." with what the user can do.
Error cuda_error(std::string_view what, cudaError_t status);

/// The first error since the last take(). A broken GPU context (an illegal access, a lost device) stays an error for
/// ever: nothing that uses it can succeed again in this process. Thread-safe.
class Failures {
 public:
  void note(Error error);
  /// Notes a failed call; true if it succeeded.
  bool check(cudaError_t status, std::string_view what);
  /// The context is broken. From now on broken() holds and take() always fails.
  void note_broken(Error error);
  bool broken() const { return broken_.load(std::memory_order_acquire); }
  Expected<void> take();

 private:
  std::mutex mutex_;
  std::optional<Error> first_, last_word_;
  std::atomic<bool> broken_ = false;
};

}  // namespace krasis::cuda

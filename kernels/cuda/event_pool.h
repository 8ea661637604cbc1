#pragma once

#include <cuda_runtime_api.h>

#include <memory>

namespace krasis::cuda {

/// A CUDA event, lent; the last holder gives it back to its pool. A waiter holds it as long as it may still ask, so a
/// new record never moves an event under it.
using EventLease = std::shared_ptr<CUevent_st>;

/// CUDA events of one GPU, made when needed and used again. Thread-safe; leases may outlive the pool.
class EventPool {
 public:
  /// @param timing  events that cudaEventElapsedTime can compare; others cost less
  EventPool(int cuda_index, bool timing);
  /// Null if CUDA refuses.
  EventLease get();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Whether what was recorded is done; cudaErrorNotReady if not yet, other values are errors.
cudaError_t query(cudaEvent_t event);

}  // namespace krasis::cuda

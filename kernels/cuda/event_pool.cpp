#include "kernels/cuda/event_pool.h"

#include <mutex>
#include <vector>

namespace krasis::cuda {

struct EventPool::State {
  int cuda_index = 0;
  bool timing = false;
  std::mutex mutex;
  std::vector<cudaEvent_t> idle;

  ~State() {
    for (const cudaEvent_t event : idle) cudaEventDestroy(event);
  }
};

EventPool::EventPool(int cuda_index, bool timing) : state_(std::make_shared<State>()) {
  state_->cuda_index = cuda_index;
  state_->timing = timing;
}

EventLease EventPool::get() {
  cudaEvent_t event = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->idle.empty()) {
      event = state_->idle.back();
      state_->idle.pop_back();
    }
  }
  if (!event) {
    const unsigned flags = state_->timing ? cudaEventDefault : cudaEventDisableTiming;
    if (cudaSetDevice(state_->cuda_index) != cudaSuccess || cudaEventCreateWithFlags(&event, flags) != cudaSuccess) {
      return nullptr;
    }
  }
  return {event, [state = state_](cudaEvent_t idle) {
            const std::lock_guard lock(state->mutex);
            state->idle.push_back(idle);
          }};
}

cudaError_t query(cudaEvent_t event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) cudaGetLastError();  // "not ready" would look like the next operation's error
  return status;
}

}  // namespace krasis::cuda

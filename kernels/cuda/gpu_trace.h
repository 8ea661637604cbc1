#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cuda/event_pool.h"
#include "kernels/cuda/failures.h"
#include "kernels/host/trace.h"

namespace krasis::cuda {

/// An operation between two timing events.
struct TimedSpan {
  std::string name;
  int stream = -1;
  EventLease start, end;
  std::size_t copied_bytes = 0;
};

/// Turns pairs of CUDA timing events into trace entries of the host's clock. All but add_host() and entries() are
/// called by the enqueuing thread.
class GpuTrace {
 public:
  GpuTrace() = default;
  GpuTrace(const GpuTrace&) = delete;
  GpuTrace& operator=(const GpuTrace&) = delete;
  ~GpuTrace();

  /// Notes the time of an event on the GPU, from which others are counted; at the start of each trace.
  Expected<void> add_gpu(int cuda_index);
  void add_stream(int stream, std::string name, int device, int cuda_index);
  /// A timing event of the stream's GPU; null if CUDA refuses.
  EventLease event(int stream);

  /// A span that will be done some time.
  void add(TimedSpan span) { pending_.push_back(std::move(span)); }
  /// Takes the times of all spans that are done, in the order of their streams.
  void collect();
  /// Takes the times of spans that are known to be done: a graph's, before it runs again.
  void collect(const std::vector<TimedSpan>& spans);

  /// Forgets spans and entries.
  void clear();

  void add_host(TraceEntry entry);
  /// In order of their start.
  std::vector<TraceEntry> entries() const;

 private:
  /// Times are told as float milliseconds since another event: exact to a microsecond for seconds only, so the point
  /// of reference moves along.
  struct Gpu {
    std::unique_ptr<EventPool> pool;
    cudaStream_t stream = nullptr;  ///< for the reference alone
    EventLease reference;
    double reference_ns = 0;
  };
  struct StreamInfo {
    std::string name;
    int device = 0;
    int cuda_index = 0;
  };
  void take(const TimedSpan& span);
  void move_references();

  std::map<int, Gpu> gpus_;
  std::map<int, StreamInfo> streams_;
  std::deque<TimedSpan> pending_;
  mutable std::mutex mutex_;  ///< guards entries_
  std::vector<TraceEntry> entries_;
};

}  // namespace krasis::cuda

#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/event_pool.h"
#include "kernels/cuda/failures.h"
#include "kernels/cuda/signals.h"
#include "kernels/host/command.h"

namespace krasis::cuda {

/// One entry of a host lane.
struct HostCommand {
  enum class Kind : std::uint8_t {
    Run,        ///< `task`
    Record,     ///< the lane's next event is done
    WaitEvent,  ///< until the GPU's `event` is done
    WaitLine,   ///< until `line` has reached `wanted`: an event of another host lane
    Raise,      ///< `signal`
    Await,      ///< `signal`
    List,       ///< all of `list`, in order: the lane's part of a recording
  };
  Kind kind = Kind::Run;
  std::shared_ptr<const Operation> task;
  EventLease event;
  const SignalLine* line = nullptr;
  std::uint32_t wanted = 0;
  SignalState* signal = nullptr;
  std::shared_ptr<const std::vector<HostCommand>> list;
};

/// A thread that runs host commands in order. It spins a while before it sleeps, so that a decode step, which hands
/// over to it in every layer, meets it awake.
class HostLane {
 public:
  /// What ran and when; called by the lane's thread.
  using Trace = std::function<void(const Operation& task, std::int64_t start_ns, std::int64_t end_ns)>;

  /// @param progress  the lane's own line: its `raised` counts the events that are done
  HostLane(std::string name, SignalLine* progress, Failures& failures, Trace trace);
  /// Drops what has not run; a running task is waited for.
  ~HostLane();

  void submit(HostCommand command);
  const SignalLine* progress() const { return progress_; }
  /// From now on nothing is waited for and no task is run. abandon() comes before the lanes are destroyed, so that none
  /// of them waits for another one.
  void abandon() { abandoned_.store(true, std::memory_order_release); }

 private:
  void work();
  void run(const HostCommand& command);
  template <class Done>
  void wait_until(Done done);
  bool over() const { return abandoned_.load(std::memory_order_acquire) || failures_.broken(); }

  const std::string name_;
  SignalLine* const progress_;
  Failures& failures_;
  const Trace trace_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<HostCommand> queue_;
  std::atomic<std::size_t> submitted_ = 0;  ///< what the spinning thread watches
  bool stopping_ = false;
  std::atomic<bool> abandoned_ = false;
  std::thread thread_;
};

}  // namespace krasis::cuda

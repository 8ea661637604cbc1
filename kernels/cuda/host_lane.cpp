#include "kernels/cuda/host_lane.h"

#include "kernels/cuda/backoff.h"
#include "kernels/host/run_operation.h"
#include "kernels/host/trace.h"

namespace krasis::cuda {
namespace {

// Longer than the GPU's part of a layer, shorter than a person's pause between two prompts.
constexpr std::chrono::microseconds kSpin(1000);

}  // namespace

HostLane::HostLane(std::string name, SignalLine* progress, Failures& failures, Trace trace)
    : name_(std::move(name)), progress_(progress), failures_(failures), trace_(std::move(trace)) {
  thread_ = std::thread([this] { work(); });
}

HostLane::~HostLane() {
  abandon();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    submitted_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_one();
  thread_.join();
}

void HostLane::submit(HostCommand command) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(command));
    submitted_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_one();
}

void HostLane::work() {
  std::deque<HostCommand> taken;
  std::size_t seen = 0;
  while (true) {
    Backoff backoff(kSpin);
    while (submitted_.load(std::memory_order_acquire) == seen && backoff.waited() < kSpin) backoff.pause();
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      taken.swap(queue_);
      seen = submitted_.load(std::memory_order_relaxed);
    }
    for (const HostCommand& command : taken) run(command);
    taken.clear();
  }
}

template <class Done>
void HostLane::wait_until(Done done) {
  Backoff backoff(kSpin);
  while (!done() && !over()) backoff.pause();
}

void HostLane::run(const HostCommand& command) {
  switch (command.kind) {
    case HostCommand::Kind::Run: {
      if (over()) return;
      const std::int64_t start = trace_ ? trace_clock_ns() : 0;
      if (auto error = run_operation(*command.task, name_)) failures_.note(std::move(*error));
      if (trace_) trace_(*command.task, start, trace_clock_ns());
      return;
    }
    case HostCommand::Kind::Record:
      return store_release(progress_->raised, progress_->raised + 1);
    case HostCommand::Kind::WaitEvent: {
      cudaError_t status = cudaSuccess;
      wait_until([&] { return (status = query(command.event.get())) != cudaErrorNotReady; });
      if (status != cudaSuccess && status != cudaErrorNotReady) {
        failures_.note_broken(cuda_error("run what host lane '" + name_ + "' waits for", status));
      }
      return;
    }
    case HostCommand::Kind::WaitLine:
      return wait_until([&] { return reached(load_acquire(command.line->raised), command.wanted); });
    case HostCommand::Kind::Raise:
      return store_release(command.signal->line->raised, ++command.signal->host_raises);
    case HostCommand::Kind::Await: {
      const std::uint32_t wanted = ++command.signal->host_awaits;
      return wait_until([&] { return reached(load_acquire(command.signal->line->raised), wanted); });
    }
    case HostCommand::Kind::List:
      for (const HostCommand& entry : *command.list) run(entry);
      return;
  }
}

}  // namespace krasis::cuda

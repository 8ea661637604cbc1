#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "kernels/host/executor.h"
#include "kernels/host/run_operation.h"

namespace krasis {
namespace {

/// One mutex guards all queues and counters: commands are few (hundreds a token) and it is never held while an
/// operation runs. Each stream has its own condition variable, so that progress wakes only who can go on.
class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(bool trace) : trace_(trace) {}

  ~ThreadExecutor() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const auto& lane : lanes_) lane->wake.notify_one();
    }
    for (const auto& lane : lanes_) lane->thread.join();
  }

  void add_stream(std::string_view name, int device) override {
    const std::lock_guard lock(mutex_);
    progress_.streams.push_back({std::string(name)});
    lanes_.push_back(std::make_unique<StreamLane>());
    StreamLane& lane = *lanes_.back();
    lane.stream = static_cast<int>(lanes_.size()) - 1;
    lane.name = name;
    lane.device = device;
    lane.thread = std::thread([this, &lane] { work(lane); });
  }
  void add_signal(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    progress_.signals.push_back({std::string(name)});
  }
  void submit(Command command) override {
    const std::lock_guard lock(mutex_);
    StreamLane& lane = *lanes_[static_cast<std::size_t>(command.stream)];
    lane.queue.push_back(std::move(command));
    if (lane.queue.size() == 1 && !lane.running) lane.wake.notify_one();
  }

  Expected<void> synchronize(Event event) override {
    std::unique_lock lock(mutex_);
    // Only the calling thread enqueues, so when no lane runs or can run, nothing will ever change.
    host_wake_.wait(lock, [&] { return !event || progress_.done(event) || stuck(); });
    if (event && !progress_.done(event)) {
      return fail(ErrorCode::Internal, deadlock(event), "Report this: the program's own order is wrong.");
    }
    if (error_) return tl::unexpected(*std::exchange(error_, std::nullopt));
    return {};
  }

  std::vector<TraceEntry> trace() const override {
    const std::lock_guard lock(mutex_);
    auto sorted = entries_;
    std::ranges::stable_sort(sorted, {}, &TraceEntry::start_ns);
    return sorted;
  }

 private:
  struct StreamLane {
    int stream = -1;
    std::string name;
    int device = 0;
    std::deque<Command> queue;
    bool running = false;  ///< its thread works on a command that it took from the queue
    std::condition_variable wake;
    std::thread thread;

    bool can_run(const StreamProgress& progress) const { return !queue.empty() && progress.ready(queue.front()); }
  };

  void work(StreamLane& lane) {
    std::unique_lock lock(mutex_);
    while (true) {
      lane.wake.wait(lock, [&] { return stopping_ || lane.can_run(progress_); });
      if (stopping_) return;
      const Command command = std::move(lane.queue.front());
      lane.queue.pop_front();
      if (command.kind == Command::Kind::Run) {
        lane.running = true;
        lock.unlock();
        const std::int64_t start = trace_ ? trace_clock_ns() : 0;
        auto error = run_operation(*command.operation, lane.name);
        const std::int64_t end = trace_ ? trace_clock_ns() : 0;
        lock.lock();
        lane.running = false;
        if (error && !error_) error_ = std::move(error);
        if (trace_) {
          entries_.push_back({command.operation->name, lane.stream, lane.name, lane.device, start, end,
                              command.operation->copied_bytes});
        }
      } else if (command.kind == Command::Kind::Record || command.kind == Command::Kind::Raise) {
        progress_.note(command);
        for (const auto& other : lanes_) {
          if (other.get() != &lane && !other->running && other->can_run(progress_)) other->wake.notify_one();
        }
      }
      if (command.kind == Command::Kind::Record || !lane.can_run(progress_)) host_wake_.notify_one();
    }
  }

  bool stuck() const {
    return std::ranges::none_of(lanes_, [&](const auto& lane) { return lane->running || lane->can_run(progress_); });
  }

  std::string deadlock(Event event) const {
    std::string text = "Nothing can run, but event " + std::to_string(event_id::sequence(event)) + " of stream '" +
                       lanes_[static_cast<std::size_t>(event_id::stream(event))]->name + "' is not done";
    for (const auto& lane : lanes_) {
      if (!lane->queue.empty()) text += "; " + progress_.describe_wait(lane->queue.front());
    }
    return text + ".";
  }

  mutable std::mutex mutex_;
  std::condition_variable host_wake_;
  StreamProgress progress_;
  std::vector<std::unique_ptr<StreamLane>> lanes_;
  std::optional<Error> error_;
  bool stopping_ = false;
  bool trace_ = false;
  std::vector<TraceEntry> entries_;
};

}  // namespace

std::unique_ptr<Executor> make_thread_executor(bool trace) {
  return std::make_unique<ThreadExecutor>(trace);
}

}  // namespace krasis

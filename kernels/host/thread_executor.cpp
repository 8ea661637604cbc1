#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "kernels/host/executor.h"
#include "kernels/host/run_operation.h"

namespace krasis {
namespace {

/// As many threads as streams, but none belongs to a stream: a thread goes on with its stream while that can run, and
/// takes up any other that can when it cannot. So a stream that hands over to another and then waits for it (a decode
/// step does so in every layer) costs no wake-up, while streams that can run at the same time do.
///
/// One mutex guards all queues and counters: commands are few (hundreds a token) and it is never held while an
/// operation runs.
class ThreadExecutor final : public Executor {
 public:
  ThreadExecutor(bool trace, std::shared_ptr<ThreadTeam> team) : trace_(trace), team_(std::move(team)) {}

  ~ThreadExecutor() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void add_stream(std::string_view name, int device) override {
    const std::lock_guard lock(mutex_);
    progress_.streams.push_back({std::string(name)});
    lanes_.push_back(std::make_unique<StreamLane>());
    StreamLane& lane = *lanes_.back();
    lane.stream = static_cast<int>(lanes_.size()) - 1;
    lane.name = name;
    lane.device = device;
    threads_.emplace_back([this] { work(); });
  }
  void add_signal(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    progress_.signals.push_back({std::string(name)});
  }
  void submit(Command command) override {
    const std::lock_guard lock(mutex_);
    StreamLane& lane = *lanes_[static_cast<std::size_t>(command.stream)];
    lane.queue.push_back(std::move(command));
    if (lane.queue.size() == 1) wake_for(startable());
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

  void set_tracing(bool tracing) override {
    const std::lock_guard lock(mutex_);
    trace_ = tracing;
    entries_.clear();
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
    bool taken = false;  ///< a thread works on it

    bool can_run(const StreamProgress& progress) const { return !queue.empty() && progress.ready(queue.front()); }
  };

  bool startable(const StreamLane& lane) const { return !lane.taken && lane.can_run(progress_); }
  std::size_t startable() const {
    return static_cast<std::size_t>(std::ranges::count_if(lanes_, [&](const auto& lane) { return startable(*lane); }));
  }

  /// Wakes idle threads until `wanted` have been woken.
  void wake_for(std::size_t wanted) {
    for (; woken_ < std::min(wanted, idle_); ++woken_) wake_.notify_one();
  }

  void work() {
    const ThreadTeam::Scope scope(team_.get());
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const auto found = std::ranges::find_if(lanes_, [&](const auto& lane) { return startable(*lane); });
      if (found != lanes_.end()) {
        run(**found, lock);
        continue;
      }
      ++idle_;
      wake_.wait(lock);
      --idle_;
      if (woken_ > 0) --woken_;
    }
  }

  /// Runs commands of a stream until it must wait.
  void run(StreamLane& lane, std::unique_lock<std::mutex>& lock) {
    lane.taken = true;
    while (!stopping_ && lane.can_run(progress_)) {
      const Command command = std::move(lane.queue.front());
      lane.queue.pop_front();
      if (command.kind == Command::Kind::Run) {
        const bool trace = trace_;
        lock.unlock();
        const std::int64_t start = trace ? trace_clock_ns() : 0;
        auto error = run_operation(*command.operation, lane.name);
        const std::int64_t end = trace ? trace_clock_ns() : 0;
        lock.lock();
        if (error && !error_) error_ = std::move(error);
        if (trace) {
          entries_.push_back({command.operation->name, lane.stream, lane.name, lane.device, start, end,
                              command.operation->copied_bytes});
        }
      } else if (command.kind == Command::Kind::Record || command.kind == Command::Kind::Raise) {
        progress_.note(command);
        // One of those that can go on now is this thread's own, if it cannot go on here.
        const std::size_t others = startable();
        wake_for(lane.can_run(progress_) || others == 0 ? others : others - 1);
        if (command.kind == Command::Kind::Record) host_wake_.notify_one();
      }
    }
    lane.taken = false;
    if (stuck()) host_wake_.notify_one();
  }

  bool stuck() const {
    return std::ranges::none_of(lanes_, [&](const auto& lane) { return lane->taken || lane->can_run(progress_); });
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
  std::condition_variable wake_, host_wake_;
  std::size_t idle_ = 0;   ///< threads that wait for wake_
  std::size_t woken_ = 0;  ///< of these: notified, but not yet at work
  StreamProgress progress_;
  std::vector<std::unique_ptr<StreamLane>> lanes_;
  std::optional<Error> error_;
  bool stopping_ = false;
  bool trace_ = false;
  std::vector<TraceEntry> entries_;
  std::shared_ptr<ThreadTeam> team_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Executor> make_thread_executor(bool trace, std::shared_ptr<ThreadTeam> team) {
  return std::make_unique<ThreadExecutor>(trace, std::move(team));
}

}  // namespace krasis

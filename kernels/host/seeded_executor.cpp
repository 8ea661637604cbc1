#include <algorithm>
#include <deque>
#include <random>

#include "kernels/host/executor.h"
#include "kernels/host/run_operation.h"

namespace krasis {
namespace {

class SeededExecutor final : public Executor {
 public:
  SeededExecutor(std::uint64_t seed, bool trace, std::shared_ptr<ThreadTeam> team)
      : generator_(seed), trace_(trace), team_(std::move(team)) {
    constexpr std::uint64_t kBursts[] = {1, 4, 16, 256};
    burst_ = kBursts[generator_() % std::size(kBursts)];
  }

  void add_stream(std::string_view name, int device) override {
    progress_.streams.push_back({std::string(name)});
    queues_.emplace_back();
    devices_.push_back(device);
  }
  void add_signal(std::string_view name) override { progress_.signals.push_back({std::string(name)}); }
  void submit(Command command) override {
    queues_[static_cast<std::size_t>(command.stream)].push_back(std::move(command));
  }

  Expected<void> synchronize(Event event) override {
    const ThreadTeam::Scope scope(team_.get());
    while (event && !progress_.done(event)) {
      if (!step()) return fail(ErrorCode::Internal, deadlock(event), "Report this: the program's own order is wrong.");
    }
    if (error_) return tl::unexpected(*std::exchange(error_, std::nullopt));
    return {};
  }

  void set_tracing(bool tracing) override {
    trace_ = tracing;
    entries_.clear();
  }
  std::vector<TraceEntry> trace() const override { return entries_; }

 private:
  /// Runs one command; false if every stream is empty or waits.
  bool step() {
    runnable_.clear();
    for (std::size_t stream = 0; stream < queues_.size(); ++stream) {
      if (!queues_[stream].empty() && progress_.ready(queues_[stream].front())) runnable_.push_back(stream);
    }
    if (runnable_.empty()) return false;
    // A stream goes on for a burst, whose mean length differs between seeds: drawing anew for each command would hardly
    // ever let one stream run far ahead of the others, which is what a missing wait needs to show.
    // Not std::uniform_int_distribution: its draws differ between standard libraries.
    const bool stays = std::find(runnable_.begin(), runnable_.end(), current_) != runnable_.end();
    if (!stays || generator_() % burst_ == 0) current_ = runnable_[generator_() % runnable_.size()];
    auto& queue = queues_[current_];
    const Command command = std::move(queue.front());
    queue.pop_front();
    if (command.kind == Command::Kind::Run) run(command);
    progress_.note(command);
    return true;
  }

  void run(const Command& command) {
    const auto stream = static_cast<std::size_t>(command.stream);
    const std::int64_t start = trace_ ? trace_clock_ns() : 0;
    auto error = run_operation(*command.operation, progress_.streams[stream].name);
    if (error && !error_) error_ = std::move(error);
    if (!trace_) return;
    entries_.push_back({command.operation->name, command.stream, progress_.streams[stream].name, devices_[stream],
                        start, trace_clock_ns(), command.operation->copied_bytes});
  }

  std::string deadlock(Event event) const {
    const auto stream = static_cast<std::size_t>(event_id::stream(event));
    std::string text = "Nothing can run, but event " + std::to_string(event_id::sequence(event)) + " of stream '" +
                       progress_.streams[stream].name + "' is not done";
    for (const auto& queue : queues_) {
      if (!queue.empty()) text += "; " + progress_.describe_wait(queue.front());
    }
    return text + ".";
  }

  StreamProgress progress_;
  std::vector<std::deque<Command>> queues_;
  std::vector<int> devices_;
  std::mt19937_64 generator_;
  std::uint64_t burst_ = 1;   ///< mean number of commands before another stream may be chosen
  std::size_t current_ = 0;
  std::vector<std::size_t> runnable_;
  std::optional<Error> error_;
  bool trace_ = false;
  std::vector<TraceEntry> entries_;
  std::shared_ptr<ThreadTeam> team_;
};

}  // namespace

std::unique_ptr<Executor> make_seeded_executor(std::uint64_t seed, bool trace, std::shared_ptr<ThreadTeam> team) {
  return std::make_unique<SeededExecutor>(seed, trace, std::move(team));
}

}  // namespace krasis

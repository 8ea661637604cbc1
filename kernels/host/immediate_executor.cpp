#include <optional>
#include <utility>

#include "kernels/host/executor.h"
#include "kernels/host/run_operation.h"

namespace krasis {
namespace {

class ImmediateExecutor final : public Executor {
 public:
  explicit ImmediateExecutor(std::shared_ptr<ThreadTeam> team) : team_(std::move(team)) {}

  void add_stream(std::string_view name, int) override { progress_.streams.push_back({std::string(name)}); }
  void add_signal(std::string_view name) override { progress_.signals.push_back({std::string(name)}); }

  void submit(Command command) override {
    if (!progress_.ready(command)) {
      remember({ErrorCode::Internal, progress_.describe_wait(command) + ", which nothing before it does.",
                "Report this: the program's own order is wrong."});
    }
    if (command.kind == Command::Kind::Run) {
      std::optional<ThreadTeam::Scope> scope;
      if (team_) scope.emplace(team_.get());
      const std::string& stream = progress_.streams[static_cast<std::size_t>(command.stream)].name;
      if (auto error = run_operation(*command.operation, stream)) remember(std::move(*error));
    }
    progress_.note(command);
  }

  Expected<void> synchronize(Event) override {
    if (error_) return tl::unexpected(*std::exchange(error_, std::nullopt));
    return {};
  }

  void set_tracing(bool) override {}
  std::vector<TraceEntry> trace() const override { return {}; }

 private:
  void remember(Error error) {
    if (!error_) error_ = std::move(error);
  }

  StreamProgress progress_;
  std::optional<Error> error_;
  std::shared_ptr<ThreadTeam> team_;
};

}  // namespace

std::unique_ptr<Executor> make_immediate_executor(std::shared_ptr<ThreadTeam> team) {
  return std::make_unique<ImmediateExecutor>(std::move(team));
}

}  // namespace krasis

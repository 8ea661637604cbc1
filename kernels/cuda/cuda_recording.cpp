// Recordings of the CUDA platform: one graph of all CUDA streams, a list for each host lane.
#include <set>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_platform_impl.h"

namespace krasis {

using cuda::EventLease;
using cuda::HostCommand;
using cuda::RecordedStep;
using cuda::SignalState;
using cuda::StreamCommand;
using cuda::StreamState;

/// Builds a step from its commands by capturing its streams.
///
/// An event inside the step that one CUDA stream waits for on another becomes an edge of the graph. If a host lane is
/// on either side, it becomes a signal of its own, raised where the event was recorded: one for each wait. An await
/// whose signal another CUDA stream has raised earlier in the step becomes an edge as well as an await: CUDA may run
/// the branches of a graph one after the other, and must not begin with the one that waits.
class GraphBuilder {
 public:
  GraphBuilder(CudaPlatform::Impl& platform, const std::vector<StreamCommand>& commands)
      : platform_(platform), commands_(commands) {}

  RecordedStep build() {
    survey();
    if (step_.origin < 0) {
      for (const StreamCommand& command : commands_) {
        if (!is_outside(command)) add_to_list(command);
      }
    } else {
      capture();
    }
    for (auto& [lane, list] : lists_) {
      step_.lists[lane] = std::make_shared<const std::vector<HostCommand>>(std::move(list));
    }
    return std::move(step_);
  }

 private:
  bool is_host(int stream) const { return platform_.stream(stream).host != nullptr; }
  cudaStream_t cuda_stream(int stream) const { return platform_.stream(stream).launch.stream; }
  bool is_outside(const StreamCommand& command) const {
    return command.kind == StreamCommand::Kind::Wait && !recorded_on_.contains(command.event.id);
  }

  /// Which streams take part, who waits for whom; makes what must not be made while capturing.
  void survey() {
    for (const StreamCommand& command : commands_) {
      if (command.kind == StreamCommand::Kind::Record) recorded_on_[command.event.id] = command.stream;
      if (is_outside(command)) {
        step_.outside.push_back(command);
        continue;
      }
      if (is_host(command.stream)) {
        lists_[command.stream];
      } else if (streams_.insert(command.stream).second) {
        step_.streams.push_back(command.stream);
      }
      if (command.kind == StreamCommand::Kind::Raise || command.kind == StreamCommand::Kind::Await) {
        const bool raise = command.kind == StreamCommand::Kind::Raise;
        if (!platform_.claim(platform_.signal(command.signal), command.stream, raise)) step_.failed = true;
        if (!raise) ++step_.awaits[command.signal];
        if (!raise) platform_.signal(command.signal).why = command.name;
      }
      if (command.kind == StreamCommand::Kind::Wait) {
        const int from = recorded_on_[command.event.id];
        if (from != command.stream && (is_host(from) || is_host(command.stream))) bridge(command, from);
      }
    }
    if (!step_.streams.empty()) step_.origin = step_.streams.front();
  }

  void bridge(const StreamCommand& wait, int from) {
    const int id = platform_.new_signal(wait.name);
    SignalState& signal = platform_.signal(id);
    if (!platform_.claim(signal, from, true) || !platform_.claim(signal, wait.stream, false)) step_.failed = true;
    signal.why = wait.name;
    ++step_.awaits[id];
    raised_by_event_[wait.event.id].push_back(id);
    awaited_by_wait_[&wait] = id;
  }

  void capture() {
    if (step_.failed) return;
    const cudaStream_t origin = cuda_stream(step_.origin);
    select(step_.origin);
    if (!check(cudaStreamBeginCapture(origin, cudaStreamCaptureModeRelaxed), "begin a graph")) return;
    const EventLease fork = mark(step_.origin);
    for (const int stream : step_.streams) {
      if (stream != step_.origin) depend(stream, fork);
    }
    for (const StreamCommand& command : commands_) {
      if (is_outside(command)) continue;
      is_host(command.stream) ? add_to_list(command) : add_to_graph(command);
    }
    for (const int stream : step_.streams) {
      if (stream != step_.origin) depend(step_.origin, mark(stream));
    }
    select(step_.origin);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    if (!check(cudaStreamEndCapture(origin, &graph), "end a graph")) return;
    if (check(cudaGraphInstantiate(&executable, graph, 0), "make a graph ready to run")) {
      step_.graph = {executable, [](cudaGraphExec_t exec) { cudaGraphExecDestroy(exec); }};
      check(cudaGraphUpload(executable, origin), "upload a graph");
    }
    cudaGraphDestroy(graph);
  }

  void add_to_graph(const StreamCommand& command) {
    const StreamState& state = platform_.stream(command.stream);
    select(command.stream);
    switch (command.kind) {
      case StreamCommand::Kind::Launch: {
        const EventLease start = time(command.stream);
        platform_.call(command, state.launch);
        check(cudaGetLastError(), "record '" + command.name + "' on stream '" + state.name + "'");
        const EventLease end = time(command.stream);
        if (start && end) step_.spans.push_back({command.name, command.stream, start, end, command.copied_bytes});
        return;
      }
      case StreamCommand::Kind::Record:
        edges_[command.event.id] = mark(command.stream);
        for (const int id : raised_by_event_[command.event.id]) {
          platform_.launch_signal(state, platform_.signal(id), true);
        }
        return;
      case StreamCommand::Kind::Wait:
        if (const auto bridged = awaited_by_wait_.find(&command); bridged != awaited_by_wait_.end()) {
          return platform_.launch_signal(state, platform_.signal(bridged->second), false);
        }
        if (recorded_on_[command.event.id] != command.stream) depend(command.stream, edges_[command.event.id]);
        return;
      case StreamCommand::Kind::Raise:
        platform_.launch_signal(state, command);
        last_raise_[command.signal] = mark(command.stream);
        return;
      case StreamCommand::Kind::Await:
        if (const auto raised = last_raise_.find(command.signal);
            raised != last_raise_.end() && platform_.signal(command.signal).raiser != command.stream) {
          depend(command.stream, raised->second);
        }
        return platform_.launch_signal(state, command);
      case StreamCommand::Kind::Task:
        return;  // host lanes alone
    }
  }

  void add_to_list(const StreamCommand& command) {
    std::vector<HostCommand>& list = lists_[command.stream];
    const auto signal = [&](HostCommand::Kind kind, int id) {
      list.push_back({.kind = kind, .signal = &platform_.signal(id)});
    };
    switch (command.kind) {
      case StreamCommand::Kind::Task:
        return list.push_back({.kind = HostCommand::Kind::Run, .task = command.task});
      case StreamCommand::Kind::Record:
        for (const int id : raised_by_event_[command.event.id]) signal(HostCommand::Kind::Raise, id);
        return;
      case StreamCommand::Kind::Wait:
        if (const auto bridged = awaited_by_wait_.find(&command); bridged != awaited_by_wait_.end()) {
          signal(HostCommand::Kind::Await, bridged->second);
        }
        return;
      case StreamCommand::Kind::Raise:
        return signal(HostCommand::Kind::Raise, command.signal);
      case StreamCommand::Kind::Await:
        return signal(HostCommand::Kind::Await, command.signal);
      case StreamCommand::Kind::Launch:
        return;  // CUDA streams alone
    }
  }

  void select(int stream) { check(cudaSetDevice(platform_.stream(stream).cuda_index), "select a device"); }
  /// Where the stream's captured work is now. The event stays lent until the graph is built.
  EventLease mark(int stream) {
    select(stream);
    EventLease event = platform_.events(platform_.stream(stream).cuda_index).get();
    if (!event || !check(cudaEventRecord(event.get(), cuda_stream(stream)), "mark a point of a graph")) return nullptr;
    marks_.push_back(event);
    return event;
  }
  void depend(int stream, const EventLease& event) {
    if (!event) {
      step_.failed = true;
      return;
    }
    check(cudaStreamWaitEvent(cuda_stream(stream), event.get(), 0), "connect two streams of a graph");
  }
  /// With tracing: a node that records a timing event at each replay.
  EventLease time(int stream) {
    if (!platform_.tracing_) return nullptr;
    EventLease event = platform_.trace_.event(stream);
    if (event) {
      check(cudaEventRecordWithFlags(event.get(), cuda_stream(stream), cudaEventRecordExternal), "time an operation");
    }
    return event;
  }
  bool check(cudaError_t status, std::string_view what) {
    if (platform_.failures_.check(status, what)) return true;
    step_.failed = true;
    return false;
  }

  CudaPlatform::Impl& platform_;
  const std::vector<StreamCommand>& commands_;
  RecordedStep step_;
  std::set<int> streams_;
  std::map<int, std::vector<HostCommand>> lists_;
  std::map<std::uint64_t, int> recorded_on_;                   ///< event -> stream
  std::map<std::uint64_t, std::vector<int>> raised_by_event_;  ///< event -> signals of the waits for it
  std::map<const StreamCommand*, int> awaited_by_wait_;        ///< wait -> its signal
  std::map<std::uint64_t, EventLease> edges_;                  ///< event -> its point of the graph
  std::map<int, EventLease> last_raise_;                       ///< signal -> point of the graph
  std::vector<EventLease> marks_;
};

void CudaPlatform::Impl::begin_recording() {
  if (recording_) return misuse("A recording was begun inside a recording.");
  recording_ = true;
}

Recording CudaPlatform::Impl::end_recording() {
  if (!recording_) {
    misuse("A recording was ended that was never begun.");
    return {};
  }
  recording_ = false;
  std::vector<StreamCommand> commands = std::exchange(current_, {});
  std::size_t copied_bytes = 0;
  for (const StreamCommand& command : commands) {
    copied_bytes += command.task ? command.task->copied_bytes : command.copied_bytes;
  }
  if (options_.graphs) {
    recordings_.push_back(GraphBuilder(*this, commands).build());
    recordings_.back().copied_bytes = copied_bytes;
  } else {
    recordings_.push_back({});
    recordings_.back().commands = std::move(commands);
  }
  return {static_cast<int>(recordings_.size()) - 1};
}

void CudaPlatform::Impl::replay(Recording recording) {
  if (recording_ || recording.id < 0 || static_cast<std::size_t>(recording.id) >= recordings_.size()) {
    return misuse("A replay needs a finished recording and must not be part of one.");
  }
  RecordedStep& step = recordings_[static_cast<std::size_t>(recording.id)];
  if (step.failed) return misuse("A step is replayed that could not be recorded.");
  if (!options_.graphs) return replay_commands(step);
  copied_bytes_ += step.copied_bytes;
  for (const StreamCommand& wait : step.outside) execute(wait);
  for (const auto& [id, count] : step.awaits) signal(id).enqueued_awaits += count;
  if (step.graph) launch_graph(step);
  for (const auto& [lane, list] : step.lists) {
    stream(lane).host->submit({.kind = HostCommand::Kind::List, .list = list});
    step.last[lane] = record_now(lane);
  }
}

void CudaPlatform::Impl::replay_commands(const RecordedStep& step) {
  for (const StreamCommand& command : step.commands) {
    if (command.kind == StreamCommand::Kind::Record) {
      templates_[(command.event.id & ~event_id::kTemplateBit) - 1].last = record_now(command.stream);
    } else {
      execute(command);
    }
  }
}

void CudaPlatform::Impl::launch_graph(RecordedStep& step) {
  StreamState& origin = stream(step.origin);
  // All that was enqueued on its streams comes before the graph. A stream that nobody has used since the last replay
  // costs nothing.
  for (const int id : step.streams) {
    StreamState& state = stream(id);
    if (id == step.origin) continue;
    EventLease before;
    if (state.touched) {
      before = record_event(state);
    } else if (state.join_origin != step.origin) {
      before = state.join;
    }
    if (before) check(cudaStreamWaitEvent(origin.launch.stream, before.get(), 0), "begin a recorded step");
  }
  if (step.done) {
    // The same timing events are recorded again by this replay, so the last one's times are read first.
    check(cudaEventSynchronize(step.done.get()), "wait for a traced step");
    trace_.collect(step.spans);
  }
  prepare(origin);
  check(cudaGraphLaunch(step.graph.get(), origin.launch.stream), "run a recorded step");
  const Event after = record_now(step.origin);
  // And all that comes later on its streams comes after it: each one waits when it is next used.
  const EventLease done = origin.pending.back();
  for (const int id : step.streams) {
    step.last[id] = after;
    if (id == step.origin) continue;
    StreamState& state = stream(id);
    state.join = done;
    state.join_origin = step.origin;
    state.touched = false;
  }
  step.done = tracing_ && !step.spans.empty() ? done : EventLease{};
}

Expected<void> CudaPlatform::Impl::set_tracing(bool tracing) {
  tracing_ = false;
  trace_.clear();
  for (RecordedStep& step : recordings_) step.done.reset();
  if (!tracing) return {};
  for (const DeviceState& device : gpus_) KRASIS_CHECK(trace_.add_gpu(device.cuda_index));
  tracing_ = true;
  return {};
}

void CudaPlatform::Impl::collect_trace() {
  if (!tracing_) return;
  trace_.collect();
  for (RecordedStep& step : recordings_) {
    if (!step.done || cuda::query(step.done.get()) != cudaSuccess) continue;
    trace_.collect(step.spans);
    step.done.reset();
  }
}

}  // namespace krasis

// Streams, events and signals of the CUDA platform; copies.
#include <cstring>

#include "kernels/cuda/backoff.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_platform_impl.h"

namespace krasis {

using cuda::EventLease;
using cuda::HostCommand;
using cuda::SignalState;
using cuda::StreamCommand;
using cuda::StreamState;

// What the devices call ----------------------------------------------------------------------------------------------

Stream CudaPlatform::Impl::create_stream(int device, std::string_view name, Lane lane) {
  const DeviceState& gpu = gpus_[static_cast<std::size_t>(device)];
  const int id = static_cast<int>(streams_.size());
  auto state = std::make_unique<StreamState>();
  state->name = name;
  state->device = device;
  state->cuda_index = gpu.cuda_index;
  state->launch = gpu.launch;
  state->compute = lane == Lane::Compute;
  check(cudaSetDevice(gpu.cuda_index), "select a device");
  if (lane == Lane::Host) {
    auto progress = signals_.make_line();
    // Without page-locked memory the lane still runs; the error surfaces at the next synchronize.
    static cuda::SignalLine nobody_reads;
    if (!progress) failures_.note(progress.error());
    auto ended = [this, id, device, lane_name = std::string(name)](const Operation& task, std::int64_t start_ns,
                                                                   std::int64_t end_ns) {
      if (task.copied_bytes == 0) host_task_ns_ += end_ns - start_ns;
      if (tracing_) trace_.add_host({task.name, id, lane_name, device, start_ns, end_ns, task.copied_bytes});
    };
    state->host = std::make_unique<cuda::HostLane>(std::string(name), progress ? *progress : &nobody_reads, failures_,
                                                   std::move(ended));
  } else {
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "ask for the priorities of streams");
    check(cudaStreamCreateWithPriority(&state->launch.stream, cudaStreamNonBlocking,
                                       lane == Lane::Compute ? greatest : least),
          "make stream '" + state->name + "'");
    if (lane == Lane::Compute) {
      constexpr std::size_t kBytes = cuda::kCounters * sizeof(unsigned);
      void* counters = nullptr;
      if (failures_.check(cudaMalloc(&counters, kBytes), "make the counters of a stream")) {
        check(cudaMemsetAsync(counters, 0, kBytes, state->launch.stream), "clear the counters of a stream");
        state->counters = state->launch.counters = static_cast<unsigned*>(counters);
      }
    }
    trace_.add_stream(id, state->name, device, gpu.cuda_index);
  }
  streams_.push_back(std::move(state));
  return {id};
}

int CudaPlatform::Impl::new_signal(std::string_view name) {
  SignalState& state = signal_states_.emplace_back();
  state.name = name;
  auto line = signals_.make_line();
  if (line) {
    state.line = *line;
  } else {
    failures_.note(line.error());
  }
  return static_cast<int>(signal_states_.size()) - 1;
}

Signal CudaPlatform::Impl::create_signal(std::string_view name) {
  return {new_signal(name)};
}

Event CudaPlatform::Impl::record(Stream stream) {
  if (!recording_) return record_now(stream.id);
  templates_.push_back({.recording = static_cast<int>(recordings_.size()), .stream = stream.id});
  const Event event = event_id::make_template(templates_.size());
  current_.push_back({.kind = StreamCommand::Kind::Record, .stream = stream.id, .event = event});
  return event;
}

void CudaPlatform::Impl::wait(Stream stream, Event event, std::string_view why) {
  if (event) add({.kind = StreamCommand::Kind::Wait, .stream = stream.id, .name = std::string(why), .event = event});
}

void CudaPlatform::Impl::raise(Stream stream, Signal signal) {
  add({.kind = StreamCommand::Kind::Raise, .stream = stream.id, .signal = signal.id});
}

void CudaPlatform::Impl::await(Stream stream, Signal signal, std::string_view why) {
  add({.kind = StreamCommand::Kind::Await, .stream = stream.id, .name = std::string(why), .signal = signal.id});
}

bool CudaPlatform::Impl::copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal) {
  cuda::SmallCopies small;
  std::size_t bytes = 0;
  for (const auto& [to, from, name] : copies) {
    const auto bits = reinterpret_cast<std::uintptr_t>(to.data) | reinterpret_cast<std::uintptr_t>(from.data) | from.bytes();
    if (small.count == cuda::SmallCopies::kMost || bits % 4 != 0 || !is_small_copy(this->stream(stream.id), to, from)) return false;
    small.to[small.count] = reinterpret_cast<std::uint32_t*>(to.data);
    small.from[small.count] = reinterpret_cast<const std::uint32_t*>(from.data);
    small.words[small.count++] = static_cast<std::uint32_t>(from.bytes() / 4);
    bytes += from.bytes();
  }
  add({.kind = StreamCommand::Kind::Raise, .stream = stream.id, .copied_bytes = bytes, .signal = signal.id, .copies = small});
  return true;
}

bool CudaPlatform::Impl::await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum) {
  const View<const std::byte> x{reinterpret_cast<const std::byte*>(sum.x.data), sum.x.bytes()};
  const View<const std::byte> out{reinterpret_cast<const std::byte*>(sum.out.data), sum.out.bytes()};
  if (!is_small_copy(this->stream(stream.id), out, x)) return false;
  add({.kind = StreamCommand::Kind::Await,
       .stream = stream.id,
       .name = std::string(why),
       .copied_bytes = sum.x.bytes(),
       .signal = signal.id,
       .sum = sum});
  return true;
}

void CudaPlatform::Impl::launch(Stream stream, std::string_view name, std::function<void(const cuda::Launch&)> launch,
                                std::size_t copied_bytes) {
  if (this->stream(stream.id).host) {
    return misuse("Operation '" + std::string(name) + "' was enqueued on the host lane '" +
                  this->stream(stream.id).name + "', which runs host code alone.");
  }
  add({.kind = StreamCommand::Kind::Launch,
       .stream = stream.id,
       .name = std::string(name),
       .launch = std::move(launch),
       .copied_bytes = copied_bytes});
}

void CudaPlatform::Impl::host_task(Stream stream, std::string_view name, std::function<void()> task) {
  if (!this->stream(stream.id).host) {
    return misuse("Host code '" + std::string(name) + "' was enqueued on '" + this->stream(stream.id).name +
                  "', which is not a host lane.");
  }
  auto operation = std::make_shared<Operation>();
  operation->name = name;
  operation->run = std::move(task);
  add({.kind = StreamCommand::Kind::Task, .stream = stream.id, .task = std::move(operation)});
}

void CudaPlatform::Impl::copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name) {
  const StreamState& lane = this->stream(stream.id);
  if (to.bytes() != from.bytes()) {
    return failures_.note({ErrorCode::Internal,
                           "Operation '" + std::string(name) + "' on stream '" + lane.name + "' failed: a copy of " +
                               std::to_string(from.bytes()) + " bytes into a place of " + std::to_string(to.bytes()),
                           "The results since then cannot be used; repeat the run and report this if it fails again."});
  }
  const std::size_t bytes = from.bytes();
  if (bytes == 0) return;
  using Kind = cuda::AddressMap::Kind;
  const auto target = addresses_.find(to.data, bytes), source = addresses_.find(from.data, bytes);
  if (lane.host) {
    if ((target && target->kind == Kind::Device) || (source && source->kind == Kind::Device)) {
      return misuse("Copy '" + std::string(name) + "' on the host lane '" + lane.name + "' touches a GPU's memory.");
    }
    auto operation = std::make_shared<Operation>();
    operation->name = name;
    operation->copied_bytes = bytes;
    operation->run = [to, from, bytes] { std::memcpy(to.data, from.data, bytes); };
    return add({.kind = StreamCommand::Kind::Task, .stream = stream.id, .task = std::move(operation)});
  }
  if (recording_ && (!target || !source)) {
    return misuse("Copy '" + std::string(name) +
                  "' of a recorded step uses host memory that is neither allocated nor registered here.");
  }
  const bool small = is_small_copy(lane, to, from);
  launch(
      stream, name,
      [to, from, bytes, small](const cuda::Launch& launch) {
        if (small) return cuda::launch_small_copy(launch.stream, to.data, from.data, bytes);
        // A failure is the last error, too, which whoever launches looks at.
        (void)cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDefault, launch.stream);
      },
      bytes);
}

bool CudaPlatform::Impl::reads_directly(View<const std::byte> host) const {
  const auto range = addresses_.find(host.data, host.bytes());
  return range && range->kind == cuda::AddressMap::Kind::PageLocked;
}

bool CudaPlatform::Impl::is_small_copy(const StreamState& lane, View<const std::byte> to, View<const std::byte> from) const {
  using Kind = cuda::AddressMap::Kind;
  const auto in_reach = [&](View<const std::byte> view) {
    const auto range = addresses_.find(view.data, view.bytes());
    return range &&
           (range->kind == Kind::PageLocked || (range->kind == Kind::Device && range->cuda_index == lane.cuda_index));
  };
  return lane.compute && to.bytes() == from.bytes() && from.bytes() <= cuda::kSmallCopyBytes && in_reach(to) && in_reach(from);
}

void CudaPlatform::Impl::host_access() {
  if (recording_) misuse("The host thread's own access cannot be part of a recorded step.");
}

// Execution ----------------------------------------------------------------------------------------------------------

void CudaPlatform::Impl::add(StreamCommand command) {
  if (recording_) {
    current_.push_back(std::move(command));
  } else {
    execute(command);
  }
}

void CudaPlatform::Impl::execute(const StreamCommand& command) {
  switch (command.kind) {
    case StreamCommand::Kind::Launch:
      return execute_launch(command);
    case StreamCommand::Kind::Task:
      copied_bytes_ += command.task->copied_bytes;
      return stream(command.stream).host->submit({.kind = HostCommand::Kind::Run, .task = command.task});
    case StreamCommand::Kind::Record:
      record_now(command.stream);
      return;
    case StreamCommand::Kind::Wait:
      return execute_wait(command);
    case StreamCommand::Kind::Raise:
    case StreamCommand::Kind::Await:
      return execute_signal(command);
  }
}

void CudaPlatform::Impl::prepare(StreamState& stream) {
  check(cudaSetDevice(stream.cuda_index), "select a device");
  stream.touched = true;
  if (!stream.join) return;
  check(cudaStreamWaitEvent(stream.launch.stream, stream.join.get(), 0), "wait for a recorded step");
  stream.join.reset();
}

void CudaPlatform::Impl::call(const StreamCommand& command, const cuda::Launch& launch) {
  try {
    command.launch(launch);
  } catch (const std::exception& exception) {
    refuse("The GPU cannot compute operation '" + command.name + "': " + exception.what() + ".",
           "Compute the model on the host device.");
  }
}

void CudaPlatform::Impl::execute_launch(const StreamCommand& command) {
  StreamState& state = stream(command.stream);
  prepare(state);
  copied_bytes_ += command.copied_bytes;
  cuda::TimedSpan span;
  if (tracing_) {
    span = {command.name, command.stream, trace_.event(command.stream), trace_.event(command.stream),
            command.copied_bytes};
  }
  if (span.start) check(cudaEventRecord(span.start.get(), state.launch.stream), "time an operation");
  call(command, state.launch);
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess) {
    check(status, "enqueue '" + command.name + "' on stream '" + state.name + "'");
  }
  if (!span.start || !span.end) return;
  check(cudaEventRecord(span.end.get(), state.launch.stream), "time an operation");
  trace_.add(std::move(span));
}

EventLease CudaPlatform::Impl::record_event(StreamState& stream) {
  prepare(stream);
  EventLease event = events(stream.cuda_index).get();
  if (!event) {
    check(cudaErrorUnknown, "make an event");
    return nullptr;
  }
  check(cudaEventRecord(event.get(), stream.launch.stream), "record an event on stream '" + stream.name + "'");
  return event;
}

Event CudaPlatform::Impl::record_now(int id) {
  StreamState& state = stream(id);
  if (state.host) {
    state.host->submit({.kind = HostCommand::Kind::Record});
  } else {
    forget_done(state);
    state.pending.push_back(record_event(state));
  }
  return event_id::make(id, ++state.recorded);
}

void CudaPlatform::Impl::forget_done(StreamState& stream) {
  // At most two for each new one: enough to keep up, and no long pause.
  for (int i = 0; i < 2 && !stream.pending.empty(); ++i) {
    const EventLease& first = stream.pending.front();
    if (first && cuda::query(first.get()) != cudaSuccess) return;
    stream.pending.pop_front();
    ++stream.completed;
  }
}

EventLease CudaPlatform::Impl::find_event(StreamState& stream, std::uint64_t sequence) {
  if (sequence <= stream.completed) return nullptr;
  const std::uint64_t index = sequence - stream.completed - 1;
  return index < stream.pending.size() ? stream.pending[index] : nullptr;
}

void CudaPlatform::Impl::execute_wait(const StreamCommand& command) {
  const auto event = resolve(command.event);
  if (!event) return misuse("A wait (" + command.name + ") is for an event of a step that was never replayed.");
  const int from = event_id::stream(*event);
  if (from == command.stream) return;  // a stream keeps its order anyway
  StreamState& source = stream(from);
  StreamState& target = stream(command.stream);
  const std::uint64_t sequence = event_id::sequence(*event);
  if (source.host) {
    const cuda::SignalLine* line = source.host->progress();
    const auto wanted = static_cast<std::uint32_t>(sequence);
    if (cuda::reached(cuda::load_acquire(line->raised), wanted)) return;
    if (target.host) {
      return target.host->submit({.kind = HostCommand::Kind::WaitLine, .line = line, .wanted = wanted});
    }
    prepare(target);
    cuda::launch_await_value(target.launch.stream, line, wanted);
    return check(cudaGetLastError(), "wait (" + command.name + ")");
  }
  EventLease lease = find_event(source, sequence);
  if (!lease) return;  // done
  if (target.host) {
    return target.host->submit({.kind = HostCommand::Kind::WaitEvent, .event = std::move(lease)});
  }
  prepare(target);
  check(cudaStreamWaitEvent(target.launch.stream, lease.get(), 0), "wait (" + command.name + ")");
}

bool CudaPlatform::Impl::claim(SignalState& signal, int stream, bool raise) {
  int& owner = raise ? signal.raiser : signal.awaiter;
  if (!signal.line) return false;  // noted when it was made
  if (owner >= 0 && owner != stream) {
    misuse("Signal '" + signal.name + "' is " + (raise ? "raised" : "awaited") + " by stream '" +
           this->stream(owner).name + "' and by stream '" + this->stream(stream).name +
           "'; it may be by one stream alone.");
    return false;
  }
  const StreamState& state = this->stream(stream);
  std::uint32_t*& count = raise ? signal.gpu_raises : signal.gpu_awaits;
  if (!state.host && !count) {
    auto made = signals_.make_count(state.cuda_index);
    if (!made) {
      failures_.note(made.error());
      return false;
    }
    count = *made;
  }
  owner = stream;
  return true;
}

void CudaPlatform::Impl::launch_signal(const StreamState& stream, const SignalState& signal, bool raise) {
  if (raise) {
    cuda::launch_raise(stream.launch.stream, signal.gpu_raises, signal.line);
  } else {
    cuda::launch_await(stream.launch.stream, signal.gpu_awaits, signal.line);
  }
  check(cudaGetLastError(), "enqueue signal '" + signal.name + "'");
}

void CudaPlatform::Impl::launch_signal(const StreamState& stream, const StreamCommand& command) {
  const SignalState& state = signal(command.signal);
  if (command.copies) {
    cuda::launch_copy_and_raise(stream.launch, *command.copies, state.gpu_raises, state.line);
  } else if (command.sum) {
    cuda::launch_await_and_add(stream.launch, state.gpu_awaits, state.line, *command.sum);
  } else {
    return launch_signal(stream, state, command.kind == StreamCommand::Kind::Raise);
  }
  check(cudaGetLastError(), "enqueue signal '" + state.name + "'");
}

void CudaPlatform::Impl::execute_signal(const StreamCommand& command) {
  copied_bytes_ += command.copied_bytes;
  SignalState& state = signal(command.signal);
  StreamState& lane = stream(command.stream);
  const bool raise = command.kind == StreamCommand::Kind::Raise;
  if (!claim(state, command.stream, raise)) return;
  if (!raise) {
    ++state.enqueued_awaits;
    state.why = command.name;
  }
  if (lane.host) {
    return lane.host->submit({.kind = raise ? HostCommand::Kind::Raise : HostCommand::Kind::Await, .signal = &state});
  }
  prepare(lane);
  launch_signal(lane, command);
}

// The enqueuing thread waits -----------------------------------------------------------------------------------------

std::optional<Event> CudaPlatform::Impl::resolve(Event event) const {
  if (!event_id::is_template(event)) return event;
  const Template& known = templates_[(event.id & ~event_id::kTemplateBit) - 1];
  if (static_cast<std::size_t>(known.recording) >= recordings_.size()) return std::nullopt;
  if (!options_.graphs) return known.last ? std::optional(known.last) : std::nullopt;
  const auto& last = recordings_[static_cast<std::size_t>(known.recording)].last;
  const auto found = last.find(known.stream);
  return found == last.end() ? std::nullopt : std::optional(found->second);
}

cudaError_t CudaPlatform::Impl::poll(Event event) {
  StreamState& state = stream(event_id::stream(event));
  const std::uint64_t sequence = event_id::sequence(event);
  if (state.host) {
    const bool done =
        cuda::reached(cuda::load_acquire(state.host->progress()->raised), static_cast<std::uint32_t>(sequence));
    return done ? cudaSuccess : cudaErrorNotReady;
  }
  const EventLease lease = find_event(state, sequence);
  return lease ? cuda::query(lease.get()) : cudaSuccess;
}

Expected<void> CudaPlatform::Impl::synchronize(Event event, std::string_view why) {
  if (recording_) misuse("A step that is being recorded cannot synchronize (" + std::string(why) + ").");
  const auto real = resolve(event);
  if (!real) misuse("A synchronize (" + std::string(why) + ") is for an event of a step that was never replayed.");
  if (!recording_ && real && *real) {
    cuda::Backoff backoff(std::chrono::microseconds(50));
    cudaError_t status = cudaErrorNotReady;
    while (!failures_.broken() && (status = poll(*real)) == cudaErrorNotReady) {
      if (options_.patience_s > 0 && backoff.waited() > std::chrono::duration<double>(options_.patience_s)) {
        return fail(ErrorCode::Internal,
                    "Nothing has come of '" + std::string(why) + "' on stream '" +
                        stream(event_id::stream(*real)).name + "' for " +
                        std::to_string(static_cast<int>(options_.patience_s)) + " s" + describe_missing() + ".",
                    "Report this: the program's own order is wrong, or the GPU hangs.");
      }
      backoff.pause();
    }
    if (status != cudaSuccess && status != cudaErrorNotReady) {
      cudaGetLastError();
      failures_.note_broken({ErrorCode::Internal,
                             "The GPU failed before '" + std::string(why) + "' on stream '" +
                                 stream(event_id::stream(*real)).name + "': " + cudaGetErrorString(status) + ".",
                             "The results since then cannot be used. Start a new run, and report this if it fails "
                             "again; compute-sanitizer names the operation."});
    }
    collect_trace();
  }
  return failures_.take();
}

std::string CudaPlatform::Impl::describe_missing() const {
  std::string text;
  for (const SignalState& state : signal_states_) {
    if (!state.line) continue;
    const std::uint32_t raised = cuda::load_acquire(state.line->raised);
    if (cuda::reached(raised, state.enqueued_awaits)) continue;
    text += "; signal '" + state.name + "' was raised " + std::to_string(raised) + " times, but is awaited " +
            std::to_string(state.enqueued_awaits) + " times (" + state.why + ")";
  }
  return text;
}

void CudaPlatform::Impl::misuse(std::string cause) {
  failures_.note({ErrorCode::Internal, std::move(cause), "Report this: it is a defect of the program."});
}

}  // namespace krasis

// Streams, events, signals and recordings of the host platform.
#include "kernels/host/host_device.h"
#include "kernels/host/host_platform_impl.h"

namespace krasis {

Stream HostPlatform::Impl::create_stream(int device, std::string_view name, Lane) {
  const std::lock_guard lock(mutex_);
  executor_->add_stream(name, device);
  if (checker_) checker_->add_stream(name, device);
  recorded_.push_back(0);
  return {static_cast<int>(recorded_.size()) - 1};
}

Signal HostPlatform::Impl::create_signal(std::string_view name) {
  const std::lock_guard lock(mutex_);
  executor_->add_signal(name);
  if (checker_) checker_->add_signal(name);
  signals_.push_back({});
  return {static_cast<int>(signals_.size()) - 1};
}

Event HostPlatform::Impl::record(Stream stream) {
  const std::lock_guard lock(mutex_);
  const Event event = recording_ ? event_id::make_template(++templates_)
                                 : event_id::make(stream.id, ++recorded_[static_cast<std::size_t>(stream.id)]);
  add({.kind = Command::Kind::Record, .stream = stream.id, .event = event});
  return event;
}

void HostPlatform::Impl::wait(Stream stream, Event event, std::string_view why) {
  if (!event) return;
  const std::lock_guard lock(mutex_);
  add({.kind = Command::Kind::Wait, .stream = stream.id, .event = event, .why = std::string(why)});
}

void HostPlatform::Impl::raise(Stream stream, Signal signal) {
  const std::lock_guard lock(mutex_);
  add({.kind = Command::Kind::Raise, .stream = stream.id, .signal = signal.id});
}

void HostPlatform::Impl::await(Stream stream, Signal signal, std::string_view why) {
  const std::lock_guard lock(mutex_);
  add({.kind = Command::Kind::Await, .stream = stream.id, .signal = signal.id, .why = std::string(why)});
}

void HostPlatform::Impl::run(Stream stream, Operation operation) {
  if (operation.toucher == Toucher::Host) {
    operation.run = [this, task = std::move(operation.run)] {
      const std::int64_t start = trace_clock_ns();
      task();
      host_task_ns_ += trace_clock_ns() - start;
    };
  }
  auto shared = std::make_shared<const Operation>(std::move(operation));
  const std::lock_guard lock(mutex_);
  add({.kind = Command::Kind::Run, .stream = stream.id, .operation = std::move(shared)});
}

void HostPlatform::Impl::add(Command command) {
  if (recording_) {
    current_.push_back(std::move(command));
  } else {
    enqueue(std::move(command));
  }
}

void HostPlatform::Impl::enqueue(Command command) {
  switch (command.kind) {
    case Command::Kind::Run:
      copied_bytes_ += command.operation->copied_bytes;
      break;
    case Command::Kind::Record:
      break;
    case Command::Kind::Wait: {
      wait_reasons_.insert(command.why);
      if (dropped_.contains(command.why)) return;
      const auto event = resolve(command.event);
      if (!event) {
        remember(ErrorCode::Internal,
                 "A wait (" + command.why + ") is for an event of a step that was never replayed.");
        return;
      }
      command.event = *event;
      break;
    }
    case Command::Kind::Raise:
      command.count = ++signals_[static_cast<std::size_t>(command.signal)].raises;
      break;
    case Command::Kind::Await:
      command.count = ++signals_[static_cast<std::size_t>(command.signal)].awaits;
      wait_reasons_.insert(command.why);
      if (dropped_.contains(command.why)) return;
      break;
  }
  if (checker_) checker_->enqueue(command);
  executor_->submit(std::move(command));
}

std::optional<Event> HostPlatform::Impl::resolve(Event event) const {
  if (!event_id::is_template(event)) return event;
  const auto found = last_replay_.find(event.id);
  return found == last_replay_.end() ? std::nullopt : std::optional(found->second);
}

Expected<void> HostPlatform::Impl::synchronize(Event event, std::string_view why) {
  Event real;
  {
    const std::lock_guard lock(mutex_);
    wait_reasons_.emplace(why);
    if (recording_)
      remember(ErrorCode::Internal, "A step that is being recorded cannot synchronize (" + std::string(why) + ").");
    if (dropped_.contains(std::string(why))) return {};
    if (const auto found = resolve(event)) {
      real = *found;
    } else {
      remember(ErrorCode::Internal,
               "A synchronize (" + std::string(why) + ") is for an event of a step that was never replayed.");
    }
  }
  // Without the lock, so that others can ask for reports meanwhile.
  auto result = executor_->synchronize(real);
  const std::lock_guard lock(mutex_);
  if (checker_) checker_->synchronize(real);
  if (misuse_) return tl::unexpected(*std::exchange(misuse_, std::nullopt));
  return result;
}

void HostPlatform::Impl::host_access(std::string_view name, std::span<const Access> reads,
                                     std::span<const Access> writes) {
  const std::lock_guard lock(mutex_);
  if (recording_)
    return remember(ErrorCode::Internal, "The host thread's own access cannot be part of a recorded step.");
  if (checker_) checker_->host_access(name, reads, writes);
}

void HostPlatform::Impl::begin_recording() {
  const std::lock_guard lock(mutex_);
  if (recording_) return remember(ErrorCode::Internal, "A recording was begun inside a recording.");
  recording_ = true;
}

Recording HostPlatform::Impl::end_recording() {
  const std::lock_guard lock(mutex_);
  if (!recording_) {
    remember(ErrorCode::Internal, "A recording was ended that was never begun.");
    return {};
  }
  recording_ = false;
  recordings_.push_back(std::exchange(current_, {}));
  return {static_cast<int>(recordings_.size()) - 1};
}

void HostPlatform::Impl::replay(Recording recording) {
  const std::lock_guard lock(mutex_);
  if (recording_ || recording.id < 0 || static_cast<std::size_t>(recording.id) >= recordings_.size()) {
    return remember(ErrorCode::Internal, "A replay needs a finished recording and must not be part of one.");
  }
  for (Command command : recordings_[static_cast<std::size_t>(recording.id)]) {
    if (command.kind == Command::Kind::Record) {
      const Event event = event_id::make(command.stream, ++recorded_[static_cast<std::size_t>(command.stream)]);
      last_replay_[command.event.id] = event;
      command.event = event;
    }
    enqueue(std::move(command));
  }
}

void HostPlatform::Impl::remember(ErrorCode code, std::string cause) {
  if (!misuse_) misuse_ = Error{code, std::move(cause), "Report this: it is a defect of the program."};
}

}  // namespace krasis

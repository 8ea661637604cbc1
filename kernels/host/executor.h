#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/host/command.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "kernels/host/trace.h"

namespace krasis {

/// What every schedule keeps of its streams and signals; the caller holds whatever lock protects it.
struct StreamProgress {
  struct Stream {
    std::string name;
    std::uint64_t recorded = 0;  ///< events that are done
  };
  struct Signal {
    std::string name;
    std::uint64_t raised = 0;
  };
  std::vector<Stream> streams;
  std::vector<Signal> signals;

  bool done(Event event) const {
    return streams[static_cast<std::size_t>(event_id::stream(event))].recorded >= event_id::sequence(event);
  }
  /// Whether `command`, at the head of its stream, need not wait.
  bool ready(const Command& command) const;
  /// Takes note of a Record or a Raise.
  void note(const Command& command);
  /// "stream 'compute' waits for event 3 of stream 'copy' (group buffer is full)"
  std::string describe_wait(const Command& command) const;
};

/// Runs the commands of streams, each stream in its order, in some order among streams that events and signals allow.
/// add_stream and add_signal number from 0. All functions are called by the enqueuing thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void add_stream(std::string_view name, int device) = 0;
  virtual void add_signal(std::string_view name) = 0;
  virtual void submit(Command command) = 0;
  /// Returns when `event` is done (a default Event is), with the first error of any operation since the last call.
  /// Fails with Internal if the event cannot become done because every stream that has work waits: the message lists
  /// what each one waits for.
  virtual Expected<void> synchronize(Event event) = 0;
  /// Whether operations that run from now on are remembered; forgets those that were.
  virtual void set_tracing(bool tracing) = 0;
  /// The operations that were remembered, in order of their start.
  virtual std::vector<TraceEntry> trace() const = 0;
};

/// As many threads as streams. Operations share out their work to `team`; null = oneTBB.
std::unique_ptr<Executor> make_thread_executor(bool trace, std::shared_ptr<ThreadTeam> team);
/// No threads: synchronize() runs one command at a time, from the head of a stream that need not wait, until the event
/// is done. A generator seeded with `seed` draws the stream, which then goes on for a burst whose mean length is the
/// seed's own. Equal seeds and calls give equal orders.
std::unique_ptr<Executor> make_seeded_executor(std::uint64_t seed, bool trace, std::shared_ptr<ThreadTeam> team);
/// No threads and no queues: submit() runs the command. A wait for what has not happened yet is an error, which
/// synchronize() returns. Traces nothing. Operations share
/// out their work to `team`; null = what the calling thread has.
std::unique_ptr<Executor> make_immediate_executor(std::shared_ptr<ThreadTeam> team);

}  // namespace krasis

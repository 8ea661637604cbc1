#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/protocol/protocol.h"

namespace krasis {

/// How a worker process ended.
struct WorkerEnd {
  int exit_code = 0;
  int signal = 0;  ///< 0 = none
  std::vector<std::string> last_lines;  ///< of its standard error, at most 20
  std::string text() const;  ///< "was killed by signal 11 (Segmentation fault)"
};

/// A worker as a child process: any command that speaks the protocol on two pipes ("krasis worker", "ssh host krasis
/// worker"). Used by one thread. The destructor ends the process, with SIGKILL if it does not go by itself.
class WorkerProcess {
 public:
  /// Starts `command` (looked up in PATH). Fails with Io or NotFound; a command that fails at once shows in next().
  static Expected<std::unique_ptr<WorkerProcess>> start(const std::vector<std::string>& command);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  Expected<void> send(const protocol::Request& request);
  /// The next event, nothing if none came within `timeout`. Corrupt for a line that is no event (the worker is then not
  /// to be trusted any more), Io when the process has ended: end() says how.
  Expected<std::optional<protocol::Event>> next(std::chrono::milliseconds timeout);
  /// Ends it now, by SIGKILL.
  void kill();
  /// How it ended; empty while it runs.
  const std::optional<WorkerEnd>& end() const { return end_; }

 private:
  WorkerProcess() = default;
  Expected<std::optional<protocol::Event>> decode_front();
  void read_errors();
  void reap(std::chrono::milliseconds patience);

  int pid_ = -1;
  int input_ = -1, output_ = -1, error_ = -1;  ///< our ends of its stdin, stdout, stderr
  protocol::LineSplitter lines_;
  protocol::LineSplitter error_lines_;
  std::deque<Expected<std::string>> pending_;
  std::deque<std::string> last_errors_;
  std::optional<WorkerEnd> end_;
};

}  // namespace krasis

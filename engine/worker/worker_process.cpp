#include "engine/worker/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include <fmt/format.h>

extern char** environ;

namespace krasis {
namespace {

constexpr std::size_t kLastLines = 20;

void close_descriptor(int& descriptor) {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

}  // namespace

std::string WorkerEnd::text() const {
  if (signal != 0) return fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
  return fmt::format("ended with exit code {}", exit_code);
}

Expected<std::unique_ptr<WorkerProcess>> WorkerProcess::start(const std::vector<std::string>& command) {
  if (command.empty()) return fail(ErrorCode::InvalidArgument, "No worker command is set.", "Set it to \"krasis worker\".");
  std::signal(SIGPIPE, SIG_IGN);  // a worker that dies while we write is an error of write(), not our end
  int in[2], out[2], err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) {
    return fail(ErrorCode::Io, fmt::format("No pipe to a worker could be made: {}.", std::strerror(errno)), "Close other programs.");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  // In a process group of its own: Ctrl+C reaches us alone, and we end the worker properly.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  std::unique_ptr<WorkerProcess> process(new WorkerProcess);
  const int error = ::posix_spawnp(&process->pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  process->input_ = in[1];
  process->output_ = out[0];
  process->error_ = err[0];
  if (error != 0) {
    process->pid_ = -1;
    return fail(ErrorCode::NotFound, fmt::format("The worker \"{}\" cannot be started: {}.", command[0], std::strerror(error)),
                "Check the worker command.");
  }
  ::fcntl(process->error_, F_SETFL, O_NONBLOCK);
  return process;
}

WorkerProcess::~WorkerProcess() {
  close_descriptor(input_);  // the worker's sign to go
  if (pid_ > 0 && !end_) reap(std::chrono::seconds(2));
  kill();
  close_descriptor(output_);
  close_descriptor(error_);
}

Expected<void> WorkerProcess::send(const protocol::Request& request) {
  const std::string line = protocol::encode(request) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(input_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(ErrorCode::Io, fmt::format("The worker does not listen any more: {}.", std::strerror(errno)), "Start it again.");
    done += static_cast<std::size_t>(n);
  }
  return {};
}

void WorkerProcess::read_errors() {
  char block[4096];
  for (ssize_t n; error_ >= 0 && (n = ::read(error_, block, sizeof block)) > 0;) {
    for (auto& line : error_lines_.append({block, static_cast<std::size_t>(n)})) {
      if (line) last_errors_.push_back(std::move(*line));
      if (last_errors_.size() > kLastLines) last_errors_.pop_front();
    }
  }
}

Expected<std::optional<protocol::Event>> WorkerProcess::decode_front() {
  const Expected<std::string> line = std::move(pending_.front());
  pending_.pop_front();
  if (!line) return tl::unexpected(line.error());
  KRASIS_TRY(protocol::Event event, protocol::decode_event(*line));
  return event;
}

Expected<std::optional<protocol::Event>> WorkerProcess::next(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (pending_.empty()) {
    if (end_) return fail(ErrorCode::Io, "The worker " + end_->text() + ".", "Run it again; its last lines are in the log.");
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting[2] = {{output_, POLLIN, 0}, {error_, POLLIN, 0}};
    const int ready = ::poll(waiting, 2, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    if (ready < 0 && errno != EINTR) return fail(ErrorCode::Io, fmt::format("The worker cannot be heard: {}.", std::strerror(errno)));
    if (ready <= 0) {
      if (std::chrono::steady_clock::now() >= deadline) return std::optional<protocol::Event>();
      continue;
    }
    if (waiting[1].revents != 0) {
      read_errors();
      if ((waiting[1].revents & POLLHUP) != 0 && waiting[0].revents == 0) close_descriptor(error_);
    }
    if (waiting[0].revents == 0) continue;
    char block[65536];
    const ssize_t n = ::read(output_, block, sizeof block);
    if (n > 0) {
      for (auto& line : lines_.append({block, static_cast<std::size_t>(n)})) pending_.push_back(std::move(line));
    } else if (n == 0 || errno != EINTR) {
      reap(std::chrono::seconds(2));
      if (!end_) kill();
    }
  }
  return decode_front();
}

void WorkerProcess::reap(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (pid_ > 0 && !end_) {
    int status = 0;
    const int result = ::waitpid(pid_, &status, WNOHANG);
    if (result == pid_) {
      read_errors();
      WorkerEnd end;
      if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
      if (!error_lines_.rest().empty()) last_errors_.push_back(error_lines_.rest());
      end.last_lines.assign(last_errors_.begin(), last_errors_.end());
      end_ = std::move(end);
      return;
    }
    if (result < 0 && errno != EINTR) return;
    if (std::chrono::steady_clock::now() >= deadline) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void WorkerProcess::kill() {
  if (pid_ <= 0 || end_) return;
  ::kill(pid_, SIGKILL);
  reap(std::chrono::seconds(10));
}

}  // namespace krasis

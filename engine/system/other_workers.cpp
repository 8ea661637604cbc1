#include "engine/system/other_workers.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace krasis {
namespace {

constexpr double kLeastSeconds = 0.2;
constexpr double kLeastShare = 0.02;  // of the time watched: what heartbeats and waiting for the lock cost at most

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// "krasis worker" or "krasis chat" if the process is one, else empty.
std::string command_of(const std::filesystem::path& process) {
  // The short name first: it is cheap, and all but a few processes have another.
  if (!read(process / "comm").starts_with("krasis")) return {};
  std::string arguments = read(process / "cmdline");
  std::replace(arguments.begin(), arguments.end(), '\0', '\n');
  std::istringstream lines(arguments);
  std::string program, subcommand;
  std::getline(lines, program);
  std::getline(lines, subcommand);
  if (subcommand != "worker" && subcommand != "chat") return {};
  return std::filesystem::path(program).filename().string() + " " + subcommand;
}

struct Times {
  double cpu_s = -1;  ///< negative: the process is gone
  std::string started;
};

/// Fields 14 (user), 15 (system) and 22 (start) of /proc/PID/stat.
Times times_of(const std::filesystem::path& process) {
  const std::string stat = read(process / "stat");
  const auto name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 1));
  const std::vector<std::string> values{std::istream_iterator<std::string>(fields), {}};  // from field 3 on
  if (values.size() < 20) return {};
  const double ticks = std::strtod(values[11].c_str(), nullptr) + std::strtod(values[12].c_str(), nullptr);
  return {ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)), values[19]};
}

}  // namespace

OtherWorkers::OtherWorkers(std::filesystem::path root) : root_(std::move(root)) {
  look();
  watching_ = true;
}

void OtherWorkers::look() {
  const std::lock_guard lock(mutex_);
  const std::string own = std::to_string(::getpid());
  std::error_code error;
  for (std::filesystem::directory_iterator at(root_ / "proc", error), end; !error && at != end; at.increment(error)) {
    const std::string pid = at->path().filename().string();
    const bool number = std::all_of(pid.begin(), pid.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (number && pid != own) look_at(at->path(), pid);
  }
}

void OtherWorkers::look_at(const std::filesystem::path& process, const std::string& pid) {
  std::string command = command_of(process);
  if (command.empty()) return;
  const Times times = times_of(process);
  if (times.cpu_s < 0) return;
  const auto [found, is_new] = workers_.try_emplace({pid, times.started});
  Worker& worker = found->second;
  if (is_new) {
    worker.command = std::move(command);
    struct stat status {};
    if (::stat(process.c_str(), &status) == 0) worker.user = status.st_uid;
    // What is first seen later began later: all that it used counts.
    worker.first_s = watching_ ? 0 : times.cpu_s;
  }
  worker.last_s = times.cpu_s;
}

std::string OtherWorkers::disturbance() const {
  const std::lock_guard lock(mutex_);
  const double watched_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  std::string text;
  for (const auto& [key, worker] : workers_) {
    const double used_s = worker.last_s - worker.first_s;
    if (used_s <= std::max(kLeastSeconds, kLeastShare * watched_s)) continue;
    text += fmt::format("{}{} (process {}, user id {}) computed meanwhile: {:.1f} s of CPU time in {:.1f} s.",
                        text.empty() ? "" : " ", worker.command, key.first, worker.user, used_s, watched_s);
  }
  return text;
}

}  // namespace krasis

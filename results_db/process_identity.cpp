#include "results_db/process_identity.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <vector>

namespace krasis::results {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Field 22 of /proc/PID/stat: when the process started, in ticks after boot. Empty when there is no such process.
std::string start_time(const std::string& process) {
  const std::string stat = first_line("/proc/" + process + "/stat");
  const auto name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos) return {};
  std::size_t at = name_end + 1;
  for (int field = 2; field < 21 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return {};
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

std::string link_target(const char* path) {
  std::array<char, 256> target{};
  const ssize_t length = ::readlink(path, target.data(), target.size());
  return length > 0 ? std::string(target.data(), static_cast<std::size_t>(length)) : std::string();
}

/// What an owner's text names. The namespace has a colon of its own, or is empty.
struct Owner {
  std::string boot, pid_namespace, pid, started;
  bool valid = false;
};

Owner parse(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const auto colon = text.find(':');
    parts.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  switch (parts.size()) {
    case 3:
      return {parts[0], "", parts[1], parts[2], true};
    case 4:
      return {parts[0], parts[1], parts[2], parts[3], true};
    case 5:
      return {parts[0], parts[1] + ":" + parts[2], parts[3], parts[4], true};
    default:
      return {};
  }
}

}  // namespace

std::string ProcessIdentity::owner() const {
  return boot + ":" + pid_namespace + ":" + std::to_string(pid) + ":" + started;
}

ProcessIdentity this_process() {
  ProcessIdentity identity;
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) identity.host = host.data();
  identity.boot = first_line("/proc/sys/kernel/random/boot_id");
  identity.pid_namespace = link_target("/proc/self/ns/pid");
  identity.pid = ::getpid();
  identity.started = start_time("self");
  return identity;
}

ProcessLife life_of(std::string_view text, const ProcessIdentity& here) {
  const Owner owner = parse(text);
  if (!owner.valid || owner.started.empty()) return ProcessLife::Gone;
  if (owner.boot != here.boot) return ProcessLife::Unknown;
  const bool elsewhere = !owner.pid_namespace.empty() && owner.pid_namespace != here.pid_namespace;
  if (elsewhere) return ProcessLife::Unknown;
  return owner.started == start_time(owner.pid) ? ProcessLife::Alive : ProcessLife::Gone;
}

}  // namespace krasis::results

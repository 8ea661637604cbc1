#include "engine/system/system_check.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/system/cgroup.h"
#include "engine/system/findings.h"

namespace krasis {
namespace {

namespace files = system_files;

findings::SystemView view_of(const SystemPaths& paths) {
  findings::SystemView view{.root = paths.root};
  view.topology = paths.root == "/" ? topology_of_this_machine() : topology_from_files(paths.root);
  view.online = files::read_list(view.cpu_folder() / "online");
  if (view.online && view.online->empty()) view.online.reset();
  view.status = files::read_text(paths.root / "proc/self/status").value_or("");
  view.meminfo = files::read_text(paths.root / "proc/meminfo").value_or("");
  if (const auto mask = files::value_of(view.status, "Cpus_allowed_list")) {
    if (auto allowed = files::parse_list(*mask); allowed && !allowed->empty()) {
      // The mask may name CPUs that are not there.
      view.allowed = view.online ? files::common(*allowed, *view.online) : std::move(*allowed);
      if (view.allowed->empty()) view.allowed.reset();
    }
  }
  return view;
}

/// The process's mask, or all CPUs that there are.
files::NumberList allowed_cpus() {
  files::NumberList cpus;
  for (int count = 1024; count <= files::kMaxNumber; count *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(count));
    if (!set) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(count));
    CPU_ZERO_S(bytes, set);
    const bool done = sched_getaffinity(getpid(), bytes, set) == 0;  // fails when the kernel's mask is longer
    for (int cpu = 0; done && cpu < count; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (done) break;
  }
  return cpus;
}

/// The first CPU, of those that the process may use, of each physical core; at least one CPU.
std::vector<int> first_cpus() {
  const files::NumberList allowed = allowed_cpus();
  std::vector<int> first;
  if (const auto topology = topology_of_this_machine()) {
    for (const files::NumberList& core : topology->cores) {
      if (const auto usable = files::common(core, allowed); !usable.empty()) first.push_back(usable.front());
    }
  }
  if (first.empty()) first.assign(allowed.begin(), allowed.end());
  if (first.empty()) {
    for (int cpu = 0; cpu < static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); ++cpu) first.push_back(cpu);
  }
  return first;
}

}  // namespace

namespace findings {

std::string count_of(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace findings

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::Ok: return "ok";
    case Severity::Info: return "info";
    case Severity::Warning: return "warning";
    case Severity::Unknown: break;
  }
  return "unknown";
}

std::vector<Finding> check_system(const SystemPaths& paths, std::string_view program_simd) {
  const findings::SystemView view = view_of(paths);
  return {findings::governor(view),
          findings::smt(view),
          findings::transparent_huge_pages(view),
          findings::huge_page_pool(view),
          findings::numa(view),
          findings::memory(view),
          findings::instruction_sets(view, program_simd),
          findings::cpu_quota(view),
          findings::cpu_affinity(view)};
}

std::string to_json(const std::vector<Finding>& findings) {
  auto array = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    array.push_back({{"id", f.id},
                     {"severity", to_string(f.severity)},
                     {"title", f.title},
                     {"detail", f.detail},
                     {"remedy", f.remedy}});
  }
  return array.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

int physical_cores() {
  return static_cast<int>(first_cpus().size());
}

std::vector<int> compute_cpus() {
  std::vector<int> cpus = first_cpus();
  const auto quota = cpu_quota("/");
  if (!quota.known || !quota.limit) return cpus;
  const auto most = static_cast<std::size_t>(std::max(1.0, std::floor(quota.limit->cpus)));
  if (cpus.size() > most) cpus.resize(most);
  return cpus;
}

std::vector<ComputeNode> compute_nodes() {
  const auto topology = topology_of_this_machine();
  return topology ? compute_nodes(*topology, allowed_cpus()) : std::vector<ComputeNode>();
}

}  // namespace krasis

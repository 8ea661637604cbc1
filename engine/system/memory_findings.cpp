#include <algorithm>

#include <fmt/format.h>

#include "engine/system/cgroup.h"
#include "engine/system/findings.h"

namespace krasis::findings {
namespace {

namespace files = system_files;
using files::bytes_text;

/// Less than this share of the usable memory free is a warning: the weights of a large model are most of the memory.
constexpr double kLowShare = 0.25;

/// The chosen word of "always [madvise] never".
std::string chosen(std::string_view line) {
  const auto begin = line.find('['), end = line.find(']');
  if (begin == std::string_view::npos || end == std::string_view::npos || end <= begin) return {};
  const std::string_view word = line.substr(begin + 1, end - begin - 1);
  for (const char* known : {"always", "madvise", "never"}) {
    if (word == known) return std::string(word);
  }
  return {};
}

std::string node_text(const Topology::Node& node) {
  return fmt::format("node {}: CPUs {}, {}", node.id, files::list_text(node.cpus),
                     node.memory_known ? bytes_text(node.memory_bytes) : "memory not known");
}

}  // namespace

Finding transparent_huge_pages(const SystemView& view) {
  Finding f{.id = "transparent_huge_pages", .title = "Transparent huge pages: not shown"};
  const auto folder = view.root / "sys/kernel/mm/transparent_hugepage";
  const std::string mode = chosen(files::read_line(folder / "enabled").value_or(""));
  if (mode.empty()) {
    f.detail = "The kernel does not say whether it gives huge pages on request.";
    f.remedy = "Use a kernel with transparent huge pages (CONFIG_TRANSPARENT_HUGEPAGE).";
    return f;
  }
  f.title = "Transparent huge pages: " + mode;
  f.detail = fmt::format("Mode: {}. The program asks for huge pages where weights lie.", mode);
  if (mode == "never") {
    f.severity = Severity::Warning;
    f.detail += " Without them each 4 KiB of weights costs an address translation of its own.";
    f.remedy = "Run: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
  } else if (files::value_of(view.status, "THP_enabled") == "0") {
    f.severity = Severity::Warning;
    f.title += ", off for this process";
    f.detail += " What started this process has forbidden them to it (PR_SET_THP_DISABLE).";
    f.remedy = "Start the program from another shell or service.";
  } else {
    f.severity = Severity::Ok;
  }
  return f;
}

Finding huge_page_pool(const SystemView& view) {
  Finding f{.id = "huge_page_pool", .title = "Huge page pool: not shown"};
  const auto total = files::parse_number(files::value_of(view.meminfo, "HugePages_Total").value_or(""));
  const auto free = files::parse_number(files::value_of(view.meminfo, "HugePages_Free").value_or(""));
  const auto size = files::kib_value_of(view.meminfo, "Hugepagesize");
  constexpr std::uint64_t kMost = std::uint64_t{1} << 50;  // no machine has as much
  if (!total || !free || !size || *size == 0 || *free > *total || *total > kMost / *size) {
    f.detail = "The kernel does not say how many huge pages are reserved.";
    return f;
  }
  if (*total == 0) {
    f.severity = Severity::Ok;
    f.title = "No memory in the huge page pool";
    f.detail = fmt::format("No pages of {} are reserved.", bytes_text(*size));
    return f;
  }
  f.severity = Severity::Info;
  f.title = fmt::format("{} in the huge page pool", bytes_text(*total * *size));
  f.detail = fmt::format("{} of {} reserved pages of {} are free ({}). Memory of the pool is only for programs that ask for it by name.", *free,
                         *total, bytes_text(*size), bytes_text(*free * *size));
  f.remedy = "If no other program needs the pool, give it back: sudo sysctl vm.nr_hugepages=0";
  return f;
}

Finding numa(const SystemView& view) {
  Finding f{.id = "numa", .title = "NUMA nodes: not shown"};
  if (!view.topology || view.topology->nodes.empty()) {
    f.detail = "The kernel does not say which memory is near to which CPUs.";
    return f;
  }
  const auto& nodes = view.topology->nodes;
  for (const auto& node : nodes) f.detail += fmt::format("{}{}", f.detail.empty() ? "" : "; ", node_text(node));
  f.detail += ".";
  f.detail[0] = 'N';
  f.title = count_of(nodes.size(), "NUMA node");
  if (nodes.size() == 1) {
    f.severity = Severity::Ok;
    return f;
  }
  f.severity = Severity::Info;
  const auto with_cpus = static_cast<int>(std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return !n.cpus.empty(); }));
  if (view.topology->packages > 0 && with_cpus > view.topology->packages) {
    f.title += fmt::format(" in {}", count_of(static_cast<std::size_t>(view.topology->packages), "socket"));
    f.detail += " A socket is split into several nodes (NPS or SNC in the firmware).";
  }
  f.detail += " A core reads the memory of other nodes more slowly than its own.";
  f.remedy =
      "Compare numa = interleave, which spreads the weights over the nodes, with numa = shards, which puts rows of "
      "experts beside the cores that read them";
  const auto starved = std::find_if(nodes.begin(), nodes.end(), [](const auto& n) {
    return !n.cpus.empty() && n.memory_known && n.memory_bytes == 0;
  });
  if (starved != nodes.end()) {
    f.severity = Severity::Warning;
    f.detail += fmt::format(" Node {} has CPUs but no memory.", starved->id);
    f.remedy = "Put memory modules beside each socket, or bind to the nodes that have memory (numactl --cpunodebind).";
  } else if (files::read_number(view.root / "proc/sys/kernel/numa_balancing").value_or(0) != 0) {
    f.detail += " Automatic balancing is on: it unmaps pages now and then to see who uses them.";
    f.remedy += ", and for steady figures: sudo sysctl kernel.numa_balancing=0";
  } else {
    f.remedy += ".";
  }
  return f;
}

Finding memory(const SystemView& view) {
  Finding f{.id = "memory", .title = "Memory: not shown"};
  const auto total = files::kib_value_of(view.meminfo, "MemTotal");
  const auto available = files::kib_value_of(view.meminfo, "MemAvailable");
  if (!total || !available || *total == 0 || *available > *total) {
    f.detail = "The kernel does not say how much memory is available.";
    return f;
  }
  std::uint64_t usable = *total, left = *available;
  f.detail = fmt::format("The machine has {}, of which {} are available.", bytes_text(*total), bytes_text(*available));
  f.remedy = "Close programs that hold memory.";
  const auto group = krasis::memory_limit(view.root);
  const bool limited = group.limit && group.limit->limit_bytes < *total;
  if (limited) {
    usable = group.limit->limit_bytes;
    left = std::min(left, group.limit->left_bytes());
    f.detail += fmt::format(" {} allows {}, of which {} are left.", group.limit->file, bytes_text(usable), bytes_text(group.limit->left_bytes()));
    f.remedy = "Raise the limit (docker: --memory; systemd: MemoryMax; Slurm: --mem), or choose a model and bits that fit.";
  } else if (!group.known) {
    f.detail += " Whether a control group limits it cannot be read.";
  }
  f.title = fmt::format("{} of {} free", bytes_text(left), bytes_text(usable));
  if (static_cast<double>(left) < kLowShare * static_cast<double>(usable)) {
    f.severity = Severity::Warning;
    f.detail += fmt::format(" That is less than {:.0f} %: weights that do not fit make a run fail or swap.", 100 * kLowShare);
  } else if (limited) {
    f.severity = Severity::Info;
    f.title += " (limited)";
  } else {
    f.severity = Severity::Ok;
    f.remedy.clear();
  }
  return f;
}

}  // namespace krasis::findings

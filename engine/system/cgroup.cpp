#include "engine/system/cgroup.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "engine/system/system_files.h"

namespace krasis {
namespace {

namespace files = system_files;
namespace fs = std::filesystem;

/// Version 1 says "no limit" as the largest multiple of a page.
constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 60;
/// Deeper trees are not looked at to their top.
constexpr int kMaxDepth = 64;

struct Hierarchy {
  int version = 0;               ///< 0: none was found
  std::vector<fs::path> groups;  ///< folders below the root, from the process's own upwards
};

struct Mount {
  fs::path point, root;
  int version = 0;
};

/// mountinfo writes a blank as \040.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool contains(const std::vector<std::string_view>& parts, std::string_view part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

/// Names of groups are anybody's; what is shown of them is plain text.
std::string shown(const fs::path& path) {
  std::string text = "/" + path.string();
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

bool goes_up(const fs::path& path) { return std::find(path.begin(), path.end(), "..") != path.end(); }

/// Lines such as "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw" (proc(5)): the mounts that have the controller.
std::vector<Mount> mounts_of(std::string_view mountinfo, std::string_view controller) {
  std::vector<Mount> version1, version2;
  for (const std::string_view line : files::split(mountinfo, '\n')) {
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = files::split(line.substr(0, dash), ' ');
    const auto after = files::split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    Mount mount{.point = unescaped(before[4]), .root = unescaped(before[3])};
    if (goes_up(mount.point) || !mount.point.is_absolute()) continue;
    if (after[0] == "cgroup2") {
      mount.version = 2;
      version2.push_back(std::move(mount));
    } else if (after[0] == "cgroup" && contains(files::split(after[2], ','), controller)) {
      mount.version = 1;
      version1.push_back(std::move(mount));
    }
  }
  // A controller is in one hierarchy only: where version 1 has it, version 2 does not.
  return version1.empty() ? version2 : version1;
}

/// The process's group in /proc/self/cgroup: "4:memory:/a/b" of version 1, "0::/a/b" of version 2.
std::optional<fs::path> own_group(std::string_view cgroups, std::string_view controller, int version) {
  for (const std::string_view line : files::split(cgroups, '\n')) {
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool fits = version == 2 ? line.substr(0, first) == "0" && controllers.empty()
                                   : contains(files::split(controllers, ','), controller);
    if (fits) return fs::path(std::string(line.substr(second + 1)));
  }
  return std::nullopt;
}

Hierarchy hierarchy_of(const fs::path& root, std::string_view controller) {
  const auto mountinfo = files::read_text(root / "proc/self/mountinfo", 1 << 20);
  const auto cgroups = files::read_text(root / "proc/self/cgroup");
  if (!mountinfo || !cgroups) return {};
  const auto mounts = mounts_of(*mountinfo, controller);
  if (mounts.empty()) return {};
  const auto group = own_group(*cgroups, controller, mounts.front().version);
  if (!group) return {};
  // A container sees its own group mounted as the top; the path may still be that of the world outside.
  fs::path below;
  const Mount* mount = &mounts.front();
  for (const Mount& candidate : mounts) {
    fs::path relative = group->lexically_relative(candidate.root);
    if (relative.empty() || goes_up(relative)) continue;
    below = relative == "." ? fs::path() : std::move(relative);
    mount = &candidate;
    break;
  }
  Hierarchy hierarchy{.version = mount->version};
  const fs::path top = mount->point.relative_path();
  for (int depth = 0; depth < kMaxDepth && !below.empty(); ++depth, below = below.parent_path()) {
    hierarchy.groups.push_back(top / below);
  }
  hierarchy.groups.push_back(top);
  return hierarchy;
}

struct Value {
  bool valid = true;
  std::optional<std::uint64_t> number;  ///< none: no such file, or "max"
};

Value limit_in(const fs::path& path) {
  const auto line = files::read_line(path);
  if (!line || *line == "max") return {};
  const auto number = files::parse_number(*line);
  if (!number) return {.valid = false};
  return number < kUnlimited ? Value{.number = number} : Value{};
}

/// CPUs of one group; a quota of -1 or "max" is none.
struct Quota {
  bool valid = true;
  std::optional<double> cpus;
};

Quota quota_in(const fs::path& folder, int version) {
  std::string quota, period;
  if (version == 2) {
    const auto line = files::read_line(folder / "cpu.max");
    if (!line) return {};
    const auto parts = files::split(*line, ' ');
    quota = parts[0];
    period = parts.size() > 1 ? parts[1] : "100000";  // the kernel's default
  } else {
    const auto line = files::read_line(folder / "cpu.cfs_quota_us");
    if (!line) return {};
    quota = *line;
    period = files::read_line(folder / "cpu.cfs_period_us").value_or("100000");
  }
  if (quota == "max" || quota == "-1") return {};
  const auto us = files::parse_number(quota), of = files::parse_number(period);
  if (!us || !of || *us == 0 || *of == 0) return {.valid = false};
  return {.cpus = static_cast<double>(*us) / static_cast<double>(*of)};
}

}  // namespace

CgroupAnswer<CpuQuota> cpu_quota(const fs::path& root) {
  const Hierarchy hierarchy = hierarchy_of(root, "cpu");
  CgroupAnswer<CpuQuota> answer{.known = hierarchy.version != 0};
  for (const fs::path& group : hierarchy.groups) {
    const Quota quota = quota_in(root / group, hierarchy.version);
    if (!quota.valid) return {};
    if (!quota.cpus || (answer.limit && answer.limit->cpus <= *quota.cpus)) continue;
    const char* name = hierarchy.version == 2 ? "cpu.max" : "cpu.cfs_quota_us";
    answer.limit = CpuQuota{.cpus = *quota.cpus, .file = shown(group / name)};
  }
  return answer;
}

CgroupAnswer<MemoryLimit> memory_limit(const fs::path& root) {
  const Hierarchy hierarchy = hierarchy_of(root, "memory");
  CgroupAnswer<MemoryLimit> answer{.known = hierarchy.version != 0};
  const bool v2 = hierarchy.version == 2;
  const std::vector<const char*> names =
      v2 ? std::vector<const char*>{"memory.max", "memory.high"} : std::vector<const char*>{"memory.limit_in_bytes"};
  const std::array<std::string_view, 2> file_caches =
      v2 ? std::array<std::string_view, 2>{"inactive_file ", "active_file "}
         : std::array<std::string_view, 2>{"total_inactive_file ", "total_active_file "};
  for (const fs::path& group : hierarchy.groups) {
    for (const char* name : names) {
      const Value limit = limit_in(root / group / name);
      if (!limit.valid) return {};
      if (!limit.number) continue;
      MemoryLimit found{.limit_bytes = *limit.number, .file = shown(group / name)};
      found.used_bytes = files::read_number(root / group / (v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
      const auto stat = files::read_text(root / group / "memory.stat").value_or("");
      for (const std::string_view line : files::split(stat, '\n')) {
        for (const std::string_view key : file_caches) {
          if (!line.starts_with(key)) continue;
          const auto cache = files::parse_number(line.substr(key.size())).value_or(0);
          found.used_bytes -= std::min(found.used_bytes, cache);
        }
      }
      if (!answer.limit || found.left_bytes() < answer.limit->left_bytes()) answer.limit = std::move(found);
    }
  }
  return answer;
}

}  // namespace krasis

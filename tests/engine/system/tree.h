#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "engine/system/system_check.h"

namespace krasis::test {

/// A folder with invented /proc and /sys files; removed at the end.
class Tree {
 public:
  Tree() {
    std::string name = (std::filesystem::temp_directory_path() / "krasis-system-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    root_ = name;
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  const std::filesystem::path& root() const { return root_; }

  Tree& write(const std::string& path, std::string_view contents) {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary).write(contents.data(), static_cast<std::streamsize>(contents.size()));
    return *this;
  }
  Tree& remove(const std::string& path) {
    std::filesystem::remove_all(root_ / path);
    return *this;
  }

  /// CPUs 0..cpus-1 online and allowed; CPU c is on core c % cores, as Linux counts them.
  Tree& cpus(int cpus, int cores, const std::string& governor = "performance") {
    const std::string all = fmt::format("0-{}\n", cpus - 1), folder = "sys/devices/system/cpu/";
    write(folder + "online", all);
    write("proc/self/status", "Name:\tkrasis\nCpus_allowed_list:\t" + all + "THP_enabled:\t1\n");
    for (int c = 0; c < cpus; ++c) {
      const std::string cpu = folder + fmt::format("cpu{}/", c);
      std::string siblings;
      for (int s = c % cores; s < cpus; s += cores) siblings += fmt::format("{}{}", siblings.empty() ? "" : ",", s);
      write(cpu + "topology/thread_siblings_list", siblings + "\n");
      write(cpu + "topology/physical_package_id", "0\n");
      if (!governor.empty()) write(cpu + "cpufreq/scaling_governor", governor + "\n");
    }
    return *this;
  }
  Tree& allow(const std::string& list) { return write("proc/self/status", "Cpus_allowed_list:\t" + list + "\nTHP_enabled:\t1\n"); }
  Tree& node(int id, const std::string& cpulist, long long kib) {
    const std::string folder = fmt::format("sys/devices/system/node/node{}/", id);
    write(folder + "cpulist", cpulist + "\n");
    return write(folder + "meminfo", fmt::format("Node {0} MemTotal:       {1} kB\nNode {0} MemFree: 7 kB\n", id, kib));
  }
  Tree& memory(long long total_gib, long long available_gib) {
    return write("proc/meminfo", fmt::format("MemTotal:       {} kB\nMemFree:  1 kB\nMemAvailable:   {} kB\n"
                                             "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
                                             total_gib << 20, available_gib << 20));
  }
  Tree& flags(const std::string& names) {
    return write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Invented\nflags\t\t: " + names + "\nbugs\t\t:\n\nprocessor\t: 1\n");
  }
  Tree& cgroup2(const std::string& group = "/") {
    write("proc/self/cgroup", "0::" + group + "\n");
    return write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  /// A machine with nothing to complain of: 4 cores, 64 GiB, AVX-512.
  Tree& good() {
    cpus(4, 4).memory(64, 60).cgroup2();
    flags("fpu avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni");
    write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    write("sys/devices/system/node/online", "0\n");
    return node(0, "0-3", 64 << 20);
  }

  std::vector<Finding> check() const { return check_system({root_}); }
  Finding finding(std::string_view id) const {
    for (Finding& f : check()) {
      if (f.id == id) return std::move(f);
    }
    throw std::runtime_error("no finding " + std::string(id));
  }

 private:
  std::filesystem::path root_;
};

}  // namespace krasis::test

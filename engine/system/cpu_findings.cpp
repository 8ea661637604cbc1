#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "engine/system/cgroup.h"
#include "engine/system/findings.h"

namespace krasis::findings {
namespace {

namespace files = system_files;
using files::NumberList;

/// "powersave on 12 CPUs, performance on 4"
std::string counted(const std::map<std::string, int>& names) {
  std::string text;
  for (const auto& [name, count] : names) {
    text += fmt::format("{}{} on {}", text.empty() ? "" : ", ", name, count_of(static_cast<std::size_t>(count), "CPU"));
  }
  return text;
}

/// Whether the kernel says that the clock stays at its base: "boost" of acpi-cpufreq and AMD, "no_turbo" of Intel.
bool boost_is_off(const std::filesystem::path& cpu_folder) {
  return files::read_number(cpu_folder / "cpufreq/boost") == std::uint64_t{0} ||
         files::read_number(cpu_folder / "intel_pstate/no_turbo") == std::uint64_t{1};
}

/// The instruction sets in the order in which they are shown; names as of /proc/cpuinfo.
constexpr std::array<std::pair<const char*, const char*>, 10> kShown{{{"avx2", "AVX2"},
                                                                      {"fma", "FMA"},
                                                                      {"f16c", "F16C"},
                                                                      {"avx_vnni", "AVX-VNNI"},
                                                                      {"avx512f", "AVX-512"},
                                                                      {"avx512_vnni", "AVX-512 VNNI"},
                                                                      {"avx512_bf16", "AVX-512 BF16"},
                                                                      {"amx_tile", "AMX"},
                                                                      {"amx_int8", "AMX INT8"},
                                                                      {"amx_bf16", "AMX BF16"}}};

struct Flags {
  std::set<std::string_view> names;
  bool has(std::string_view name) const { return names.contains(name); }
  bool all(std::initializer_list<std::string_view> list) const {
    return std::all_of(list.begin(), list.end(), [this](std::string_view name) { return has(name); });
  }
  /// The rule of has_simd() in kernels/host/operations.
  std::string_view simd() const {
    if (!all({"avx2", "fma", "f16c"})) return "none";
    if (!all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"})) return "AVX2";
    return all({"amx_tile", "amx_int8", "amx_bf16"}) ? "AMX" : "AVX-512";
  }
};

}  // namespace

Finding governor(const SystemView& view) {
  Finding f{.id = "governor", .title = "Frequency governor: not shown"};
  NumberList cpus = view.allowed ? *view.allowed : view.online.value_or(NumberList{0});
  std::map<std::string, int> governors;
  int fast = 0, seen = 0;
  for (const int cpu : cpus) {
    const auto folder = view.cpu_folder() / fmt::format("cpu{}", cpu) / "cpufreq";
    const auto name = files::read_word(folder / "scaling_governor");
    if (!name) continue;
    ++governors[*name];
    ++seen;
    // With Intel's and AMD's own drivers "powersave" only means that the preference decides.
    const auto preference = files::read_word(folder / "energy_performance_preference");
    if (*name == "performance" || (*name == "powersave" && preference == "performance")) ++fast;
  }
  if (seen == 0) {
    f.detail = "The kernel shows no frequency control here, as in most virtual machines; the clock is decided outside.";
    f.remedy = "Set the governor to performance on the machine that hosts this one.";
    return f;
  }
  f.title = governors.size() == 1 ? "Frequency governor: " + governors.begin()->first : "Frequency governor: mixed";
  f.detail = fmt::format("{}.", counted(governors));
  if (fast < seen) {
    f.severity = Severity::Warning;
    f.detail += " The clock follows the load, so threads that wait for each other many times a token find it low.";
    f.remedy = "Run: sudo cpupower frequency-set -g performance";
  } else if (boost_is_off(view.cpu_folder())) {
    f.severity = Severity::Info;
    f.title += ", boost off";
    f.detail += " Boost is off, so the clock stays at its base.";
    f.remedy = "Write 1 to /sys/devices/system/cpu/cpufreq/boost, or 0 to /sys/devices/system/cpu/intel_pstate/no_turbo.";
  } else {
    f.severity = Severity::Ok;
  }
  return f;
}

Finding smt(const SystemView& view) {
  Finding f{.id = "smt", .title = "SMT: not shown"};
  if (!view.topology) {
    f.detail = "The kernel does not say which CPUs share a core.";
    return f;
  }
  const std::size_t cores = view.topology->cores.size(), cpus = view.topology->cpus().size();
  f.detail = fmt::format("{}, {}.", count_of(cores, "physical core"), count_of(cpus, "CPU"));
  if (const auto control = files::read_word(view.cpu_folder() / "smt/control")) {
    f.detail += fmt::format(" SMT control: {}.", *control);
  }
  if (cpus == cores) {
    f.severity = Severity::Ok;
    f.title = fmt::format("No SMT siblings: {}", count_of(cores, "core"));
    return f;
  }
  const int usable = view.allowed ? view.topology->cores_with(*view.allowed) : static_cast<int>(cores);
  f.severity = Severity::Info;
  f.title = fmt::format("SMT on: {} for {}", count_of(cpus, "CPU"), count_of(cores, "core"));
  f.detail += " Siblings share a core's ports and caches; a second thread there does not read memory faster.";
  f.remedy = fmt::format("Take {}, one for each physical core that this process may use.",
                         count_of(static_cast<std::size_t>(std::max(1, usable)), "thread"));
  return f;
}

Finding instruction_sets(const SystemView& view, std::string_view program_simd) {
  Finding f{.id = "instruction_sets", .title = "Instruction sets: not shown"};
  const std::string cpuinfo = files::read_text(view.root / "proc/cpuinfo").value_or("");
  const auto line = files::value_of(cpuinfo, "flags");
  if (!line && program_simd.empty()) {
    f.detail = "The kernel names no x86 instruction sets.";
    return f;
  }
  Flags flags;
  if (line) {
    for (const std::string_view name : files::split(*line, ' ')) flags.names.insert(name);
  }
  const std::string level(program_simd.empty() ? flags.simd() : program_simd);
  std::string has;
  for (const auto& [flag, name] : kShown) {
    if (flags.has(flag)) has += fmt::format("{}{}", has.empty() ? "" : ", ", name);
  }
  f.detail = fmt::format("The CPU has {}.", has.empty() ? "none of AVX2, AVX-512 and AMX" : has);
  const bool guest = flags.has("hypervisor");
  if (level == "none") {
    f.severity = Severity::Warning;
    f.title = "Scalar arithmetic only";
    f.detail += " Vectorized operations need AVX2, FMA and F16C; without them decode is limited by arithmetic, not by memory.";
    f.remedy = guest ? "Give this virtual machine the host's CPU model (QEMU: -cpu host)." : "Use a CPU with AVX2.";
    return f;
  }
  f.severity = level == "AMX" || level == "AVX-512" ? Severity::Ok : Severity::Info;
  f.title = fmt::format("Program uses {}", level);
  f.detail += fmt::format(" The program uses {}.", level);
  if (f.severity == Severity::Info && flags.has("avx512f")) f.detail += " Its AVX-512 operations need BW, DQ, VL and VNNI, too.";
  if (f.severity == Severity::Info && guest) {
    f.remedy = "If the host's CPU has AVX-512 VNNI, give this virtual machine the host's CPU model (QEMU: -cpu host).";
  }
  return f;
}

Finding cpu_quota(const SystemView& view) {
  Finding f{.id = "cpu_quota", .title = "CPU quota: not shown"};
  const auto answer = krasis::cpu_quota(view.root);
  if (!answer.known) {
    f.detail = "This process's control group for CPU time cannot be read.";
    return f;
  }
  f.severity = Severity::Ok;
  f.title = "No CPU quota";
  f.detail = "No control group of this process limits its CPU time.";
  if (!answer.limit) return f;
  const double quota = answer.limit->cpus;
  f.title = fmt::format("CPU quota: {:.3g} CPUs", quota);
  f.detail = fmt::format("{} gives {:.3g} CPUs' time.", answer.limit->file, quota);
  if (!view.allowed) {
    f.severity = Severity::Info;
  } else if (quota < static_cast<double>(view.allowed->size())) {
    f.severity = Severity::Warning;
    f.detail += fmt::format(" The process may run on {}; when its threads have used the quota, all of them stop until the next period.",
                            count_of(view.allowed->size(), "CPU"));
    const auto threads = static_cast<std::size_t>(std::max(1.0, std::floor(quota)));
    f.remedy = fmt::format("Take {}, or give the container as many CPUs as it sees (docker: --cpus; systemd: CPUQuota; Kubernetes: limits.cpu).",
                           count_of(threads, "thread"));
  }
  return f;
}

Finding cpu_affinity(const SystemView& view) {
  Finding f{.id = "cpu_affinity", .title = "CPU affinity: not shown"};
  if (!view.allowed || !view.online) {
    f.detail = "The kernel does not say which CPUs are online, or which of them this process may use.";
    return f;
  }
  const std::size_t may = view.allowed->size(), online = view.online->size();
  f.detail = fmt::format("Online: {}. This process may use: {}.", files::list_text(*view.online), files::list_text(*view.allowed));
  if (may == online) {
    f.severity = Severity::Ok;
    f.title = fmt::format("All {} may be used", count_of(online, "CPU"));
    return f;
  }
  f.severity = Severity::Info;
  f.title = fmt::format("{} of {} may be used", may, count_of(online, "CPU"));
  if (view.topology) {
    f.detail += fmt::format(" They are on {} of {}.", view.topology->cores_with(*view.allowed),
                            count_of(view.topology->cores.size(), "physical core"));
  }
  f.remedy = "Start without taskset, or widen the container's or the job's set of CPUs (docker: --cpuset-cpus; Slurm: --cpus-per-task).";
  return f;
}

}  // namespace krasis::findings

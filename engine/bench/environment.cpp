#include "engine/bench/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "engine/system/nvml.h"
#include "engine/system/system_check.h"
#include "kernels/host/operations/operations.h"

namespace krasis {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

std::string binary_fingerprint() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    XXH3_64bits_update(state, block.data(), static_cast<std::size_t>(file.gcount()));
  }
  const auto hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return fmt::format("{:016x}", hash);
}

}  // namespace

protocol::MachineFacts machine_facts() {
  protocol::MachineFacts facts;
  facts.cpu = cpu_name();
  facts.memory_bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  facts.machine = fmt::format("{}, {} threads, {:.0f} GiB", facts.cpu, std::thread::hardware_concurrency(),
                              static_cast<double>(facts.memory_bytes) / 1073741824.0);
  utsname system{};
  if (uname(&system) == 0) facts.kernel = fmt::format("{} {}", system.sysname, system.release);
  facts.build = binary_fingerprint();
  facts.driver = Nvml().driver_version();
  const nlohmann::json known{
      {"hardware_threads", std::thread::hardware_concurrency()},
      {"physical_cores", physical_cores()},
      {"governor", first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
      {"transparent_huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
      {"simd", simd_level()},
      {"compiler", __VERSION__},
      {"system_check", nlohmann::json::parse(to_json(check_system({}, simd_level())))}};
  facts.facts_json = known.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return facts;
}

}  // namespace krasis

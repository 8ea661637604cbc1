#include "engine/bench/limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/runtime/platform.h"
#include "engine/system/memory.h"
#include "kernels/host/operations/threads/read_bandwidth.h"

namespace krasis {
namespace {

/// Numbers of the array that is read.
std::size_t array_size() {
  const std::size_t available = host_memory().available_bytes;
  return std::clamp(available / 8, std::size_t{64} << 20, std::size_t{1} << 30) / sizeof(std::uint64_t);
}

/// The host device's link: one half of an array onto the other, by one thread.
double memcpy_gb_per_s() {
  std::vector<std::uint64_t> array(array_size(), 1);
  const std::size_t half = array.size() / 2;
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    std::memcpy(array.data() + half, array.data(), half * sizeof(std::uint64_t));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, static_cast<double>(half * sizeof(std::uint64_t)) * 1e-9 / seconds);
  }
  return best;
}

double memory_read_gb_per_s(ThreadTeam& team, std::span<const std::byte> memory) {
  constexpr int kPasses = 6;
  const std::size_t size = array_size();
  if (memory.size() >= size * sizeof(std::uint64_t)) {
    return read_gb_per_s(team, {reinterpret_cast<const std::uint64_t*>(memory.data()), size}, kPasses);
  }
  return read_gb_per_s(team, std::vector<std::uint64_t>(size, 1), kPasses);
}

}  // namespace

Ceilings measure_ceilings(ThreadTeam& team, const RunConfiguration& configuration, std::span<const std::byte> memory) {
  Ceilings ceilings;
  ceilings.threads = team.size();
  ceilings.read_gb_per_s = memory_read_gb_per_s(team, memory);
  if (const auto accelerator = measure_accelerator(configuration); accelerator && accelerator->h2d_gb_per_s > 0) {
    ceilings.copy_gb_per_s = accelerator->h2d_gb_per_s;
    ceilings.device_read_gb_per_s = accelerator->device_read_gb_per_s;
    ceilings.dense_tflop_per_s = accelerator->dense_tflop_per_s;
  } else {
    ceilings.copy_gb_per_s = memcpy_gb_per_s();
  }
  return ceilings;
}

std::string to_json(const Ceilings& ceilings) {
  return nlohmann::json{{"read_gb_per_s", ceilings.read_gb_per_s},
                        {"copy_gb_per_s", ceilings.copy_gb_per_s},
                        {"threads", ceilings.threads},
                        {"device_read_gb_per_s", ceilings.device_read_gb_per_s},
                        {"dense_tflop_per_s", ceilings.dense_tflop_per_s}}
      .dump();
}

}  // namespace krasis

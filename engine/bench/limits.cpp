#include "engine/bench/limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include <nlohmann/json.hpp>
#include <tbb/blocked_range.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>

namespace krasis {
namespace {

template <class Body>
double best_seconds(int passes, Body&& body) {
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings(int threads) {
  tbb::task_arena arena(threads > 0 ? threads : tbb::task_arena::automatic);
  constexpr std::size_t kWords = std::size_t{256} << 20 >> 3;
  std::vector<std::uint64_t> from(kWords);
  std::iota(from.begin(), from.end(), 1);
  std::vector<std::uint64_t> to(kWords, 1);
  const double bytes = static_cast<double>(kWords * sizeof(std::uint64_t));

  volatile std::uint64_t sink = 0;
  const double read_s = best_seconds(5, [&] {
    arena.execute([&] {
      sink = tbb::parallel_reduce(
          tbb::blocked_range<std::size_t>(0, kWords, kWords / 64), std::uint64_t{0},
          [&](const auto& range, std::uint64_t sum) {
            return std::accumulate(from.begin() + static_cast<std::ptrdiff_t>(range.begin()),
                                   from.begin() + static_cast<std::ptrdiff_t>(range.end()), sum);
          },
          std::plus<>());
    });
  });
  const double copy_s = best_seconds(3, [&] { std::memcpy(to.data(), from.data(), kWords * sizeof(std::uint64_t)); });
  sink = sink + to[kWords / 2];
  return {bytes / read_s / 1e9, bytes / copy_s / 1e9, arena.max_concurrency()};
}

std::string to_json(const Ceilings& ceilings) {
  return nlohmann::json{{"read_gb_per_s", ceilings.read_gb_per_s},
                        {"copy_gb_per_s", ceilings.copy_gb_per_s},
                        {"threads", ceilings.threads}}
      .dump();
}

}  // namespace krasis

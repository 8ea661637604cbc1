#include "kernels/host/operations/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>

namespace krasis {
namespace {

constexpr std::size_t kPiece = (std::size_t{1} << 20) / sizeof(std::uint64_t);

std::uint64_t sum_of(std::span<const std::uint64_t> numbers) {
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  std::size_t i = 0;
  for (; i + 32 <= numbers.size(); i += 32) {
    __builtin_prefetch(numbers.data() + i + 512);  // 4 KiB ahead: the hardware's own prefetch stops at small pages
    for (std::size_t j = i; j < i + 32; j += 4) {
      a += numbers[j];
      b += numbers[j + 1];
      c += numbers[j + 2];
      d += numbers[j + 3];
    }
  }
  return std::accumulate(numbers.begin() + static_cast<std::ptrdiff_t>(i), numbers.end(), a + b + c + d);
}

}  // namespace

std::uint64_t sum_all(ThreadTeam& team, std::span<const std::uint64_t> numbers) {
  std::atomic<std::uint64_t> sum = 0;
  team.run(static_cast<std::int64_t>((numbers.size() + kPiece - 1) / kPiece), [&](std::int64_t piece) {
    const std::size_t begin = static_cast<std::size_t>(piece) * kPiece;
    sum.fetch_add(sum_of(numbers.subspan(begin, std::min(kPiece, numbers.size() - begin))), std::memory_order_relaxed);
  });
  return sum;
}

double read_gb_per_s(ThreadTeam& team, std::span<const std::uint64_t> numbers, int passes) {
  double best = 0;
  volatile std::uint64_t sink = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    sink = sum_all(team, numbers);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, static_cast<double>(numbers.size_bytes()) * 1e-9 / seconds);
  }
  (void)sink;
  return best;
}

}  // namespace krasis

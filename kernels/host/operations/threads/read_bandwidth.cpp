#include "kernels/host/operations/threads/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>

#include "kernels/host/operations/operations.h"

namespace krasis {
namespace {

constexpr std::size_t kPiece = (std::size_t{1} << 20) / sizeof(std::uint64_t);

using Wide = std::uint64_t __attribute__((vector_size(32), aligned(8), may_alias));

/// Wide loads: with 8 bytes at a time the loop itself, not the memory, is what is measured.
template <std::size_t kPrefetchBytes>
[[gnu::always_inline]] inline std::uint64_t sum_wide(std::span<const std::uint64_t> numbers) {
  Wide a{}, b{}, c{}, d{};
  std::size_t i = 0;
  for (; i + 16 <= numbers.size(); i += 16) {
    const auto* from = reinterpret_cast<const Wide*>(numbers.data() + i);
    if constexpr (kPrefetchBytes > 0) {
      __builtin_prefetch(reinterpret_cast<const char*>(from) + kPrefetchBytes);
      __builtin_prefetch(reinterpret_cast<const char*>(from) + kPrefetchBytes + 64);
    }
    a += from[0];
    b += from[1];
    c += from[2];
    d += from[3];
  }
  a += b + (c + d);
  return std::accumulate(numbers.begin() + static_cast<std::ptrdiff_t>(i), numbers.end(), a[0] + a[1] + a[2] + a[3]);
}

using Sum = std::uint64_t (*)(std::span<const std::uint64_t>);
constexpr std::size_t kAhead = 2048;
#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint64_t sum_avx2(std::span<const std::uint64_t> numbers) {
  return sum_wide<0>(numbers);
}
[[gnu::target("avx2")]] std::uint64_t sum_avx2_ahead(std::span<const std::uint64_t> numbers) {
  return sum_wide<kAhead>(numbers);
}
#endif
std::uint64_t sum_plain(std::span<const std::uint64_t> numbers) {
  return sum_wide<0>(numbers);
}
std::uint64_t sum_ahead(std::span<const std::uint64_t> numbers) {
  return sum_wide<kAhead>(numbers);
}

/// With the processor's own prefetch alone, or with ours.
Sum sum_function(bool ahead) {
#if defined(__x86_64__)
  if (has_simd(SimdLevel::Avx2)) return ahead ? sum_avx2_ahead : sum_avx2;
#endif
  return ahead ? sum_ahead : sum_plain;
}

std::uint64_t sum_by(Sum sum_of, ThreadTeam& team, std::span<const std::uint64_t> numbers) {
  std::atomic<std::uint64_t> sum = 0;
  team.run(static_cast<std::int64_t>((numbers.size() + kPiece - 1) / kPiece), [&](std::int64_t piece) {
    const std::size_t begin = static_cast<std::size_t>(piece) * kPiece;
    sum.fetch_add(sum_of(numbers.subspan(begin, std::min(kPiece, numbers.size() - begin))), std::memory_order_relaxed);
  });
  return sum;
}

}  // namespace

std::uint64_t sum_all(ThreadTeam& team, std::span<const std::uint64_t> numbers) {
  return sum_by(sum_function(false), team, numbers);
}

double read_gb_per_s(ThreadTeam& team, std::span<const std::uint64_t> numbers, int passes) {
  double best = 0;
  volatile std::uint64_t sink = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    sink = sum_by(sum_function(pass % 2 == 1), team, numbers);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, static_cast<double>(numbers.size_bytes()) * 1e-9 / seconds);
  }
  (void)sink;
  return best;
}

}  // namespace krasis

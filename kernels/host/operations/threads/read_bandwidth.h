#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {

/// The sum of all numbers, which `team` reads once in pieces of neighbours. Nothing but reading limits it when the
/// numbers lie in memory.
std::uint64_t sum_all(ThreadTeam& team, std::span<const std::uint64_t> numbers);

/// GB/s (1e9 bytes) at which `team` reads `numbers`: the best of `passes`, every other one with
/// prefetch by software. What decode on the CPU is measured against;
/// the span should be several times larger than the caches.
double read_gb_per_s(ThreadTeam& team, std::span<const std::uint64_t> numbers, int passes);

}  // namespace krasis

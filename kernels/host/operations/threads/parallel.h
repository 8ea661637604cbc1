#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <cstdint>

#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {

/// Whether `work` multiply-adds take longer than waking threads does, which is about 20 us of one core.
constexpr bool is_worth_threads(std::int64_t work) {
  return work >= 1 << 18;
}

/// Runs body(begin, end) for ranges that together are [0, count), on this thread's team, or on its TBB arena when it
/// has none; returns when all are done. Each index is one unit of work that alone writes its results, so these do not
/// depend on the number of threads. `work` is the whole's multiply-adds: little work is not worth waking a thread and
/// stays on the caller. Isolated: a caller that waits takes up no task of another operation.
template <class Body>
void parallel_ranges(std::int64_t count, std::int64_t work, const Body& body) {
  if (count <= 0) return;
  if (count == 1 || !is_worth_threads(work)) return body(std::int64_t{0}, count);
  if (ThreadTeam* team = ThreadTeam::current()) return team->run_ranges(count, body);
  tbb::this_task_arena::isolate([&] {
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, count, 1),
        [&](const tbb::blocked_range<std::int64_t>& range) { body(range.begin(), range.end()); },
        tbb::simple_partitioner());
  });
}

/// Two steps, the second behind all of the first. Whoever waits in between may call ahead(begin, end) for at most
/// `ahead_most` indices that it will take in the second (thread_team.h).
template <class First, class Second, class Ahead>
void parallel_two(std::int64_t first_count, const First& first, std::int64_t second_count, const Second& second,
                  std::int64_t work, const Ahead& ahead, std::int64_t ahead_most) {
  ThreadTeam* const team = ThreadTeam::current();
  if (team && is_worth_threads(work)) {
    return team->run_two(first_count, first, second_count, second, ahead, ahead_most);
  }
  parallel_ranges(first_count, work, first);
  parallel_ranges(second_count, work, second);
}

/// parallel_ranges by calls body(i).
template <class Body>
void parallel_units(std::int64_t count, std::int64_t work, const Body& body) {
  parallel_ranges(count, work, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace krasis

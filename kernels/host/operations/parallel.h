#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <cstdint>

#include "kernels/host/operations/thread_team.h"

namespace krasis {

/// Runs body(i) for every i in [0, count) on this thread's team, or on its TBB arena when it has none; returns when all
/// are done. Each i is one unit of work that alone writes its results, so these do not depend on
/// the number of threads. `work` is the whole's multiply-adds: little work is not worth waking a thread and stays on
/// the caller. Isolated: a caller that waits takes up no task of another operation.
template <class Body>
void parallel_units(std::int64_t count, std::int64_t work, const Body& body) {
  constexpr std::int64_t kSmall = 1 << 18;  // about 20 us of one core
  if (count <= 1 || work < kSmall) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  if (ThreadTeam* team = ThreadTeam::current()) return team->run(count, body);
  tbb::this_task_arena::isolate([&] {
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, count, 1),
        [&](const tbb::blocked_range<std::int64_t>& range) {
          for (std::int64_t i = range.begin(); i < range.end(); ++i) body(i);
        },
        tbb::simple_partitioner());
  });
}

}  // namespace krasis

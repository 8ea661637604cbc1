#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/format.h"

namespace krasis {

/// Which NUMA node the bytes of a region belong on, so that each node's cores read what lies beside them. The row that
/// is at k / n to (k + 1) / n of a matrix's rows belongs to node number k of n, because a team's members, in order of
/// their nodes, take its rows in this order (kernels/host/operations/threads/thread_team.h and gate_units.h). What
/// those round to whole units of work is read from the neighbour.
struct Shards {
  struct Range {
    std::size_t node = 0;  ///< index in `nodes`
    std::size_t end = 0;   ///< offset behind the last byte of the same matrix and node
  };

  std::vector<int> nodes;  ///< the system's numbers; fewer than two: nothing is divided
  /// The range of the byte at an offset; of any offset, also behind the region.
  std::function<Range(std::size_t offset)> at;

  explicit operator bool() const { return nodes.size() > 1; }
};

/// Experts one after another: of each matrix the rows, and their scales.
Shards expert_shards(const ExpertLayout& layout, std::vector<int> nodes);
/// Equal parts of something: of one matrix about its rows, as its scales are few.
Shards equal_shards(std::size_t bytes, std::vector<int> nodes);

/// Neighbouring pages on one node.
struct PageRun {
  std::size_t begin = 0, end = 0;
  std::size_t node = 0;
  bool operator==(const PageRun&) const = default;
};
/// The pages in [begin, end), both multiples of `page`. A page that belongs to several nodes goes to that of the byte
/// in its middle.
std::vector<PageRun> page_runs(const Shards& shards, std::size_t begin, std::size_t end, std::size_t page);

}  // namespace krasis

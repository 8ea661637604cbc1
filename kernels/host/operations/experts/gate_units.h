#pragma once

#include <cstdint>

namespace krasis::simd {

/// The order of the units of work of gate and up. A unit has some rows of one expert, multiplied with one block of
/// tokens. The rows of every expert are in shards, one for each NUMA node of the team (engine/weights/shards.h), and
/// the order is shard after shard, in a shard block after block. So the members of a node, whose shares of the work are
/// neighbours, have the rows of all blocks that lie on their node.
struct GateUnits {
  std::int64_t blocks = 0;
  std::int64_t units = 0;  ///< of each block
  std::int64_t shards = 1;

  struct Place {
    std::int64_t block = 0, unit = 0;
    std::int64_t end = 0;  ///< of the block's units in this shard
  };

  std::int64_t count() const { return blocks * units; }
  /// Shard k has units [shard_begin(k), shard_begin(k + 1)) of each block; none where there are more shards than units.
  std::int64_t shard_begin(std::int64_t shard) const { return shard * units / shards; }
  /// `index` in [0, count()).
  Place at(std::int64_t index) const {
    std::int64_t shard = 0;
    while (index >= blocks * shard_begin(shard + 1)) ++shard;
    const std::int64_t begin = shard_begin(shard), end = shard_begin(shard + 1);
    const std::int64_t in_shard = index - blocks * begin;
    return {in_shard / (end - begin), begin + in_shard % (end - begin), end};
  }
};

}  // namespace krasis::simd

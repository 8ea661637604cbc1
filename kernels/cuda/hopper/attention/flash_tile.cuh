#pragma once

#include <algorithm>
#include <climits>

#include "kernels/cuda/hopper/instructions.cuh"
#include "kernels/cuda/operations/tensor_cores/fragments.cuh"
#include "kernels/cuda/operations/cache/layout.cuh"

/// What both sides of the pipeline know: the shape, shared memory, and which rows a block attends for.
namespace krasis::cuda::flash {

using namespace hopper;

constexpr float kLog2E = 1.4426950408889634f;

/// kD: head_dim. kGroups warpgroups multiply, each 64 rows; kKeys keys at a time; kSlots planes (the keys or the values
/// of kKeys positions) in shared memory; registers of a thread that copies and of one that multiplies. kInTurn: the
/// warpgroups issue products in turn, so that one's softmax meets the other's products.
template <int kD_, int kGroups_, int kKeys_, int kSlots_, int kCopyRegisters_, int kTakeRegisters_, bool kInTurn_>
struct Shape {
  static constexpr int kD = kD_, kGroups = kGroups_, kKeys = kKeys_, kSlots = kSlots_;
  static constexpr int kCopyRegisters = kCopyRegisters_, kTakeRegisters = kTakeRegisters_;
  static constexpr bool kInTurn = kInTurn_;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kRows = kGroups * 64;
  static constexpr int kPlaneBytes = kKeys * kD * 2;
  static constexpr int kHalfBytes = kKeys * 128;       ///< 64 columns of a plane
  static constexpr int kQueryHalfBytes = kRows * 128;  ///< 64 columns of the queries

  static_assert(kSlots >= 5 && kSlots <= 6);

  struct Shared {
    alignas(1024) std::uint8_t queries[kRows * kD * 2];
    alignas(1024) std::uint8_t planes[kSlots][kPlaneBytes];
    std::uint64_t filled[kSlots], emptied[kSlots];
    std::uint64_t queries_filled, queries_emptied;
    int never;  ///< no total is negative
  };
  static_assert(sizeof(Shared) <= 227 * 1024 + 1024);
  /// What a thread has at launch; warpgroups only share out what they have together.
  static constexpr int kLaunchRegisters = 65536 / kThreads / 8 * 8;
  static_assert(kGroups * kTakeRegisters + kCopyRegisters <= (kGroups + 1) * kLaunchRegisters);

  __device__ static void init(Shared& shared) {
    for (int i = 0; i < kSlots; ++i) {
      barrier_init(shared.filled + i, kGroupThreads);
      barrier_init(shared.emptied + i, kGroups * kGroupThreads);
    }
    barrier_init(&shared.queries_filled, kGroupThreads);
    barrier_init(&shared.queries_emptied, kGroups * kGroupThreads);
    barriers_made();
  }
};

/// A place in the sequence of planes.
template <int kSlots>
struct Turn {
  int slot = 0;
  int parity = 0;
  __device__ void next() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

struct Job {
  const __nv_bfloat16* q;
  KvPointers cache;
  BatchPointers batch;
  __nv_bfloat16* out;
  int heads;
  int group;  ///< query heads of a cache head
  float scale;
  int tiles;  ///< of rows, at most; times cache.heads
};

/// The rows of a tile: (token, head of the group) pairs of one sequence and cache head, tokens outside.
struct Tile {
  int query_begin, first_row, row_count, kv_head, first_slot;
  int keys;          ///< positions below this are visible to a row
  int first_hidden;  ///< the smallest position that some row does not see
  int count;         ///< of key tiles, at least 1

  __device__ int token(const Job& job, int row) const { return query_begin + (first_row + row) / job.group; }
  /// (token, head) in q and out.
  __device__ std::int64_t line(const Job& job, int row) const {
    const int r = first_row + row;
    return static_cast<std::int64_t>(query_begin + r / job.group) * job.heads + kv_head * job.group + r % job.group;
  }
};

/// The tiles of this block, one after the other: the last ones first, because they have the most keys; forth and back
/// over the blocks, so that each block gets about as much.
template <class S>
struct Tiles {
  int round = 0;

  __device__ bool next(const Job& job, Tile& tile) {
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
    for (;; ++round) {
      const int index = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
      if (round * blocks >= job.tiles * job.cache.heads) return false;
      if (index >= job.tiles * job.cache.heads || !find(job, index, tile)) continue;
      ++round;
      return true;
    }
  }

 private:
  __device__ static bool find(const Job& job, int index, Tile& tile) {
    int t = job.tiles - 1 - index / job.cache.heads;
    for (int s = 0; s < job.batch.sequence_count; ++s) {
      const SequenceSpan span = job.batch.sequences[s];
      const int rows = span.query_count * job.group;
      const int tiles = ceil_div(rows, S::kRows);
      if (t < tiles) {
        tile.query_begin = span.query_begin;
        tile.first_row = t * S::kRows;
        tile.row_count = min(S::kRows, rows - tile.first_row);
        tile.kv_head = index % job.cache.heads;
        tile.first_slot = span.first_slot;
        look(job, tile);
        return true;
      }
      t -= tiles;
    }
    return false;
  }
  /// Each warp for itself.
  __device__ static void look(const Job& job, Tile& tile) {
    int last = -1, first = INT_MAX - 1;
    const int end = tile.token(job, tile.row_count - 1);
    for (int t = tile.token(job, 0) + lane_id(); t <= end; t += kWarp) {
      const int position = __ldg(job.batch.positions + t);
      last = max(last, position);
      first = min(first, position);
    }
    last = __reduce_max_sync(kAllLanes, last);
    first = __reduce_min_sync(kAllLanes, first);
    tile.keys = min(last + 1, job.cache.rows - tile.first_slot);
    tile.first_hidden = first + 1;
    tile.count = max(1, ceil_div(tile.keys, S::kKeys));
  }
};

}  // namespace krasis::cuda::flash

#pragma once

#include "kernels/cuda/hopper/attention/flash_tile.cuh"

/// The copying warpgroup: planes of keys and values, one after the other over all tiles of the block, and each tile's
/// queries, all by asynchronous copies.
namespace krasis::cuda::flash {

/// The planes in the order in which they are multiplied: K0, K1, V0, K2, V1, ... of each tile.
template <class S>
struct Planes {
  Tiles<S> tiles;
  Tile tile;
  int step = 0;
  bool there = false;

  __device__ explicit Planes(const Job& job) { there = tiles.next(job, tile); }
  __device__ void next(const Job& job) {
    if (++step < 2 * tile.count) return;
    step = 0;
    there = tiles.next(job, tile);
  }
  __device__ bool values() const { return step > 0 && (step % 2 == 0 || step == 2 * tile.count - 1); }
  __device__ int first_key() const {
    const int last = 2 * tile.count - 1;
    return S::kKeys * (step == 0 ? 0 : step == last ? tile.count - 1 : step % 2 == 1 ? (step + 1) / 2 : step / 2 - 1);
  }
  /// Of position 0, (row, head).
  __device__ std::int64_t first_line(const Job& job) const {
    return static_cast<std::int64_t>(tile.first_slot) * job.cache.heads + tile.kv_head;
  }
};

/// Where a 16-byte chunk of 8 numbers lies: in halves of 64 columns, 128-byte swizzle.
template <int kHalf>
__device__ int chunk_at(int row, int chunk) {
  return (chunk >> 3) * kHalf + row * 128 + ((chunk ^ row) & 7) * 16;
}
/// The same for the rows row, row + kStep, row + 2 * kStep ... of one thread: two registers, the rest is immediate.
template <int kHalf, int kStep>
struct ChunkColumn {
  int even, odd;
  __device__ ChunkColumn(int row, int chunk)
      : even(chunk_at<kHalf>(row, chunk)), odd(chunk_at<kHalf>(row + kStep, chunk)) {}
  __device__ int operator[](int i) const { return (i % 2 == 0 ? even : odd - kStep * 128) + i * kStep * 128; }
};

/// Planes and queries as they lie.
template <class S>
struct Copy {
  using Shared = typename S::Shared;
  static constexpr int kChunks = S::kD / 8;  ///< of a line
  static constexpr int kRowsAtOnce = kGroupThreads / kChunks;
  static constexpr int kAhead = 2;  ///< planes that are under way when one is announced

  __device__ static void copy_plane(const Job& job, const Planes<S>& at, std::uint8_t* to) {
    const KvPlanePointers& from = at.values() ? job.cache.values : job.cache.keys;
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const int chunk = thread % kChunks, row = thread / kChunks, first = at.first_key() + row;
    const int left = at.tile.keys - first;
    const int line_bytes = job.cache.heads * (S::kD * 2);
    const std::uint8_t* source =
        from.values + at.first_line(job) * S::kD * 2 + chunk * 16 + static_cast<std::int64_t>(first) * line_bytes;
    const ChunkColumn<S::kHalfBytes, kRowsAtOnce> place(row, chunk);
#pragma unroll
    for (int i = 0; i < S::kKeys / kRowsAtOnce; ++i) {
      // Positions that no row sees become zeros: whatever the cache holds there, 0 * NaN would be seen.
      const bool valid = i * kRowsAtOnce < left;
      copy_async_16(to + place[i], valid ? source + static_cast<std::int64_t>(i * kRowsAtOnce) * line_bytes : source,
                    valid);
    }
    copy_async_commit();
  }
  __device__ static void copy_queries(const Job& job, const Tile& tile, std::uint8_t* to) {
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const int chunk = thread % kChunks;
#pragma unroll 4
    for (int row = thread / kChunks; row < S::kRows; row += kRowsAtOnce) {
      const bool valid = row < tile.row_count;
      const __nv_bfloat16* from = job.q + (valid ? tile.line(job, row) * S::kD + chunk * 8 : 0);
      copy_async_16(to + chunk_at<S::kQueryHalfBytes>(row, chunk), from, valid);
    }
    copy_async_commit();
  }
  /// Everything that was started is there.
  __device__ static void flush(Shared& shared, Turn<S::kSlots>& announced, int& pending) {
    copy_async_wait<0>();
    fence_for_products();
    for (; pending > 0; --pending) {
      arrive(shared.filled + announced.slot);
      announced.next();
    }
  }
  __device__ static void run(const Job& job, Shared& shared) {
    Turn<S::kSlots> turn, announced;
    int pending = 0, query_parity = 1;
    for (Planes<S> at(job); at.there; at.next(job)) {
      barrier_wait(shared.emptied + turn.slot, turn.parity ^ 1);
      copy_plane(job, at, shared.planes[turn.slot]);
      turn.next();
      if (++pending > kAhead) {
        copy_async_wait<kAhead>();
        fence_for_products();
        arrive(shared.filled + announced.slot);
        announced.next();
        --pending;
      }
      if (at.step == 0) {
        // The multipliers hold the queries until all other planes of the tile before are announced.
        flush(shared, announced, pending);
        barrier_wait(&shared.queries_emptied, query_parity);
        query_parity ^= 1;
        copy_queries(job, at.tile, shared.queries);
        flush(shared, announced, pending);
        arrive(&shared.queries_filled);
      }
    }
    flush(shared, announced, pending);
  }
};

}  // namespace krasis::cuda::flash

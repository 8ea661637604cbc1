#pragma once

#include "kernels/cuda/hopper/attention/flash_tile.cuh"

/// The copying warpgroup: planes of keys and values, one after the other over all tiles of the block, and each tile's
/// queries. BF16 goes by asynchronous copies; FP8 is widened to FP16, which is exact, on its way through registers.
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

/// BF16: planes and queries as they lie.
template <class S>
struct CopyBf16 {
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
      warp_arrive(shared.filled + announced.slot);
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
        warp_arrive(shared.filled + announced.slot);
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
        warp_arrive(&shared.queries_filled);
      }
    }
    flush(shared, announced, pending);
  }
};

/// FP8: a thread widens 16 numbers at a time; those of the next plane are on their way meanwhile.
template <class S>
struct CopyFp8 {
  using Shared = typename S::Shared;
  static constexpr int kPieces = S::kD / 16;  ///< of 16 numbers in a line
  static constexpr int kLoads = S::kKeys * kPieces / kGroupThreads;
  static constexpr int kRowsAtOnce = kGroupThreads / kPieces;
  static constexpr int kWarpScales = (S::kKeys + kWarp - 1) / kWarp;
  static_assert(S::kKeys % kRowsAtOnce == 0 && S::kKeys <= kGroupThreads);

  static constexpr bool kStaged = S::kRawStages > 0;

  uint4 raw[kStaged ? 1 : kLoads];
  float key_scale;
  float value_scales[kWarpScales];  ///< of all keys of the plane, over the lanes of each warp

  /// Of 8 lanes, 4 have one row and 4 the next: what they write together lies in different banks.
  __device__ static int row() {
    const int lane = lane_id();
    return warp_id() % kGroupWarps * (kRowsAtOnce / kGroupWarps) + lane / 4 % 2 + 2 * (lane / 8 / (kPieces / 4));
  }
  __device__ static int piece() {
    const int lane = lane_id();
    return lane % 4 + 4 * (lane / 8 % (kPieces / 4));
  }
  /// Requests a plane: to registers, or to the thread's own places in shared memory.
  __device__ void load(const Job& job, const Planes<S>& at, [[maybe_unused]] std::uint8_t* staged) {
    if (at.there) {
      const KvPlanePointers& from = at.values() ? job.cache.values : job.cache.keys;
      const int first = at.first_key() + row(), line_bytes = job.cache.heads * S::kD;
      const int left = at.tile.keys - first;  // rows from row() on that some row of the tile sees
      const std::uint8_t* data =
          from.values + at.first_line(job) * S::kD + static_cast<std::int64_t>(first) * line_bytes + piece() * 16;
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const bool valid = i * kRowsAtOnce < left;
        const std::uint8_t* line = data + static_cast<std::int64_t>(i * kRowsAtOnce) * line_bytes;
        if constexpr (kStaged) {
          copy_async_16(staged + i * (kGroupThreads * 16), valid ? line : data, valid);
        } else {
          raw[i] = valid ? load_once_16(line) : make_uint4(0, 0, 0, 0);
        }
      }
    }
    if constexpr (kStaged) copy_async_commit();
  }
  __device__ void load_scales(const Job& job, const Planes<S>& at) {
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const std::int64_t first = at.first_line(job) + static_cast<std::int64_t>(at.first_key()) * job.cache.heads;
    const int left = min(at.tile.keys - at.first_key(), S::kKeys);
    key_scale = thread < left ? __ldg(job.cache.keys.scales + first + thread * job.cache.heads) : 0.0f;
#pragma unroll
    for (int i = 0; i < kWarpScales; ++i) {
      const int key = i * kWarp + lane_id();
      value_scales[i] = key < left ? __ldg(job.cache.values.scales + first + key * job.cache.heads) : 0.0f;
    }
  }
  /// Values' scales are divided by a power of two, so that weights times scales fit into FP16: the largest of all up to
  /// here becomes a number in [1, 2). `unit`: its bits; 0 before the first tile.
  __device__ void store_scales(typename S::Scales& to, int& unit) const {
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    int largest = 0;
#pragma unroll
    for (int i = 0; i < kWarpScales; ++i) largest = max(largest, __float_as_int(fabsf(value_scales[i])));
    // 2^-100 to 2^100
    const int bits = min(max(__reduce_max_sync(kAllLanes, largest) & 0x7f800000, 27 << 23), 227 << 23);
    const int before = unit == 0 ? bits : unit;
    unit = max(before, bits);
    const float reciprocal = __int_as_float((254 << 23) - unit);
    if (thread == 0) {
      to.shrink = __int_as_float(before) * reciprocal;
      to.unit = __int_as_float(unit);
    }
    if (thread < S::kKeys) to.keys[thread] = key_scale;
#pragma unroll
    for (int i = 0; i < kWarpScales; ++i) {
      const int key = i * kWarp + lane_id();
      if (i % kGroupWarps == warp_id() % kGroupWarps && key < S::kKeys) to.values[key] = value_scales[i] * reciprocal;
    }
  }
  __device__ static std::uint32_t widen(std::uint32_t two) {
    const __half2_raw pair = __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(two), __NV_E4M3);
    return static_cast<std::uint32_t>(pair.x) | static_cast<std::uint32_t>(pair.y) << 16;
  }
  __device__ static uint4 widen(std::uint32_t first, std::uint32_t second) {
    return make_uint4(widen(first & 0xffff), widen(first >> 16), widen(second & 0xffff), widen(second >> 16));
  }

  /// BF16 queries become FP16: a row is multiplied by the power of two that brings its largest number to [2^14, 2^15).
  /// Numbers below 2^-31 of that are rounded, in steps of 2^-38 of it; the others are exact.
  __device__ static void copy_queries(const Job& job, const Tile& tile, Shared& shared) {
    constexpr int kChunks = S::kD / 8;
    constexpr int kRows = kGroupThreads / kChunks, kTogether = 2;
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const int chunk = thread % kChunks;
#pragma unroll 1
    for (int first = thread / kChunks; first < S::kRows; first += kRows * kTogether) {
      uint4 v[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int row = first + i * kRows;
        v[i] = row < tile.row_count ? *reinterpret_cast<const uint4*>(job.q + tile.line(job, row) * S::kD + chunk * 8)
                                    : make_uint4(0, 0, 0, 0);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int row = first + i * kRows;
        unsigned largest = __vmaxu2(__vmaxu2(v[i].x & 0x7fff7fffu, v[i].y & 0x7fff7fffu),
                                    __vmaxu2(v[i].z & 0x7fff7fffu, v[i].w & 0x7fff7fffu));
        largest = max(largest & 0xffff, largest >> 16);
#pragma unroll
        for (int step = kChunks / 2; step > 0; step /= 2) {
          largest = max(largest, __shfl_xor_sync(kAllLanes, largest, step));
        }
        const int exponent = max(static_cast<int>(largest >> 7), 27);
        const float factor = __int_as_float((127 + 141 - exponent) << 23);
        uint4 half;
        half.x = scaled(v[i].x, factor);
        half.y = scaled(v[i].y, factor);
        half.z = scaled(v[i].z, factor);
        half.w = scaled(v[i].w, factor);
        *reinterpret_cast<uint4*>(shared.queries + chunk_at<S::kQueryHalfBytes>(row, chunk)) = half;
        if (chunk == 0) shared.row_factors[row] = __int_as_float((exponent - 14) << 23) * (job.scale * kLog2E);
      }
    }
  }
  __device__ static std::uint32_t scaled(std::uint32_t pair, float factor) {
    const __half2 half =
        __floats2half2_rn(__uint_as_float(pair << 16) * factor, __uint_as_float(pair & 0xffff0000u) * factor);
    return *reinterpret_cast<const std::uint32_t*>(&half);
  }

  __device__ void run(const Job& job, Shared& shared) {
    Turn<S::kSlots> turn;
    int query_parity = 1, unit = 0, scale_slot = 0, stage = 0;
    Planes<S> at(job), ahead = at;
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    const auto staged = [&](int s) { return kStaged ? shared.raw[s] + thread * 16 : nullptr; };
    for (int i = 0; i < (kStaged ? S::kRawStages : 1); ++i) {
      load(job, ahead, staged(i));
      if (ahead.there) ahead.next(job);
    }
    if (at.there) load_scales(job, at);
    const ChunkColumn<S::kHalfBytes, kRowsAtOnce> low(row(), 2 * piece()), high(row(), 2 * piece() + 1);
    while (at.there) {
      const bool first = at.step == 0;
      const Tile tile = at.tile;
      if constexpr (kStaged) copy_async_wait<S::kRawStages - 1>();
      barrier_wait(shared.emptied + turn.slot, turn.parity ^ 1);
      std::uint8_t* to = shared.planes[turn.slot];
      uint4 v[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        v[i] =
            kStaged ? *reinterpret_cast<const uint4*>(staged(stage) + i * (kGroupThreads * 16)) : raw[kStaged ? 0 : i];
      }
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        *reinterpret_cast<uint4*>(to + low[i]) = widen(v[i].x, v[i].y);
        *reinterpret_cast<uint4*>(to + high[i]) = widen(v[i].z, v[i].w);
      }
      if (first) unit = 0;
      if (!at.values()) {
        store_scales(shared.scales[scale_slot], unit);
        scale_slot = (scale_slot + 1) % S::kScaleSlots;
      }
      fence_for_products();
      warp_arrive(shared.filled + turn.slot);
      turn.next();
      // Only now: the fence would wait for loads under way, and so would the first use of one of several.
      load(job, ahead, staged(stage));
      if (ahead.there) ahead.next(job);
      if constexpr (kStaged) stage = stage + 1 == S::kRawStages ? 0 : stage + 1;
      at.next(job);
      if (at.there && !at.values()) load_scales(job, at);
      if (first) {
        barrier_wait(&shared.queries_emptied, query_parity);
        query_parity ^= 1;
        copy_queries(job, tile, shared);
        fence_for_products();
        warp_arrive(&shared.queries_filled);
      }
    }
  }
};

}  // namespace krasis::cuda::flash

#pragma once

#include <algorithm>

#include "kernels/cuda/operations/attention/attention.cuh"
#include "kernels/cuda/operations/tensor_cores/fragments.cuh"

/// Flash attention (Dao 2023) by tensor cores for grouped heads.
///
/// The rows of a tile are (token, head of the group) pairs, tokens outside: all heads that read one cache head share
/// its keys, so a single token of 8 heads fills half a tile of 16 rows, and prefill and decode are one kernel. Where
/// there are few tokens, several blocks share the keys (`splits`) and a second kernel joins their parts.
///
/// Scores are FP32 sums of exact products. The weights exp(score - maximum) multiply the values on tensor cores, too,
/// which take BF16: each weight goes as the sum of two BF16 numbers, so its error is 2^-17 and not 2^-9 of it, for half
/// as many products again. FP8 keys and values become BF16, which is exact, once for a block; their scales multiply
/// scores and weights in FP32.
namespace krasis::cuda {

constexpr bool kTwoTermWeights = true;
constexpr float kLog2E = 1.4426950408889634f;

/// kD: head_dim. A block is kWarps warps of 16 * kM rows each; kKeys keys are in shared memory at a time.
template <KvElement kElement, int kD, int kWarps, int kM, int kKeys>
struct AttentionTile {
  static constexpr bool kFp8 = kElement == KvElement::Fp8;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarps * kM * 16;
  static constexpr int kChunks = kD / 8;  ///< of 16 bytes in a row of BF16
  static constexpr int kPlaneBytes = kKeys * kD * 2;
  static constexpr int kBuffers = kFp8 ? 1 : 2;  ///< of keys and values in BF16
  static constexpr int kQueryBytes = kRows * kD * 2;
  static constexpr int kPlanesAt = kQueryBytes;
  static constexpr int kRawAt = kPlanesAt + kBuffers * 2 * kPlaneBytes;  ///< FP8 as it lies, keys and values
  static constexpr int kScalesAt = kRawAt + (kFp8 ? kPlaneBytes : 0);    ///< [2 buffers][keys, values][kKeys]
  static constexpr int kSharedBytes = kScalesAt + (kFp8 ? 4 * kKeys * 4 : 0);

  std::uint8_t* shared;
  KvPointers cache;
  std::int64_t first_line;  ///< (row, head) of the sequence's position 0 in the cache
  int keys;                 ///< positions below this are visible to a row of the tile

  __device__ std::uint8_t* plane(int buffer, bool values) const {
    return shared + kPlanesAt + ((kFp8 ? 0 : buffer) * 2 + values) * kPlaneBytes;
  }
  __device__ std::uint8_t* raw(bool values) const { return shared + kRawAt + values * (kPlaneBytes / 2); }
  __device__ float* scales(int buffer, bool values) const {
    return reinterpret_cast<float*>(shared + kScalesAt) + (buffer * 2 + values) * kKeys;
  }
  __device__ static int chunk_at(bool values, int row, int chunk) {
    return row * kD * 2 + (values ? swizzle_eights(row, chunk) : swizzle_pairs(row, chunk)) * 16;
  }
  __device__ std::int64_t line(int position) const {
    return first_line + static_cast<std::int64_t>(position) * cache.heads;
  }

  /// Starts the copies of the keys from `first` on. Positions that no row sees become zeros: whatever the cache holds
  /// there, 0 * NaN would be seen.
  __device__ void start(int first, int buffer) const {
    constexpr int kLineChunks = kFp8 ? kD / 16 : kChunks;
#pragma unroll
    for (int values = 0; values < 2; ++values) {
      const KvPlanePointers& from = values ? cache.values : cache.keys;
#pragma unroll
      for (int i = static_cast<int>(threadIdx.x); i < kKeys * kLineChunks; i += kThreads) {
        const int row = i / kLineChunks;
        const int chunk = i % kLineChunks;
        const bool valid = first + row < keys;
        const std::uint8_t* at = from.values + (valid ? line(first + row) * (kFp8 ? kD : kD * 2) + chunk * 16 : 0);
        std::uint8_t* to =
            kFp8 ? raw(values) + row * kD + chunk * 16 : plane(buffer, values) + chunk_at(values, row, chunk);
        copy_async_16(to, at, valid);
      }
      if constexpr (kFp8) {
        for (int row = static_cast<int>(threadIdx.x); row < kKeys; row += kThreads) {
          const bool valid = first + row < keys;
          copy_async_4(scales(buffer, values) + row, from.scales + (valid ? line(first + row) : 0), valid);
        }
      }
    }
    copy_async_commit();
  }

  /// FP8 as it lies -> BF16 tiles.
  __device__ void widen() const {
#pragma unroll
    for (int values = 0; values < 2; ++values) {
#pragma unroll
      for (int i = static_cast<int>(threadIdx.x); i < kKeys * kD / 16; i += kThreads) {
        const int row = i / (kD / 16);
        const int chunk = i % (kD / 16) * 2;
        const uint4 v = *reinterpret_cast<const uint4*>(raw(values) + i * 16);
        uint4 low, high;
        widen_e4m3(v.x, low.x, low.y);
        widen_e4m3(v.y, low.z, low.w);
        widen_e4m3(v.z, high.x, high.y);
        widen_e4m3(v.w, high.z, high.w);
        *reinterpret_cast<uint4*>(plane(0, values) + chunk_at(values, row, chunk)) = low;
        *reinterpret_cast<uint4*>(plane(0, values) + chunk_at(values, row, chunk + 1)) = high;
      }
    }
  }
};

/// One warp's rows while it goes through the keys: row g is [.][0], row g + 8 is [.][1].
template <class Tile, int kD, int kM, int kKeys>
struct AttentionRows {
  float sums[kM][kD / 8][4] = {};
  float maximum[kM][2];
  float total[kM][2] = {};  ///< of this lane's keys; the 4 lanes of a group add up at the end
  int position[kM][2];      ///< -1: no row

  /// Takes the keys from `first` on, which lie in `buffer`. `masked`: some row does not see all of them.
  __device__ void take(const Tile& tile, int first, int buffer, float scale, bool masked) {
    const int g = lane_id() / 4;
    const int t = lane_id() % 4;
    float scores[kM][kKeys / 8][4] = {};
    const std::uint8_t* keys = tile.plane(buffer, false);
    const int first_row = warp_id() * (16 * kM);
#pragma unroll
    for (int c = 0; c < kD / 32; ++c) {
      Piece query[kM][2];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int row = first_row + m * 16 + r * 8 + g;
          query[m][r] = as_piece(
              *reinterpret_cast<const uint4*>(tile.shared + row * kD * 2 + swizzle_pairs(row, c * 4 + t) * 16));
        }
      }
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
        const Piece key = as_piece(*reinterpret_cast<const uint4*>(keys + Tile::chunk_at(false, j * 8 + g, c * 4 + t)));
#pragma unroll
        for (int m = 0; m < kM; ++m) mma_piece(scores[m][j], query[m][0], query[m][1], key);
      }
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) weigh(tile, scores[m], m, first, buffer, scale, masked);
    add_values(tile, scores, buffer);
  }

 private:
  /// scores -> weights, by the running maximum (Milakov and Gimelshein 2018).
  __device__ void weigh(const Tile& tile, float (&scores)[kKeys / 8][4], int m, int first, int buffer, float scale,
                        bool masked) {
    const int t = lane_id() % 4;
    float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = j * 8 + t * 2 + i % 2;
        float score = scores[j][i];
        if constexpr (Tile::kFp8) score *= tile.scales(buffer, false)[key];
        score *= scale;
        if (masked && first + key > position[m][i / 2]) score = -INFINITY;
        scores[j][i] = score;
        largest[i / 2] = fmaxf(largest[i / 2], score);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      largest[r] = fmaxf(largest[r], __shfl_xor_sync(kAllLanes, largest[r], 1));
      largest[r] = fmaxf(largest[r], __shfl_xor_sync(kAllLanes, largest[r], 2));
      largest[r] = fmaxf(largest[r], maximum[m][r]);
      // A row that has seen no key yet: any finite base gives weights of 0.
      const float base = largest[r] == -INFINITY ? 0.0f : largest[r];
      const float shrink = exp2_fast((maximum[m][r] - base) * kLog2E);
      maximum[m][r] = largest[r];
      total[m][r] *= shrink;
#pragma unroll
      for (int c = 0; c < kD / 8; ++c) {
        sums[m][c][2 * r] *= shrink;
        sums[m][c][2 * r + 1] *= shrink;
      }
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          const float weight = exp2_fast((scores[j][i] - base) * kLog2E);
          total[m][r] += weight;
          scores[j][i] = Tile::kFp8 ? weight * tile.scales(buffer, true)[j * 8 + t * 2 + i % 2] : weight;
        }
      }
    }
  }

  /// sums += weights * values. A weight's place in the scores is its place in the instruction's first operand.
  __device__ void add_values(const Tile& tile, const float (&weights)[kM][kKeys / 8][4], int buffer) {
    const std::uint8_t* values = tile.plane(buffer, true);
    const int lane = lane_id();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      std::uint32_t high[kM][4], low[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float first = weights[m][2 * k + i / 2][i % 2 * 2];
          const float second = weights[m][2 * k + i / 2][i % 2 * 2 + 1];
          high[m][i] = to_pair(first, second);
          low[m][i] =
              to_pair(first - __uint_as_float(high[m][i] << 16), second - __uint_as_float(high[m][i] & 0xffff0000u));
        }
      }
      const int row = k * 16 + lane % 16;
#pragma unroll
      for (int c = 0; c < kD / 8; c += 2) {
        std::uint32_t v[4];
        load_tiles_transposed(v, values + Tile::chunk_at(true, row, c + lane / 16));
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
            float(&sum)[4] = sums[m][c + n];
            mma(sum, high[m][0], high[m][1], high[m][2], high[m][3], v[2 * n], v[2 * n + 1]);
            if constexpr (kTwoTermWeights) {
              mma(sum, low[m][0], low[m][1], low[m][2], low[m][3], v[2 * n], v[2 * n + 1]);
            }
          }
        }
      }
    }
  }
};

/// Where a block works: the sequence and the first of its rows.
struct AttentionPlace {
  SequenceSpan span;
  int first_row = 0;  ///< (token - query_begin) * group + head of the group
  bool there = false;
};
__device__ inline AttentionPlace attention_place(const BatchPointers& batch, int tile, int group, int rows) {
  for (int s = 0; s < batch.sequence_count; ++s) {
    const SequenceSpan span = batch.sequences[s];
    const int tiles = ceil_div(span.query_count * group, rows);
    if (tile < tiles) return {span, tile * rows, true};
    tile -= tiles;
  }
  return {};
}

/// blockIdx: tile of rows (the last ones first: they have the most keys), cache head, split.
template <KvElement kElement, int kD, int kWarps, int kM, int kKeys>
__global__ void __launch_bounds__(kWarps* kWarp)
    attention_tiles_kernel(const __nv_bfloat16* q, KvPointers cache, BatchPointers batch, __nv_bfloat16* out,
                           AttentionParts parts, int heads, float scale) {
  using Tile = AttentionTile<kElement, kD, kWarps, kM, kKeys>;
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ int scratch[kWarps];
  const int group = heads / cache.heads;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int split = static_cast<int>(blockIdx.z);
  const AttentionPlace place = attention_place(batch, static_cast<int>(gridDim.x - 1 - blockIdx.x), group, Tile::kRows);
  if (!place.there) return;
  const int row_count = min(Tile::kRows, place.span.query_count * group - place.first_row);
  const auto token_of = [&](int row) { return place.span.query_begin + (place.first_row + row) / group; };
  const auto head_of = [&](int row) { return kv_head * group + (place.first_row + row) % group; };

  // Queries to shared memory; rows beyond the last one are zeros.
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * Tile::kChunks; i += Tile::kThreads) {
    const int row = i / Tile::kChunks;
    const int chunk = i % Tile::kChunks;
    const bool valid = row < row_count;
    const std::int64_t at =
        valid ? (static_cast<std::int64_t>(token_of(row)) * heads + head_of(row)) * kD + chunk * 8 : 0;
    copy_async_16(shared + row * kD * 2 + swizzle_pairs(row, chunk) * 16, q + at, valid);
  }
  int last = -1;
  int first_hidden = INT_MAX;  // the smallest position that some row does not see
  for (int row = static_cast<int>(threadIdx.x); row < row_count; row += Tile::kThreads) {
    const int position = batch.positions[token_of(row)];
    last = max(last, position);
    first_hidden = min(first_hidden, position + 1);
  }
  const int keys = min(block_max(last, scratch) + 1, cache.rows - place.span.first_slot);
  first_hidden = -block_max(-first_hidden, scratch);

  const Tile tile{shared, cache, static_cast<std::int64_t>(place.span.first_slot) * cache.heads + kv_head, keys};
  AttentionRows<Tile, kD, kM, kKeys> rows;
  const int g = lane_id() / 4;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp_id() * (16 * kM) + m * 16 + r * 8 + g;
      rows.maximum[m][r] = -INFINITY;
      rows.position[m][r] = row < row_count ? batch.positions[token_of(row)] : -1;
    }
  }
  const Range range = part_of(ceil_div(max(keys, 0), kKeys), split, parts.splits);
  if (range.begin < range.end) tile.start(range.begin * kKeys, range.begin % 2);
  for (int i = range.begin; i < range.end; ++i) {
    copy_async_wait<0>();
    // This tile is there, and everybody is done with the one before, whose buffer is filled next.
    __syncthreads();
    if constexpr (Tile::kFp8) {
      tile.widen();
      __syncthreads();
    }
    if (i + 1 < range.end) tile.start((i + 1) * kKeys, (i + 1) % 2);
    // Rows beyond the last one have position -1: hidden from everything, but what they make is not stored.
    rows.take(tile, i * kKeys, i % 2, scale, (i + 1) * kKeys > first_hidden);
  }
  copy_async_wait<0>();

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = rows.total[m][r];
      total += __shfl_xor_sync(kAllLanes, total, 1);
      total += __shfl_xor_sync(kAllLanes, total, 2);
      const int row = warp_id() * (16 * kM) + m * 16 + r * 8 + g;
      if (row >= row_count) continue;
      const std::int64_t line = static_cast<std::int64_t>(token_of(row)) * heads + head_of(row);
      const int t = lane_id() % 4;
      if (parts.splits == 1) {
#pragma unroll
        for (int c = 0; c < kD / 8; ++c) {
          *reinterpret_cast<std::uint32_t*>(out + line * kD + c * 8 + t * 2) =
              to_pair(rows.sums[m][c][2 * r] / total, rows.sums[m][c][2 * r + 1] / total);
        }
        continue;
      }
      const std::int64_t part = static_cast<std::int64_t>(split) * batch.tokens * heads + line;
      if (t == 0) parts.stats[part] = make_float2(rows.maximum[m][r], total);
      if (range.begin == range.end) continue;
#pragma unroll
      for (int c = 0; c < kD / 8; ++c) {
        *reinterpret_cast<float2*>(parts.sums + part * kD + c * 8 + t * 2) =
            make_float2(rows.sums[m][c][2 * r], rows.sums[m][c][2 * r + 1]);
      }
    }
  }
}

/// The number of splits of the keys: enough to keep the device busy, at most what the workspace holds.
AttentionParts attention_parts(const Launch& launch, const AttentionArgs& args, std::int64_t tiles);

template <KvElement kElement, int kD, int kWarps, int kM, int kKeys>
void run_attention_tiles(const Launch& launch, const AttentionArgs& args, bool may_split) {
  using Tile = AttentionTile<kElement, kD, kWarps, kM, kKeys>;
  const int group = args.heads / args.cache.heads;
  const std::int64_t tiles = static_cast<std::int64_t>(args.batch.tokens) * group / Tile::kRows +
                             static_cast<std::int64_t>(args.batch.sequences.size);
  const AttentionParts parts = may_split ? attention_parts(launch, args, tiles) : AttentionParts{};
  const auto kernel = attention_tiles_kernel<kElement, kD, kWarps, kM, kKeys>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(args.cache.heads),
                  static_cast<unsigned>(parts.splits));
  kernel<<<grid, Tile::kThreads, Tile::kSharedBytes, launch.stream>>>(
      device_bf16(args.q.data), pointers_of(args.cache), pointers_of(args.batch), device_bf16(args.out.data), parts,
      args.heads, args.scale);
  if (parts.splits > 1) combine_attention(launch, args, parts);
}

/// `split`: small tiles, where all rows of a cache head fit into a few of 16.
template <KvElement kElement>
void run_attention_of(const Launch& launch, const AttentionArgs& args, bool split) {
  switch (args.cache.head_dim) {
    case 64:
      return split ? run_attention_tiles<kElement, 64, 1, 1, 32>(launch, args, true)
                   : run_attention_tiles<kElement, 64, 4, 2, 64>(launch, args, false);
    case 128:
      return split ? run_attention_tiles<kElement, 128, 1, 1, 32>(launch, args, true)
                   : run_attention_tiles<kElement, 128, 8, 1, 64>(launch, args, false);
    default:
      return split ? run_attention_tiles<kElement, 256, 1, 1, 32>(launch, args, true)
                   : run_attention_tiles<kElement, 256, 4, 1, 32>(launch, args, false);
  }
}

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/tensor_cores/fragments.cuh"
#include "kernels/cuda/operations/cache/layout.cuh"

/// Attention of one token (decode_fused.cu): the job, the tile of keys and values that a warp takes, the weights that
/// it makes of scores.
namespace krasis::cuda::decode {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kWarpKeys = 16;
constexpr int kBlockKeys = kWarps * kWarpKeys;
constexpr float kLog2E = 1.4426950408889634f;

struct DecodeJob {
  const __nv_bfloat16* q;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  const __nv_bfloat16* q_norm;  ///< null = none
  const __nv_bfloat16* k_norm;
  const float* inverse_frequency;
  KvPointers cache;
  BatchPointers batch;
  __nv_bfloat16* out;
  int heads;
  float epsilon;
  float scale;
  float* sums;    ///< [splits, heads, head_dim]
  float2* stats;  ///< [splits, heads]: maximum, sum of weights
  unsigned* counters;
};

/// kD: head_dim; kRows: query heads of a cache head at most, 8 or 16.
template <KvElement kElement, int kD, int kRows>
struct DecodeTile {
  static constexpr bool kFp8 = kElement == KvElement::Fp8;
  static constexpr int kPieces = kD / 32;  ///< of a lane in a key
  static constexpr int kEach = kD / 32;    ///< numbers of a lane in a value
  static constexpr int kValueBytes = kEach * (kFp8 ? 1 : 2);
  static constexpr int kKeyLoads = kFp8 ? kPieces / 2 : kPieces;  ///< of 16 bytes
  static constexpr int kQueryStride = kD + 32;
  static constexpr int kLineBytes = kD * (kFp8 ? 1 : 2);
  using ValueLoad =
      std::conditional_t<kValueBytes == 4, std::uint32_t, std::conditional_t<kValueBytes == 8, uint2, uint4>>;

  // Shared memory
  static constexpr int kSumsAt = 0;                                   ///< float [kWarps][kRows][kD]
  static constexpr int kStatsAt = kSumsAt + kWarps * kRows * kD * 4;  ///< float2 [kWarps][kRows]
  static constexpr int kWeightsAt = kStatsAt + kWarps * kRows * 8;    ///< float [kWarps][kWarpKeys + 1][kRows]
  static constexpr int kQueryAt = kWeightsAt + kWarps * (kWarpKeys + 1) * kRows * 4;  ///< BF16 [kRows][kQueryStride]
  static constexpr int kNewAt = kQueryAt + kRows * kQueryStride * 2;  ///< key and value of the token, as cached
  static constexpr int kNewScalesAt = kNewAt + 2 * kLineBytes;        ///< float [2]
  static constexpr int kSharedBytes = kNewScalesAt + 16;

  static __device__ int piece_column(int p) {
    const int t = lane_id() % 4;
    return kFp8 ? p / 2 * 64 + t * 16 + p % 2 * kPiece : p * 32 + t * kPiece;
  }
  static __device__ void widen_key(const uint4 (&raw)[kKeyLoads], Piece (&pieces)[kPieces]) {
#pragma unroll
    for (int l = 0; l < kKeyLoads; ++l) {
      if constexpr (kFp8) {
        widen_e4m3(raw[l].x, pieces[2 * l].pair[0], pieces[2 * l].pair[1]);
        widen_e4m3(raw[l].y, pieces[2 * l].pair[2], pieces[2 * l].pair[3]);
        widen_e4m3(raw[l].z, pieces[2 * l + 1].pair[0], pieces[2 * l + 1].pair[1]);
        widen_e4m3(raw[l].w, pieces[2 * l + 1].pair[2], pieces[2 * l + 1].pair[3]);
      } else {
        pieces[l] = as_piece(raw[l]);
      }
    }
  }
  static __device__ void widen_value(const ValueLoad& raw, float (&v)[kEach]) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(&raw);
#pragma unroll
    for (int w = 0; w < kValueBytes / 4; ++w) {
      std::uint32_t pairs[2] = {words[w], 0};
      if constexpr (kFp8) widen_e4m3(words[w], pairs[0], pairs[1]);
#pragma unroll
      for (int p = 0; p < (kFp8 ? 2 : 1); ++p) {
        v[(w * (kFp8 ? 2 : 1) + p) * 2] = __uint_as_float(pairs[p] << 16);
        v[(w * (kFp8 ? 2 : 1) + p) * 2 + 1] = __uint_as_float(pairs[p] & 0xffff0000u);
      }
    }
  }
};

/// 16 keys and values of a warp, as they lie. Lane (g, t): the pieces t of keys g and g + 8; numbers lane * kEach.. of
/// all values; of the scales, lane l has that of key l, lane 16 + l that of value l.
template <class Tile>
struct WarpKeys {
  uint4 keys[2][Tile::kKeyLoads];
  typename Tile::ValueLoad values[kWarpKeys];
  float scale;

  /// Keys [first, first + 16) of the sequence; those at or beyond `end` are zeros. `skip` is not there yet.
  __device__ void fetch(const KvPointers& cache, std::int64_t first_line, int first, int end, int skip) {
    const int lane = lane_id(), g = lane / 4, t = lane % 4;
    const auto line = [&](int key) { return first_line + static_cast<std::int64_t>(key) * cache.heads; };
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int key = first + j * 8 + g;
      const bool valid = key < end && key != skip;
#pragma unroll
      for (int l = 0; l < Tile::kKeyLoads; ++l) {
        keys[j][l] =
            valid ? *reinterpret_cast<const uint4*>(cache.keys.values + line(key) * Tile::kLineBytes + (l * 4 + t) * 16)
                  : make_uint4(0, 0, 0, 0);
      }
    }
#pragma unroll
    for (int i = 0; i < kWarpKeys; ++i) {
      const int key = first + i;
      values[i] = typename Tile::ValueLoad{};
      if (key < end && key != skip) {
        values[i] = *reinterpret_cast<const typename Tile::ValueLoad*>(
            cache.values.values + line(key) * Tile::kLineBytes + lane * Tile::kValueBytes);
      }
    }
    scale = 1.0f;
    if constexpr (Tile::kFp8) {
      const int key = first + lane % 16;
      if (key < end && key != skip) scale = (lane < 16 ? cache.keys : cache.values).scales[line(key)];
    }
  }
  /// Puts the token's own key and value, from shared memory, where they belong.
  __device__ void insert(const std::uint8_t* shared, int first, int position) {
    const int lane = lane_id(), g = lane / 4, t = lane % 4;
    const std::uint8_t* fresh = shared + Tile::kNewAt;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (first + j * 8 + g != position) continue;
#pragma unroll
      for (int l = 0; l < Tile::kKeyLoads; ++l) {
        keys[j][l] = *reinterpret_cast<const uint4*>(fresh + (l * 4 + t) * 16);
      }
    }
#pragma unroll
    for (int i = 0; i < kWarpKeys; ++i) {
      if (first + i != position) continue;
      values[i] =
          *reinterpret_cast<const typename Tile::ValueLoad*>(fresh + Tile::kLineBytes + lane * Tile::kValueBytes);
    }
    if (Tile::kFp8 && first + lane % 16 == position) {
      scale = reinterpret_cast<const float*>(shared + Tile::kNewScalesAt)[lane / 16];
    }
  }
};

/// The weights exp2((score - maximum) log2 e) of 16 keys for the rows of a lane's group, and their effect on maximum
/// and total. A row of the tile belongs to the 4 lanes of a group; they agree on the maximum, and sum their own keys.
template <class Tile, int kRows>
struct RowStats {
  static constexpr int kHalves = kRows / 8;  ///< rows g, g + 8
  float maximum[kHalves], total[kHalves];
  __device__ RowStats() {
#pragma unroll
    for (int r = 0; r < kHalves; ++r) maximum[r] = -INFINITY, total[r] = 0.0f;
  }
  /// scores -> weights in shared memory [key][row], times the values' scales; the last line is what sums shrink by.
  __device__ void weigh(float (&scores)[2][4], float own_scale, float scale, int first, int end, float* weights) {
    const int lane = lane_id(), g = lane / 4, t = lane % 4;
    float key_scale[2][2], value_scale[2][2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        key_scale[j][i] = __shfl_sync(kAllLanes, own_scale, j * 8 + t * 2 + i);
        value_scale[j][i] = __shfl_sync(kAllLanes, own_scale, 16 + j * 8 + t * 2 + i);
      }
    }
#pragma unroll
    for (int r = 0; r < kHalves; ++r) {
      float largest = -INFINITY;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[j][2 * r + i];
          if constexpr (Tile::kFp8) score *= key_scale[j][i];
          score *= scale;
          if (first + j * 8 + t * 2 + i >= end) score = -INFINITY;
          largest = fmaxf(largest, score);
        }
      }
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
      largest = fmaxf(largest, maximum[r]);
      const float base = largest == -INFINITY ? 0.0f : largest;
      const float shrink = exp2_fast((maximum[r] - base) * kLog2E);
      maximum[r] = largest;
      total[r] *= shrink;
      if (t == 0) weights[kWarpKeys * kRows + g + r * 8] = shrink;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float weight = exp2_fast((scores[j][2 * r + i] - base) * kLog2E);
          total[r] += weight;
          weights[(j * 8 + t * 2 + i) * kRows + g + r * 8] = Tile::kFp8 ? weight * value_scale[j][i] : weight;
        }
      }
    }
  }
};

}  // namespace krasis::cuda::decode

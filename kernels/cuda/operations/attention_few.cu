#include <algorithm>
#include <cmath>

#include "kernels/cuda/operations/attention_few.h"
#include "kernels/cuda/operations/fragments.cuh"
#include "kernels/cuda/operations/kv_cache.cuh"
#include "kernels/cuda/operations/overlap.cuh"

/// Attention of one token, from the products of q, k and v to the attended heads.
///
/// blockIdx: split, cache head. All query heads of a cache head are the rows of one tensor core tile; each warp takes
/// 16 keys at a time, straight from the cache into the instruction's operand. Values are multiplied in FP32: a lane
/// holds head_dim / 32 numbers of each head, so a value is read once for all heads of the group. How many splits have
/// work is known on the device alone, by the position, so one recorded graph serves every length; they join in the
/// order of the splits in the block that ends last.
namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kWarpKeys = 16;
constexpr int kBlockKeys = kWarps * kWarpKeys;
constexpr float kLog2E = 1.4426950408889634f;

struct FewJob {
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
struct FewTile {
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

/// Norm, rotary and storing of the query heads of a group, of the new key and of the new value: an item for each, a
/// warp at a time. A lane holds the pairs (i, i + kD / 2), i = lane + 32 n. Rounded where the primitives round.
template <class Tile, KvElement kElement, int kD, int kRows>
struct Heads {
  static constexpr int kPairs = kD / 64;
  static constexpr int kItems = (kRows + 2 + kWarps - 1) / kWarps;  ///< of a warp
  float q_norm[kPairs][2], k_norm[kPairs][2], sine[kPairs], cosine[kPairs];

  /// What no product writes.
  __device__ void fetch(const FewJob& job, int position) {
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      const int i = lane_id() + n * kWarp;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        q_norm[n][h] = job.q_norm ? __bfloat162float(job.q_norm[i + h * kD / 2]) : 0.0f;
        k_norm[n][h] = job.k_norm ? __bfloat162float(job.k_norm[i + h * kD / 2]) : 0.0f;
      }
      sincosf(__fmul_rn(static_cast<float>(position), job.inverse_frequency[i]), &sine[n], &cosine[n]);
    }
  }

  /// Items: the group's query heads, then with `owns` key and value, which also go to `line` of the cache.
  __device__ void run(const FewJob& job, std::uint8_t* shared, int group, int kv_head, bool owns, std::int64_t line) {
    const int items = group + (owns ? 2 : 0);
    float a[kItems][kPairs], b[kItems][kPairs];
#pragma unroll
    for (int s = 0; s < kItems; ++s) {
      const int item = warp_id() + s * kWarps;
      const __nv_bfloat16* from = item < group    ? job.q + (kv_head * group + item) * kD
                                  : item == group ? job.k + kv_head * kD
                                                  : job.v + kv_head * kD;
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        const int i = lane_id() + n * kWarp;
        a[s][n] = item < items ? __bfloat162float(from[i]) : 0.0f;
        b[s][n] = item < items ? __bfloat162float(from[i + kD / 2]) : 0.0f;
      }
    }
#pragma unroll
    for (int s = 0; s < kItems; ++s) {
      const int item = warp_id() + s * kWarps;
      if (item >= items) continue;
      if (item <= group)
        turn(a[s], b[s], item < group ? job.q_norm : job.k_norm, item < group ? q_norm : k_norm, job.epsilon);
      if (item < group) {
        auto* to = reinterpret_cast<__nv_bfloat16*>(shared + Tile::kQueryAt) + item * Tile::kQueryStride;
        put(to, a[s], b[s]);
      } else {
        store(job, shared, item > group, a[s], b[s], line);
      }
    }
  }

 private:
  static __device__ float rounded(float v) {
    return __bfloat162float(__float2bfloat16_rn(v));
  }
  static __device__ void put(__nv_bfloat16* to, const float (&a)[kPairs], const float (&b)[kPairs]) {
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      to[lane_id() + n * kWarp] = __float2bfloat16_rn(a[n]);
      to[lane_id() + n * kWarp + kD / 2] = __float2bfloat16_rn(b[n]);
    }
  }
  __device__ void turn(float (&a)[kPairs], float (&b)[kPairs], const void* has_norm, const float (&weight)[kPairs][2],
                       float epsilon) {
    if (has_norm) {
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < kPairs; ++n) sum += a[n] * a[n] + b[n] * b[n];
      const float norm = sqrtf(warp_sum(sum) / static_cast<float>(kD) + epsilon);
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        a[n] = rounded(a[n] / norm * weight[n][0]);
        b[n] = rounded(b[n] / norm * weight[n][1]);
      }
    }
#pragma unroll
    for (int n = 0; n < kPairs; ++n) {
      const float first = rounded(a[n] * cosine[n] - b[n] * sine[n]);
      b[n] = rounded(b[n] * cosine[n] + a[n] * sine[n]);
      a[n] = first;
    }
  }
  static __device__ void store(const FewJob& job, std::uint8_t* shared, bool is_value, const float (&a)[kPairs],
                               const float (&b)[kPairs], std::int64_t line) {
    const KvPlanePointers& plane = is_value ? job.cache.values : job.cache.keys;
    std::uint8_t* fresh = shared + Tile::kNewAt + (is_value ? Tile::kLineBytes : 0);
    if constexpr (kElement == KvElement::Bf16) {
      put(reinterpret_cast<__nv_bfloat16*>(fresh), a, b);
      put(reinterpret_cast<__nv_bfloat16*>(plane.values) + line * kD, a, b);
    } else {
      float largest = 0.0f;
#pragma unroll
      for (int n = 0; n < kPairs; ++n) largest = fmaxf(largest, fmaxf(fabsf(a[n]), fabsf(b[n])));
      float scale = warp_max(largest) / 448.0f;
      if (scale == 0.0f) scale = 1.0f;
      if (lane_id() == 0) {
        plane.scales[line] = scale;
        reinterpret_cast<float*>(shared + Tile::kNewScalesAt)[is_value] = scale;
      }
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        const int i = lane_id() + n * kWarp;
        const std::uint8_t first = to_e4m3(a[n] / scale), second = to_e4m3(b[n] / scale);
        fresh[i] = first;
        fresh[i + kD / 2] = second;
        plane.values[line * kD + i] = first;
        plane.values[line * kD + i + kD / 2] = second;
      }
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

template <KvElement kElement, int kD, int kRows>
__global__ void __launch_bounds__(kThreads) attention_few_kernel(const __grid_constant__ FewJob job) {
  using Tile = FewTile<kElement, kD, kRows>;
  constexpr int kEach = Tile::kEach;
  extern __shared__ __align__(16) std::uint8_t shared[];
  const int split = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y);
  const KvPointers& cache = job.cache;
  const int group = job.heads / cache.heads;
  const int lane = lane_id(), g = lane / 4;

  // Ahead of the products' end: where the token is, what is cached already.
  const int position = job.batch.positions[0];
  const int slot = first_slot_of(job.batch, 0);
  const int end = slot < 0 ? 0 : min(position + 1, cache.rows - slot);
  const int blocks = ceil_div(max(end, 0), kBlockKeys);
  const int active = min(max(blocks, 1), static_cast<int>(gridDim.x));
  const Range range = split < active ? part_of(blocks, split, active) : Range{0, 0};
  const std::int64_t first_line = static_cast<std::int64_t>(slot) * cache.heads + kv_head;
  WarpKeys<Tile> keys;
  Heads<Tile, kElement, kD, kRows> heads;
  if (range.begin < range.end) {
    keys.fetch(cache, first_line, range.begin * kBlockKeys + warp_id() * kWarpKeys, end, position);
    heads.fetch(job, position);
  }
  wait_for_predecessor();
  if (split >= active) return;

  const bool owns = position < end && position / kBlockKeys >= range.begin && position / kBlockKeys < range.end;
  auto* query = reinterpret_cast<__nv_bfloat16*>(shared + Tile::kQueryAt);
  for (int i = static_cast<int>(threadIdx.x); i < (kRows - group) * Tile::kQueryStride; i += kThreads) {
    query[group * Tile::kQueryStride + i] = __float2bfloat16_rn(0.0f);
  }
  if (range.begin < range.end) {
    heads.run(job, shared, group, kv_head, owns, first_line + static_cast<std::int64_t>(position) * cache.heads);
  }
  __syncthreads();

  float* weights = reinterpret_cast<float*>(shared + Tile::kWeightsAt) + warp_id() * (kWarpKeys + 1) * kRows;
  RowStats<Tile, kRows> stats;
  float sums[kRows][kEach] = {};
  for (int b = range.begin; b < range.end; ++b) {
    const int first = b * kBlockKeys + warp_id() * kWarpKeys;
    if (first >= end) break;  // the whole warp
    if (b > range.begin) keys.fetch(cache, first_line, first, end, position);
    if (owns && position >= first && position < first + kWarpKeys) keys.insert(shared, first, position);
    float scores[2][4] = {};
    Piece key[2][Tile::kPieces];
#pragma unroll
    for (int j = 0; j < 2; ++j) Tile::widen_key(keys.keys[j], key[j]);
#pragma unroll
    for (int p = 0; p < Tile::kPieces; ++p) {
      const __nv_bfloat16* at = query + g * Tile::kQueryStride + Tile::piece_column(p);
      const Piece row = as_piece(*reinterpret_cast<const uint4*>(at));
      const Piece row8 = kRows > 8 ? as_piece(*reinterpret_cast<const uint4*>(at + 8 * Tile::kQueryStride)) : Piece{};
#pragma unroll
      for (int j = 0; j < 2; ++j) mma_piece(scores[j], row, row8, key[j][p]);
    }
    __syncwarp();  // everybody has read the weights of the keys before
    stats.weigh(scores, keys.scale, job.scale, first, end, weights);
    __syncwarp();
    if (b > range.begin) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) sums[r][i] *= weights[kWarpKeys * kRows + r];
      }
    }
#pragma unroll
    for (int i = 0; i < kWarpKeys; ++i) {
      float v[kEach];
      Tile::widen_value(keys.values[i], v);
#pragma unroll
      for (int r = 0; r < kRows; r += 4) {
        const float4 w = *reinterpret_cast<const float4*>(weights + i * kRows + r);
#pragma unroll
        for (int d = 0; d < kEach; ++d) {
          sums[r][d] += w.x * v[d];
          sums[r + 1][d] += w.y * v[d];
          sums[r + 2][d] += w.z * v[d];
          sums[r + 3][d] += w.w * v[d];
        }
      }
    }
  }

  // The warps' sums, brought to one maximum, in their order.
  auto* all_sums = reinterpret_cast<float*>(shared + Tile::kSumsAt);
  auto* all_stats = reinterpret_cast<float2*>(shared + Tile::kStatsAt);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int d = 0; d < kEach; d += 4) {
      *reinterpret_cast<float4*>(all_sums + (warp_id() * kRows + r) * kD + lane * kEach + d) =
          make_float4(sums[r][d], sums[r][d + 1], sums[r][d + 2], sums[r][d + 3]);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows / 8; ++r) {
    float total = stats.total[r];
    total += __shfl_xor_sync(kAllLanes, total, 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    if (lane % 4 == 0) all_stats[warp_id() * kRows + g + r * 8] = make_float2(stats.maximum[r], total);
  }
  __syncthreads();
  // 4 neighbouring numbers of a head for each thread; `at(part)` and `sum_at(part)` say where its parts lie.
  const auto join = [&](int parts, auto stat_at, auto sum_at, float& maximum, float& total) {
    maximum = -INFINITY;
    for (int p = 0; p < parts; ++p) maximum = fmaxf(maximum, stat_at(p).x);
    const float base = maximum == -INFINITY ? 0.0f : maximum;
    total = 0.0f;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
    for (int p = 0; p < parts; ++p) {
      const float2 stat = stat_at(p);
      const float4 part = sum_at(p);
      const float weight = exp2f((stat.x - base) * kLog2E);
      total += weight * stat.y;
      sum.x += weight * part.x;
      sum.y += weight * part.y;
      sum.z += weight * part.z;
      sum.w += weight * part.w;
    }
    return sum;
  };
  const auto store = [&](int head, int d, const float4& sum, float total) {
    auto* to = reinterpret_cast<uint2*>(job.out + (kv_head * group + head) * kD + d);
    *to = make_uint2(to_pair(sum.x / total, sum.y / total), to_pair(sum.z / total, sum.w / total));
  };
  const int fours = group * kD / 4;
  for (int i = static_cast<int>(threadIdx.x); i < fours; i += kThreads) {
    const int head = i / (kD / 4), d = i % (kD / 4) * 4;
    float maximum, total;
    const float4 sum = join(
        kWarps, [&](int w) { return all_stats[w * kRows + head]; },
        [&](int w) { return *reinterpret_cast<const float4*>(all_sums + (w * kRows + head) * kD + d); }, maximum,
        total);
    if (active == 1) {
      store(head, d, sum, total);
      continue;
    }
    const int line = split * job.heads + kv_head * group + head;
    if (d == 0) job.stats[line] = make_float2(maximum, total);
    *reinterpret_cast<float4*>(job.sums + static_cast<std::int64_t>(line) * kD + d) = sum;
  }
  if (active == 1 || !is_last_block(job.counters + kv_head, static_cast<unsigned>(active))) return;
  for (int i = static_cast<int>(threadIdx.x); i < fours; i += kThreads) {
    const int head = i / (kD / 4), d = i % (kD / 4) * 4;
    const auto line = [&](int s) { return s * job.heads + kv_head * group + head; };
    float maximum, total;
    const float4 sum = join(
        active, [&](int s) { return __ldcg(job.stats + line(s)); },
        [&](int s) {
          return __ldcg(reinterpret_cast<const float4*>(job.sums + static_cast<std::int64_t>(line(s)) * kD + d));
        },
        maximum, total);
    store(head, d, sum, total);
  }
}

template <KvElement kElement>
bool run_attention_few(const Launch& launch, const FewJob& job, int splits) {
  const int group = job.heads / job.cache.heads;
  const auto run = [&](auto kernel, int shared_bytes) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(job.cache.heads));
    launch_overlapped(launch, kernel, grid, kThreads, static_cast<std::size_t>(shared_bytes), job);
    return true;
  };
  switch (job.cache.head_dim) {
    case 128:
      return group <= 8 ? run(attention_few_kernel<kElement, 128, 8>, FewTile<kElement, 128, 8>::kSharedBytes)
                        : run(attention_few_kernel<kElement, 128, 16>, FewTile<kElement, 128, 16>::kSharedBytes);
    case 256:
      return group <= 8 && run(attention_few_kernel<kElement, 256, 8>, FewTile<kElement, 256, 8>::kSharedBytes);
    default:
      return false;
  }
}

constexpr int kMostSplits = 32;

}  // namespace

bool attention_few(const Launch& launch, const AttentionBlock& b) {
  const KvCache& cache = b.cache;
  if (b.batch.tokens != 1 || !launch.counters || cache.heads > kCounters || b.heads > 16 * cache.heads ||
      b.heads % cache.heads != 0 || (cache.head_dim != 128 && cache.head_dim != 256) ||
      (cache.head_dim == 256 && b.heads > 8 * cache.heads) || !is_aligned(cache.keys.values.data, 16) ||
      !is_aligned(cache.values.values.data, 16) || !is_aligned(b.attended.data, 8)) {
    return false;
  }
  // Parts of the splits, if there is room for them.
  const std::int64_t line_bytes = static_cast<std::int64_t>(b.heads) * (cache.head_dim + 2) * 4;
  const bool room = is_aligned(b.attention_workspace.data, 16);
  const std::int64_t fit = room ? static_cast<std::int64_t>(b.attention_workspace.bytes()) / line_bytes : 0;
  const auto splits = static_cast<int>(
      std::max<std::int64_t>(std::min<std::int64_t>({fit, kMostSplits, launch.multiprocessors / cache.heads}), 1));
  auto* sums = reinterpret_cast<float*>(b.attention_workspace.data);
  const FewJob job{device_bf16(b.q.data),
                   device_bf16(b.k.data),
                   device_bf16(b.v.data),
                   b.q_norm.empty() ? nullptr : device_bf16(b.q_norm.data),
                   b.k_norm.empty() ? nullptr : device_bf16(b.k_norm.data),
                   b.inverse_frequency.data,
                   pointers_of(cache),
                   pointers_of(b.batch),
                   device_bf16(b.attended.data),
                   b.heads,
                   b.epsilon,
                   1.0f / std::sqrt(static_cast<float>(cache.head_dim)),
                   sums,
                   reinterpret_cast<float2*>(sums + static_cast<std::int64_t>(splits) * b.heads * cache.head_dim),
                   launch.counters};
  return cache.element == KvElement::Bf16 ? run_attention_few<KvElement::Bf16>(launch, job, splits)
                                          : run_attention_few<KvElement::Fp8>(launch, job, splits);
}

}  // namespace krasis::cuda

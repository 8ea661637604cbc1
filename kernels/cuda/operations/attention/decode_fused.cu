#include <algorithm>
#include <cmath>

#include "kernels/cuda/operations/attention/decode_fused.h"
#include "kernels/cuda/operations/attention/decode_heads.cuh"
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

using namespace decode;

template <KvElement kElement, int kD, int kRows>
__global__ void __launch_bounds__(kThreads) attention_decode_kernel(const __grid_constant__ DecodeJob job) {
  using Tile = DecodeTile<kElement, kD, kRows>;
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
void run_attention_decode(const Launch& launch, const DecodeJob& job, int splits) {
  const auto run = [&](auto kernel, int shared_bytes) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(job.cache.heads));
    launch_overlapped(launch, kernel, grid, kThreads, static_cast<std::size_t>(shared_bytes), job);
  };
  if (job.cache.head_dim == 256) {
    return run(attention_decode_kernel<kElement, 256, 8>, DecodeTile<kElement, 256, 8>::kSharedBytes);
  }
  job.heads <= 8 * job.cache.heads
      ? run(attention_decode_kernel<kElement, 128, 8>, DecodeTile<kElement, 128, 8>::kSharedBytes)
      : run(attention_decode_kernel<kElement, 128, 16>, DecodeTile<kElement, 128, 16>::kSharedBytes);
}

constexpr int kMostSplits = 32;

}  // namespace

void attention_decode(const Launch& launch, const AttentionBlock& b) {
  const KvCache& cache = b.cache;
  // Parts of the splits, if there is room for them.
  const std::int64_t line_bytes = static_cast<std::int64_t>(b.heads) * (cache.head_dim + 2) * 4;
  const bool room = is_aligned(b.attention_workspace.data, 16);
  const std::int64_t fit = room ? static_cast<std::int64_t>(b.attention_workspace.bytes()) / line_bytes : 0;
  const auto splits = static_cast<int>(
      std::max<std::int64_t>(std::min<std::int64_t>({fit, kMostSplits, launch.multiprocessors / cache.heads}), 1));
  auto* sums = reinterpret_cast<float*>(b.attention_workspace.data);
  const DecodeJob job{device_bf16(b.q.data),
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
                      b.scale(),
                      sums,
                      reinterpret_cast<float2*>(sums + static_cast<std::int64_t>(splits) * b.heads * cache.head_dim),
                      launch.counters};
  return cache.element == KvElement::Bf16 ? run_attention_decode<KvElement::Bf16>(launch, job, splits)
                                          : run_attention_decode<KvElement::Fp8>(launch, job, splits);
}

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/attention/decode_tile.cuh"

/// Attention of one token (decode_fused.cu): what happens to its own heads before they are multiplied.
namespace krasis::cuda::decode {

/// Norm, rotary and storing of the query heads of a group, of the new key and of the new value: an item for each, a
/// warp at a time. A lane holds the pairs (i, i + kD / 2), i = lane + 32 n. Rounded where the primitives round.
template <class Tile, KvElement kElement, int kD, int kRows>
struct Heads {
  static constexpr int kPairs = kD / 64;
  static constexpr int kItems = (kRows + 2 + kWarps - 1) / kWarps;  ///< of a warp
  float q_norm[kPairs][2], k_norm[kPairs][2], sine[kPairs], cosine[kPairs];

  /// What no product writes.
  __device__ void fetch(const DecodeJob& job, int position) {
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
  __device__ void run(const DecodeJob& job, std::uint8_t* shared, int group, int kv_head, bool owns,
                      std::int64_t line) {
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
  static __device__ void store(const DecodeJob& job, std::uint8_t* shared, bool is_value, const float (&a)[kPairs],
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

}  // namespace krasis::cuda::decode

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bf16.h"

/// Attention of one token over some keys of one head of the cache, for instruction sets that do all of it at once.
namespace krasis::simd {

/// A piece of work. The cache is KvLayout::Tiles (kv_layout.h).
struct HeadKeys {
  const bf16* q = nullptr;  ///< [rows, dim]: the heads of the token that share this head of the cache
  int rows = 0;             ///< at most kMostRows
  int dim = 0;              ///< a multiple of 64, at most kMostDim
  bool fp8 = false;
  const std::byte* keys = nullptr;  ///< and values: of a row that is a multiple of 64
  const std::byte* values = nullptr;
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
  int count = 0;       ///< of keys: 1 to kMostKeys; what lies behind them may be anything
  bool asked = false;  ///< these keys and values were asked for while earlier ones were read
  /// Or null: what this thread reads next, as much as `keys` and `values`, is asked for.
  const std::byte* next_keys = nullptr;
  const std::byte* next_values = nullptr;
  float scale = 1.0f;
  /// Results: the largest score and the sum of exp(score - maximum) [rows], the sums of values weighted so [rows, dim].
  float* maximum = nullptr;
  float* total = nullptr;
  float* sums = nullptr;

  static constexpr int kMostRows = 16, kMostDim = 256, kMostKeys = 256;
  /// Whether `heads` of head_dim numbers can be done so that share kv_heads of the cache.
  static constexpr bool fits(int heads, int kv_heads, int head_dim) {
    return head_dim % 64 == 0 && head_dim <= kMostDim && heads <= kv_heads * kMostRows;
  }
};

/// By AMX tiles and AVX-512. Products of BF16 are exact in FP32; each weight is the sum of two BF16 numbers, within
/// 2^-16 of it, where the result's own rounding is 2^-9. Of FP8, denormal codes (below 2^-6, where the largest of a
/// head is 448) count as zero and NaN codes as 480: a head that is not finite is known by its scale, NaN. Numbers that
/// models do not have overflow to NaN: queries from 2^67 on and scales of values from 2^68 on with FP8, infinite values
/// with BF16.
/// All of `pieces` [count] have equal `rows`, `dim` and `fp8`.
void attend_amx(const HeadKeys* pieces, int count);

}  // namespace krasis::simd

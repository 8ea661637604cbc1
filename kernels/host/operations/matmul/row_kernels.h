#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bf16.h"
#include "base/format.h"

/// Products of packed rows with a few tokens: what decode and short prompts are made of. Each row is read once, in
/// order, and multiplied as it lies; so the limit is the memory's speed. A table's source file is compiled with flags
/// of its own and calls no inline function of another header (vector/kernels.h says why).
///
/// Activations are prepared once for all rows. For BF16 weights they are widened. For the others each block of 128
/// columns becomes integers of 15 bits with one scale, x = scale * (128 * high + low), |128 * high + low| <= 16256, so
/// that products are sums of 8-bit integers, which are exact. The error of a value is at most max|x| of its block /
/// 32512 (3.1e-5): for the largest value a hundredth of what rounding it to BF16 has cost already. An MXFP4 block with
/// the smallest exponent, 2^-127, counts as zero.
namespace krasis::simd {

constexpr std::int64_t kActivationBlock = 128;
constexpr float kActivationSteps = 16256.0f;

/// A token's activations as a table wants them.
struct PreparedToken {
  const std::byte* planes = nullptr;   ///< high and low bytes, or floats for BF16 weights; 64-byte aligned
  const float* scales = nullptr;       ///< one for each block; zeros up to a multiple of 16
  const float* corrections = nullptr;  ///< one for each group of weights: -offset * sum of x over the group
};

/// Consecutive rows of a packed matrix (base/format.h).
struct PackedRows {
  Element element = Element::Bf16;
  int group_size = 0;
  std::int64_t groups = 0;  ///< in a row
  std::int64_t padded_columns = 0;
  const std::byte* data = nullptr;
  std::size_t row_bytes = 0;
  const std::byte* scales = nullptr;
  std::size_t scale_row_bytes = 0;
  int count = 0;
  int ahead = 1;  ///< rows from the one that is multiplied to the one whose cache lines are asked for meanwhile
  /// Rows of the same length that the thread multiplies next: of these, and hardly more, lines are asked for at the
  /// end. Null = none are known.
  const std::byte* next = nullptr;
  const std::byte* next_scales = nullptr;
};

/// How far ahead of their use cache lines are asked for, about: the hardware stops at each page of 4 KiB.
constexpr std::size_t kPrefetchBytes = 2048;

/// Tokens that `dot` takes at once; the more, the fewer times the weights are read and unpacked.
constexpr int kMaxRowTokens = 128;

struct RowKernels {
  const char* level;
  /// With more tokens of a matrix, unpacking its weights to floats once for all is faster; kMaxRowTokens = never.
  int most_tokens;
  /// More tokens than these are multiplied by another kernel; kMaxRowTokens = one kernel for any number.
  int few_tokens;
  /// Fills the parts of one token; x has `columns` numbers. A block with a number that is not finite has scale NaN.
  void (*prepare)(const bf16* x, std::int64_t columns, Element element, int group_size, std::byte* planes,
                  float* scales, float* corrections);
  /// Or null. Lays tokens beside each other as `dot` wants more than few_tokens of them: interleaved_bytes (rows.h) at
  /// `out`, 64-byte aligned. `columns` is padded_columns.
  void (*interleave)(const PreparedToken* x, int tokens, std::int64_t columns, Element element, int group_size,
                     std::byte* out);
  /// out[t * stride + r] = sum_i rows[r, i] * x[t, i]; tokens <= kMaxRowTokens. `interleaved`: these tokens, where
  /// there are more than few_tokens. The order of a sum depends on the format, the columns, whether there is one
  /// token, up to few_tokens, or more, and of more whether there are 2, up to 4, or at least 5.
  void (*dot)(const PackedRows& rows, const PreparedToken* x, int tokens, const std::byte* interleaved, float* out,
              std::int64_t stride);
};

/// AVX2 and FMA: 8-bit products by VPMADDUBSW.
const RowKernels& avx2_rows();
/// AVX-512 F, BW, DQ, VL and VNNI: 8-bit products by VPDPBUSD.
const RowKernels& avx512_rows();
/// The same, and by tiles where there are enough tokens: AMX-TILE, AMX-INT8 and AMX-BF16. The process must have asked
/// the system for tile data.
const RowKernels& amx_rows();
/// Its `dot` and `interleave` for BF16.
void dot_bf16_amx(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride);
void interleave_bf16_amx(const PreparedToken* x, int tokens, std::int64_t columns, std::byte* out);

}  // namespace krasis::simd

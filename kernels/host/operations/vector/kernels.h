#pragma once

#include <cstdint>

#include "base/bf16.h"
#include "base/format.h"
#include "kernels/host/operations/attention/head_kernel.h"
#include "kernels/host/operations/matmul/row_kernels.h"

/// The inner loops of the SIMD operations, as one table for each instruction set. Everything above them (tiles,
/// threads, scratch memory) is plain C++ and shared. A table's source file is compiled with flags of its own, so it
/// calls no inline function of another header: the linker could give its copy to code that must run on any CPU.
namespace krasis::simd {

/// One row of a packed matrix (base/format.h).
struct PackedRow {
  Element element = Element::Bf16;
  int group_size = 0;
  std::int64_t groups = 0;
  const std::byte* data = nullptr;
  const std::byte* scales = nullptr;
};

/// Sums over `columns` run in eight lanes, lane l adding columns l, l + 8, ...; the lanes are added pairwise at the
/// end. That order depends on nothing but the column count (`dot`: and the format).
struct Kernels {
  const char* level;
  const RowKernels* rows;  ///< products with few tokens
  /// out[i] = x[i], i < n.
  void (*widen)(const bf16* x, std::int64_t n, float* out);
  /// out[0, count) = columns [begin, begin + count) of the row; both multiples of 64, padding columns included.
  void (*dequantize)(const PackedRow& row, std::int64_t begin, std::int64_t count, float* out);
  /// sum_i row[i] * x[i] over `columns`, a multiple of 64; x is 0 in the padding.
  float (*dot)(const PackedRow& row, const float* x, std::int64_t columns);
  /// c[t, r] += sum_i x[t, i] * w[r, i] over `columns`, a multiple of 8. Strides are in elements.
  void (*products)(const float* x, std::int64_t x_stride, int tokens, const float* w, std::int64_t w_stride, int rows,
                   std::int64_t columns, float* c, std::int64_t c_stride);
  /// Elementwise; formulas in kernels/operations.h. exp is within 2 ulp for exponents of at most 88.
  void (*swiglu)(const float* gate, const float* up, std::int64_t n, bf16* out);
  void (*clamped_swiglu)(const float* gate, const float* up, std::int64_t n, bf16* out);
  void (*rms_norm)(const float* x, const bf16* weight, std::int64_t width, float epsilon, bf16* out);
  void (*head_norm)(bf16* x, const bf16* weight, std::int64_t width, float epsilon);
  void (*gated_norm)(const bf16* x, const bf16* gate, const bf16* weight, std::int64_t width, float epsilon, bf16* out);
  void (*rotate)(bf16* x, const float* cosine, const float* sine, std::int64_t half);
  void (*add)(const float* x, std::int64_t n, float* out);
  /// out[i] += factor * x[i]
  void (*add_scaled)(const float* x, float factor, std::int64_t n, float* out);
  /// out[i] = x[i] / divisor
  void (*divide)(const float* x, float divisor, std::int64_t n, bf16* out);
  /// One step of an online softmax over n scores, of which score[i] * scale is meant: raises `maximum`, replaces the
  /// scores by exp(score - maximum), adds them to `total` after shrinking it; returns the factor by which old sums
  /// shrink.
  float (*softmax_step)(float* scores, std::int64_t n, float scale, float* maximum, float* total);
  /// out[i] = shrink * out[i] + sum_k weights[k] * rows[k, i]; i < width, a multiple of 8; k in order.
  void (*weighted_rows)(const float* weights, std::int64_t n, const float* rows, std::int64_t width, float shrink,
                        float* out);
  /// Attention at once for `pieces` [count], where the cache is in tiles and HeadKeys::fits; null = by the three above.
  void (*attend)(const HeadKeys* pieces, int count) = nullptr;
};

/// AVX2, FMA and F16C. Call only where the CPU has them.
const Kernels& avx2_kernels();

}  // namespace krasis::simd

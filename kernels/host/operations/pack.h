#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bf16.h"
#include "base/format.h"
#include "kernels/tensor.h"

/// Between plain rows of numbers and packed matrices (base/format.h). These are the definition of quantization here.
namespace krasis {

/// Packs `values` [rows, columns] into `out`, which has layout.bytes() bytes; padding included, every byte is written.
///
/// BF16 rounds to nearest, ties to even. Integers share one scale s for each group of `group_size` columns:
///   INT8: s = bf16(max|w| / 127),                        q = clamp(round(w / s), -127, 127)
///   INT4: s = bf16(w of largest magnitude, signed, / -8), q = clamp(round(w / s), -8, 7), stored as q + 8
/// with round = to nearest, ties to even. INT4's signed scale puts the largest value (the first of equals) on -8, the
/// code that a symmetric scale would waste. A group of zeros, or one so small that s is 0, has s = 0 and q = 0.
/// A group with a value that is not finite gets s = NaN and q = 0, so that it is not hidden.
void pack_rows(std::span<const float> values, const MatrixLayout& layout, std::byte* out);
/// The same from BF16 (a BF16 target is a copy).
void pack_rows(std::span<const bf16> values, const MatrixLayout& layout, std::byte* out);

/// Writes the numbers of rows [row_begin, row_begin + row_count) to `out` [row_count, columns], without padding.
/// Exact: scale * q has at most 15 significant bits.
void unpack_rows(const Matrix& matrix, std::int64_t row_begin, std::int64_t row_count, float* out);

/// Column `column` of row `row`.
float unpack_element(const Matrix& matrix, std::int64_t row, std::int64_t column);

}  // namespace krasis

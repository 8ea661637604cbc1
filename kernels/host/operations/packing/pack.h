#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bf16.h"
#include "base/format.h"
#include "kernels/tensor.h"

/// Between plain rows of numbers and packed matrices (base/format.h). These are the definition of quantization here.
namespace krasis {

/// Which code packs. Both give the same bytes: Scalar is the definition, Fastest what this CPU does best (AVX2 for BF16
/// targets from BF16 and for groups of 32, 64 and 128, else scalar).
enum class PackCode : std::uint8_t { Fastest, Scalar };

/// Packs `values` [rows, columns] into `out`, which has layout.bytes() bytes; padding included, every byte is written.
/// The group size divides `columns`.
///
/// BF16 rounds to nearest, ties to even. Integers share one scale s for each group of `group_size` columns:
///   INT8: s = bf16(max|w| / 127),                        q = clamp(round(w / s), -127, 127)
///   INT4: s = bf16(w of largest magnitude, signed, / -8), q = clamp(round(w / s), -8, 7), stored as q + 8
/// with round = to nearest, ties to even. INT4's signed scale puts the largest value (the first of equals) on -8, the
/// code that a symmetric scale would waste. A group of zeros, or one so small that s is 0, has s = 0 and q = 0.
/// A group with a value that is not finite gets s = NaN and q = 0, so that it is not hidden.
///
/// MXFP4 (OCP Microscaling Formats 1.0, section 6.3) shares a power of two for each 32 columns:
///   e = max(0, floor(log2(max|w|)) - 2 + 127),  element = the E2M1 number nearest to w / 2^(e - 127)
/// ties to the even mantissa, +-6 for what is beyond; the sign stays, also that of zero. A block of zeros has e = 0,
/// one with a value that is not finite e = 255 (NaN) and elements 0.
void pack_rows(std::span<const float> values, const MatrixLayout& layout, std::byte* out,
               PackCode code = PackCode::Fastest);
/// The same from BF16 (a BF16 target is a copy).
void pack_rows(std::span<const bf16> values, const MatrixLayout& layout, std::byte* out,
               PackCode code = PackCode::Fastest);

/// Packs `values` [n, columns] as the rows [row_begin, row_begin + n) of the matrix at `matrix`. Writes these rows and
/// their scales alone; different rows may be packed at the same time.
void pack_rows_at(std::span<const float> values, const MatrixLayout& layout, std::int64_t row_begin, std::byte* matrix,
                  PackCode code = PackCode::Fastest);
void pack_rows_at(std::span<const bf16> values, const MatrixLayout& layout, std::int64_t row_begin, std::byte* matrix,
                  PackCode code = PackCode::Fastest);

/// Writes the numbers of rows [row_begin, row_begin + row_count) to `out` [row_count, columns], without padding.
/// Exact: scale * q has at most 15 significant bits; 2^(e - 127) * E2M1 has 2. (Only with e = 253 and 254, which
/// pack_rows never gives, large elements are beyond a float and infinite.)
void unpack_rows(const Matrix& matrix, std::int64_t row_begin, std::int64_t row_count, float* out);

/// Column `column` of row `row`.
float unpack_element(const Matrix& matrix, std::int64_t row, std::int64_t column);

/// The value of an E2M1 code, 0 to 15 (sign, 2 bits of exponent, 1 of mantissa): 0, 0.5, 1, 1.5, 2, 3, 4, 6.
float e2m1_to_float(int code);
/// 2^(e - 127) for e = 0..254, NaN for 255.
float e8m0_to_float(std::uint8_t e);

}  // namespace krasis

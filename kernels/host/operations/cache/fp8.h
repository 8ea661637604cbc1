#pragma once

#include <cstdint>

#include "base/bf16.h"

namespace krasis::simd {

/// out[i] = scale * value of the E4M3 code (base/bf16.h's fp8_e4m3), `count` of them; exact but for the product's
/// rounding. Needs AVX2.
void widen_fp8_avx2(const std::uint8_t* codes, std::int64_t count, float scale, float* out);

/// codes[i] = E4M3 code of x[i] / scale, scale = the largest |x[i]| / 448, 1 for zeros, NaN if one is not finite: the
/// bits that the scalar reference gives. Returns the scale. Needs AVX2.
float narrow_fp8_avx2(const bf16* x, std::int64_t count, std::uint8_t* codes);

}  // namespace krasis::simd

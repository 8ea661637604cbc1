#pragma once

#include <cstdint>

namespace krasis::simd {

/// out[i] = scale * value of the E4M3 code (base/bf16.h's fp8_e4m3), `count` of them; exact but for the product's
/// rounding. Needs AVX2.
void widen_fp8_avx2(const std::uint8_t* codes, std::int64_t count, float scale, float* out);

}  // namespace krasis::simd

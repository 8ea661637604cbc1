// FP8 to FP32 by AVX2: the bits of E4M3 moved to where FP32 has them, then the difference of the exponents' biases.
#include <immintrin.h>

#include <cstdint>

#include "kernels/host/operations/fp8.h"

namespace krasis::simd {

void widen_fp8_avx2(const std::uint8_t* codes, std::int64_t count, float scale, float* out) {
  const __m256i magnitude_mask = _mm256_set1_epi32(0x7f);
  const __m256i sign_mask = _mm256_set1_epi32(0x80);
  const __m256 bias =
      _mm256_castsi256_ps(_mm256_set1_epi32((120 + 127) << 23));  // 2^120; subnormals come out right, too
  const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  const __m256 scales = _mm256_set1_ps(scale);
  const auto widen = [&](const std::uint8_t* from) {
    const __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    const __m256i magnitude = _mm256_and_si256(code, magnitude_mask);
    const __m256i bits =
        _mm256_or_si256(_mm256_slli_epi32(magnitude, 20), _mm256_slli_epi32(_mm256_and_si256(code, sign_mask), 24));
    const __m256 value = _mm256_mul_ps(_mm256_castsi256_ps(bits), bias);
    const __m256 is_nan = _mm256_castsi256_ps(_mm256_cmpeq_epi32(magnitude, magnitude_mask));
    return _mm256_mul_ps(scales, _mm256_blendv_ps(value, nan, is_nan));
  };
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, widen(codes + i));
  if (i == count) return;
  std::uint8_t last[8] = {};
  float values[8];
  for (std::int64_t j = i; j < count; ++j) last[j - i] = codes[j];
  _mm256_storeu_ps(values, widen(last));
  for (std::int64_t j = i; j < count; ++j) out[j] = values[j - i];
}

}  // namespace krasis::simd

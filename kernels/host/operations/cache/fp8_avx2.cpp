// FP8 by AVX2. To FP32: the bits of E4M3 moved to where FP32 has them, then the difference of the exponents' biases.
#include <immintrin.h>

#include <cstdint>

#include "kernels/host/operations/cache/fp8.h"

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

namespace {

/// 8 numbers; zeros behind the last of `count`.
__m256 load8(const bf16* x, std::int64_t count) {
  std::uint16_t few[8] = {};
  const void* from = x;
  if (count < 8) {
    __builtin_memcpy(few, x, static_cast<std::size_t>(count) * 2);
    from = few;
  }
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/// Codes of 8 numbers, as fp8_e4m3's constructor in base/bf16.h.
__m256i codes_of(__m256 value) {
  const auto all = [](int v) { return _mm256_set1_epi32(v); };
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i magnitude = _mm256_and_si256(bits, all(0x7fffffff));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(magnitude, 20), all(1));
  const __m256i rounded = _mm256_add_epi32(magnitude, _mm256_add_epi32(odd, all(0x7ffff)));  // ties to even
  const __m256i normal = _mm256_min_epi32(_mm256_sub_epi32(_mm256_srli_epi32(rounded, 20), all(120 << 3)), all(0x7e));
  const __m256i subnormal = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(512.0f)));
  __m256i code = _mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(all(0x3c800000), magnitude));  // below 2^-6
  code = _mm256_blendv_epi8(code, all(0x7f), _mm256_cmpgt_epi32(magnitude, all(0x7f800000)));            // NaN
  return _mm256_or_si256(code, _mm256_and_si256(_mm256_srli_epi32(bits, 24), all(0x80)));
}

}  // namespace

float narrow_fp8_avx2(const bf16* x, std::int64_t count, std::uint8_t* codes) {
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 infinity = _mm256_set1_ps(__builtin_inff());
  __m256 lanes = _mm256_setzero_ps(), finite = _mm256_cmp_ps(lanes, lanes, _CMP_EQ_OQ);
  for (std::int64_t i = 0; i < count; i += 8) {
    const __m256 magnitude = _mm256_and_ps(load8(x + i, count - i), no_sign);
    finite = _mm256_and_ps(finite, _mm256_cmp_ps(magnitude, infinity, _CMP_LT_OQ));
    lanes = _mm256_max_ps(magnitude, lanes);
  }
  float of_lanes[8], largest = 0.0f;
  _mm256_storeu_ps(of_lanes, lanes);
  for (const float v : of_lanes) largest = v > largest ? v : largest;
  float scale = largest / 448.0f == 0.0f ? 1.0f : largest / 448.0f;
  if (_mm256_movemask_ps(finite) != 0xff) scale = __builtin_nanf("");
  const __m256 divisor = _mm256_set1_ps(scale);
  for (std::int64_t i = 0; i < count; i += 8) {
    const __m256i code = codes_of(_mm256_div_ps(load8(x + i, count - i), divisor));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    std::uint8_t bytes[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm_packus_epi16(words, words));
    __builtin_memcpy(codes + i, bytes, static_cast<std::size_t>(count - i < 8 ? count - i : 8));
  }
  return scale;
}

}  // namespace krasis::simd

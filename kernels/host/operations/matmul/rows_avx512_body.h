// What the tables for AVX-512 and AMX share; included behind <immintrin.h> and compiled with their flags.
namespace krasis::simd {
namespace {

__m512i load(const void* from) {
  return _mm512_loadu_si512(from);
}

/// The scales of groups [begin, begin + 16) of a row, zeros beyond the last.
template <Element element>
__m512 scales16(const std::byte* scales, std::int64_t begin, __mmask16 mask) {
  if constexpr (element == Element::Mxfp4) {
    // E2M1 numbers are kept doubled, hence the half. Exponent 255 is NaN.
    const __m512i e = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, scales + begin));
    const __mmask16 nan = _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255));
    const __m512i bits = _mm512_mask_mov_epi32(_mm512_slli_epi32(e, 23), nan, _mm512_set1_epi32(0x7fc00000));
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
  } else {
    const __m256i half = _mm256_maskz_loadu_epi16(mask, scales + 2 * begin);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

/// Of `count` lanes from `begin` on, those that are one of the first 16.
__mmask16 first_lanes(std::int64_t begin, std::int64_t count) {
  const std::int64_t left = count - begin;
  return static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xffffu);
}

}  // namespace
}  // namespace krasis::simd

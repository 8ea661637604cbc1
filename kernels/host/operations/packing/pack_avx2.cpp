// Compiled with -mavx2: only intrinsics and functions of this file (vector/kernels.h says why).
#include <immintrin.h>

#include <cstdint>

#include "kernels/host/operations/packing/pack_kernels.h"

namespace krasis::simd {
namespace {

__m256i load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

std::uint32_t bits_of(float value) {
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_set_ss(value))));
}
float float_of(std::uint32_t bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bits))));
}
/// As bf16(float) for numbers, not NaN.
std::uint16_t narrow(float value) {
  const std::uint32_t u = bits_of(value);
  return static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/// The largest magnitude of `count` values (a multiple of 32), as bits.
std::uint32_t largest_magnitude(const float* values, int count) {
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < count; i += 8) largest = _mm256_max_epu32(largest, _mm256_and_si256(load(values + i), mask));
  __m128i m = _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}
std::uint32_t largest_magnitude(const bf16* values, int count) {
  const __m256i mask = _mm256_set1_epi16(0x7fff);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < count; i += 16) largest = _mm256_max_epu16(largest, _mm256_and_si256(load(values + i), mask));
  const __m128i m = _mm_max_epu16(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  const __m128i flipped = _mm_xor_si128(m, _mm_set1_epi16(-1));  // there is a horizontal minimum, but no maximum
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(flipped)) & 0xffff) ^ 0xffffu;
}

/// The first value of that magnitude, which is among them.
float first_of_magnitude(const float* values, std::uint32_t magnitude) {
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  const __m256i wanted = _mm256_set1_epi32(static_cast<int>(magnitude));
  for (;; values += 8) {
    const __m256i equal = _mm256_cmpeq_epi32(_mm256_and_si256(load(values), mask), wanted);
    const auto found = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(equal)));
    if (found != 0) return values[__builtin_ctz(found)];
  }
}
float first_of_magnitude(const bf16* values, std::uint32_t magnitude) {
  const __m256i mask = _mm256_set1_epi16(0x7fff);
  const __m256i wanted = _mm256_set1_epi16(static_cast<short>(magnitude));
  for (;; values += 16) {
    const __m256i equal = _mm256_cmpeq_epi16(_mm256_and_si256(load(values), mask), wanted);
    const auto found = static_cast<unsigned>(_mm256_movemask_epi8(equal));
    if (found != 0) return float_of(static_cast<std::uint32_t>(values[__builtin_ctz(found) / 2].bits) << 16);
  }
}

/// 32 values as floats in the order in which in_order() wants them.
void load32(const float* values, __m256* out) {
  for (int v = 0; v < 4; ++v) out[v] = _mm256_loadu_ps(values + 8 * v);
}
void load32(const bf16* values, __m256* out) {
  const __m256i zero = _mm256_setzero_si256();
  for (int half = 0; half < 2; ++half) {
    const __m256i x = load(values + 16 * half);
    out[2 * half] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, x));      // 0-3, 8-11
    out[2 * half + 1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, x));  // 4-7, 12-15
  }
}
/// 32 integers, computed from load32's floats, as saturated bytes in the order of the columns.
__m256i in_order(const float*, const __m256i* q) {
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
__m256i in_order(const bf16*, const __m256i* q) {
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  return _mm256_permute4x64_epi64(bytes, 0xd8);
}

/// round(w / s) as bytes. Division, as in the definition: a product with 1 / s would round other values at the ties.
template <class T>
__m256i quotients32(const T* values, __m256 scale) {
  __m256 x[4];
  __m256i q[4];
  load32(values, x);
  for (int v = 0; v < 4; ++v) q[v] = _mm256_cvtps_epi32(_mm256_div_ps(x[v], scale));  // to nearest, ties to even
  return in_order(values, q);
}

/// The E2M1 codes of values * factor, which are below 8, as bytes. From 1 on, the exponent and the first bit of the
/// mantissa of a float, rounded, count the codes; below, its halves do.
template <class T>
__m256i e2m1_codes32(const T* values, __m256 factor) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  const __m256i up_to_tie = _mm256_set1_epi32(0x1fffff);
  __m256 x[4];
  __m256i q[4];
  load32(values, x);
  for (int v = 0; v < 4; ++v) {
    const __m256 scaled = _mm256_mul_ps(x[v], factor);
    const __m256 magnitude = _mm256_andnot_ps(sign_bit, scaled);
    const __m256i u = _mm256_castps_si256(magnitude);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 22), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, up_to_tie)), 22);
    const __m256i normal = _mm256_sub_epi32(rounded, _mm256_set1_epi32(2 * 127 - 2));  // 1.0 is code 2
    const __m256i halves = _mm256_cvtps_epi32(_mm256_add_ps(magnitude, magnitude));
    const __m256i below_one = _mm256_castps_si256(_mm256_cmp_ps(magnitude, _mm256_set1_ps(1.0f), _CMP_LT_OQ));
    const __m256i code = _mm256_min_epi32(_mm256_blendv_epi8(normal, halves, below_one), _mm256_set1_epi32(7));
    const __m256i sign = _mm256_castps_si256(_mm256_and_ps(scaled, sign_bit));
    q[v] = _mm256_or_si256(code, _mm256_srli_epi32(sign, 28));
  }
  return in_order(values, q);
}

template <class T>
constexpr std::uint32_t kNotFinite = 0x7f80u;  ///< magnitudes from here on are infinite or NaN
template <>
constexpr std::uint32_t kNotFinite<float> = 0x7f800000u;
constexpr std::uint16_t kBf16Nan = 0x7fc0;

void store_scale(std::byte* scales, std::int64_t group, std::uint16_t bits) {
  reinterpret_cast<std::uint16_t*>(scales)[group] = bits;
}

/// Writes the scale of a group and returns what codes32() needs of it; 0 where all codes are 0.
template <Element element, class T>
float write_scale(const T* values, int count, std::byte* scales, std::int64_t group) {
  const std::uint32_t magnitude = largest_magnitude(values, count);
  const bool finite = magnitude < kNotFinite<T>;
  if constexpr (element == Element::Mxfp4) {
    const int exponent = static_cast<int>(magnitude >> (sizeof(T) == 4 ? 23 : 7));  // 0: subnormal, e is 0 all the same
    const int e = exponent > 2 ? exponent - 2 : 0;
    scales[group] = static_cast<std::byte>(finite ? e : 255);
    return finite ? float_of(static_cast<std::uint32_t>(254 - e) << 23) : 0.0f;  // 1 / 2^(e - 127), e at most 252
  } else {
    std::uint16_t bits = finite ? 0 : kBf16Nan;
    if (finite && magnitude != 0) {
      const float largest = element == Element::Int4 ? first_of_magnitude(values, magnitude) / -8.0f
                                                     : float_of(sizeof(T) == 4 ? magnitude : magnitude << 16) / 127.0f;
      bits = narrow(largest);
    }
    store_scale(scales, group, bits);
    return finite ? float_of(static_cast<std::uint32_t>(bits) << 16) : 0.0f;
  }
}

/// 32 codes as they are stored, before nibbles meet.
template <Element element, class T>
__m256i codes32(const T* values, float scale) {
  const __m256i zero_code = _mm256_set1_epi8(element == Element::Int4 ? 8 : 0);
  if (scale == 0.0f) return zero_code;
  if constexpr (element == Element::Mxfp4) {
    return e2m1_codes32(values, _mm256_set1_ps(scale));
  } else if constexpr (element == Element::Int8) {
    return _mm256_max_epi8(quotients32(values, _mm256_set1_ps(scale)), _mm256_set1_epi8(-127));
  } else {
    const __m256i q = quotients32(values, _mm256_set1_ps(scale));
    const __m256i clamped = _mm256_min_epi8(_mm256_max_epi8(q, _mm256_set1_epi8(-8)), _mm256_set1_epi8(7));
    return _mm256_add_epi8(clamped, zero_code);
  }
}

template <Element element, class T>
void pack_row(const T* values, const PackTarget& row) {
  constexpr bool nibbles = element != Element::Int8;
  auto* out = reinterpret_cast<__m256i*>(row.data);
  __m256i low = _mm256_setzero_si256();
  bool waiting = false;  // `low` has the first half of 64 columns
  for (std::int64_t group = 0; group < row.groups; ++group) {
    const float scale = write_scale<element>(values, row.group_size, row.scales, group);
    for (int i = 0; i < row.group_size; i += 32, values += 32) {
      const __m256i codes = codes32<element>(values, scale);
      if (!nibbles) {
        _mm256_storeu_si256(out++, codes);
      } else if (waiting) {
        _mm256_storeu_si256(out++, _mm256_or_si256(low, _mm256_slli_epi16(codes, 4)));
      } else {
        low = codes;
      }
      waiting = !waiting;
    }
  }
  if (!waiting) return;
  const __m256i padding = _mm256_set1_epi8(element == Element::Int4 ? static_cast<char>(0x80) : 0);
  _mm256_storeu_si256(out, nibbles ? _mm256_or_si256(low, padding) : padding);
}

template <class T>
void pack_any(const T* values, const PackTarget& row) {
  switch (row.element) {
    case Element::Int4:
      return pack_row<Element::Int4>(values, row);
    case Element::Int8:
      return pack_row<Element::Int8>(values, row);
    case Element::Mxfp4:
      return pack_row<Element::Mxfp4>(values, row);
    case Element::Bf16:
      return;
  }
}

constexpr PackKernels kTable = {pack_any<float>, pack_any<bf16>};

}  // namespace

const PackKernels& avx2_pack_kernels() {
  return kTable;
}

}  // namespace krasis::simd

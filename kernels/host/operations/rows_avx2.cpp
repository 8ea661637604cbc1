// Compiled with -mavx2 -mfma -mf16c: only intrinsics and functions of this file (simd_kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/rows_kernels.h"
#include "kernels/host/operations/rows_prepare.inc"

namespace krasis::simd {
namespace {

__m256i load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/// The scales of groups [begin, begin + 8) of a row, zeros beyond the last.
template <Element element>
__m256 scales8(const std::byte* scales, std::int64_t begin, std::int64_t groups) {
  const std::int64_t count = groups - begin < 8 ? groups - begin : 8;
  if constexpr (element == Element::Mxfp4) {
    // E2M1 numbers are kept doubled, hence the half. Exponent 255 is NaN.
    alignas(32) std::int32_t bits[8] = {};
    for (std::int64_t g = 0; g < count; ++g) {
      const auto e = static_cast<std::int32_t>(scales[begin + g]);
      bits[g] = e == 255 ? 0x7fc00000 : e << 23;
    }
    return _mm256_mul_ps(_mm256_castsi256_ps(load(bits)), _mm256_set1_ps(0.5f));
  } else {
    const std::byte* from = scales + 2 * begin;
    __m128i half;
    if (count == 8) {
      half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    } else {
      alignas(16) std::byte buffer[16] = {};
      for (std::int64_t i = 0; i < 2 * count; ++i) buffer[i] = from[i];
      half = _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
    }
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

/// 64 columns of weights: for 4-bit formats the low and the high nibbles, unsigned; for INT8 the two halves, signed.
struct Weights {
  __m256i first, second;
};
template <Element element>
Weights load_weights(const std::byte* row, std::int64_t column) {
  if constexpr (element == Element::Int8) {
    return {load(row + column), load(row + column + 32)};
  } else {
    const __m256i packed = load(row + column / 2);
    const __m256i mask = _mm256_set1_epi8(0x0f);
    __m256i low = _mm256_and_si256(packed, mask);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask);
    if constexpr (element == Element::Mxfp4) {
      // 2 * number + 12, which is never negative.
      const __m256i numbers = _mm256_broadcastsi128_si256(
          _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
      low = _mm256_shuffle_epi8(numbers, low);
      high = _mm256_shuffle_epi8(numbers, high);
    }
    return {low, high};
  }
}

/// 16 sums of two products each, 16 bits: at most 2 * 127 * 127 for INT8, 2 * 24 * 127 for the others.
template <Element element>
__m256i multiply(__m256i weights, __m256i x) {
  if constexpr (element == Element::Int8) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights));
  } else {
    return _mm256_maddubs_epi16(weights, x);
  }
}

__m256i widen_sums(__m256i sums) {
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

/// 128 * high + low as floats.
__m256 join(__m256i high, __m256i low) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(high, 7), low));
}

/// The products of 64 columns with a token's planes at the same place, in two halves of 32 columns.
struct Sums {
  __m256i high[2], low[2];
};
template <Element element>
Sums products(const Weights& w, const std::byte* planes) {
  return {{multiply<element>(w.first, load(planes)), multiply<element>(w.second, load(planes + 32))},
          {multiply<element>(w.first, load(planes + 64)), multiply<element>(w.second, load(planes + 96))}};
}

/// The sum over 64 columns: 16 bits hold it for 4-bit weights only.
template <Element element>
__m256i both(const __m256i* sums) {
  if constexpr (element == Element::Int8) return _mm256_add_epi32(widen_sums(sums[0]), widen_sums(sums[1]));
  return widen_sums(_mm256_add_epi16(sums[0], sums[1]));
}

template <Element element, int tokens>
void dot_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const std::byte* scale_row = rows.scales + static_cast<std::size_t>(r) * rows.scale_row_bytes;
  const int group_size = rows.group_size;
  __m256 sums[tokens], corrections[tokens];
  for (int t = 0; t < tokens; ++t) sums[t] = corrections[t] = _mm256_setzero_ps();
  for (std::int64_t g = 0; g < rows.groups; g += 8) {
    alignas(32) float scales[16] = {};
    const __m256 scale8 = scales8<element>(scale_row, g, rows.groups);
    _mm256_store_ps(scales, scale8);
    for (int t = 0; t < tokens; ++t) {
      corrections[t] = _mm256_fmadd_ps(scale8, _mm256_loadu_ps(x[t].corrections + g), corrections[t]);
    }
    const std::int64_t begin = g * group_size;
    const std::int64_t whole = (g + 8) * group_size;
    const std::int64_t end = whole < rows.padded_columns ? whole : rows.padded_columns;
    for (std::int64_t c = begin; c < end; c += 64) {
      const Weights w = load_weights<element>(row, c);
      _mm_prefetch(reinterpret_cast<const char*>(row + (element == Element::Int8 ? c : c / 2) + 1024), _MM_HINT_T0);
      for (int t = 0; t < tokens; ++t) {
        const Sums s = products<element>(w, x[t].planes + 2 * c);
        const __m256 block = _mm256_set1_ps(x[t].scales[c / kActivationBlock]);
        if (group_size == 32) {
          const float* two = scales + (c - begin) / 32;
          sums[t] = _mm256_fmadd_ps(join(widen_sums(s.high[0]), widen_sums(s.low[0])),
                                    _mm256_mul_ps(block, _mm256_set1_ps(two[0])), sums[t]);
          sums[t] = _mm256_fmadd_ps(join(widen_sums(s.high[1]), widen_sums(s.low[1])),
                                    _mm256_mul_ps(block, _mm256_set1_ps(two[1])), sums[t]);
        } else {
          const __m256 scale = _mm256_mul_ps(block, _mm256_set1_ps(scales[(c - begin) / group_size]));
          sums[t] = _mm256_fmadd_ps(join(both<element>(s.high), both<element>(s.low)), scale, sums[t]);
        }
      }
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = sum_lanes(_mm256_add_ps(sums[t], corrections[t]));
}

/// Even columns are the high halves of dwords shifted up, odd ones what remains.
template <int tokens>
void dot_bf16_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  __m256 even[tokens], odd[tokens];
  for (int t = 0; t < tokens; ++t) even[t] = odd[t] = _mm256_setzero_ps();
  for (std::int64_t c = 0; c < rows.padded_columns; c += 16) {
    const __m256i w = load(row + 2 * c);
    const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    const __m256 second = _mm256_castsi256_ps(_mm256_and_si256(w, upper));
    _mm_prefetch(reinterpret_cast<const char*>(row + 2 * c + 1024), _MM_HINT_T0);
    for (int t = 0; t < tokens; ++t) {
      const auto* values = reinterpret_cast<const float*>(x[t].planes) + c;
      even[t] = _mm256_fmadd_ps(first, _mm256_loadu_ps(values), even[t]);
      odd[t] = _mm256_fmadd_ps(second, _mm256_loadu_ps(values + 8), odd[t]);
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = sum_lanes(_mm256_add_ps(even[t], odd[t]));
}

template <int tokens>
void dot_tokens(const PackedRows& rows, const PreparedToken* x, float* out, std::int64_t stride) {
  for (int r = 0; r < rows.count; ++r) {
    switch (rows.element) {
      case Element::Int4: dot_row<Element::Int4, tokens>(rows, r, x, out, stride); break;
      case Element::Int8: dot_row<Element::Int8, tokens>(rows, r, x, out, stride); break;
      case Element::Mxfp4: dot_row<Element::Mxfp4, tokens>(rows, r, x, out, stride); break;
      case Element::Bf16: dot_bf16_row<tokens>(rows, r, x, out, stride); break;
    }
  }
}

void dot(const PackedRows& rows, const PreparedToken* x, int tokens, float* out, std::int64_t stride) {
  switch (tokens) {
    case 1: return dot_tokens<1>(rows, x, out, stride);
    case 2: return dot_tokens<2>(rows, x, out, stride);
    case 3: return dot_tokens<3>(rows, x, out, stride);
    case 4: return dot_tokens<4>(rows, x, out, stride);
    default: break;
  }
  dot_tokens<4>(rows, x, out, stride);
  dot(rows, x + 4, tokens - 4, out + 4 * stride, stride);
}

/// INT8 needs no offset here: the sign moves to the activation.
void prepare(const bf16* x, std::int64_t columns, Element element, int group_size, std::byte* planes, float* scales,
             float* corrections) {
  if (element == Element::Bf16) return widen_halves<16>(x, columns, planes);
  const float offset = element == Element::Int4 ? 8.0f : element == Element::Mxfp4 ? 12.0f : 0.0f;
  quantize_token(x, columns, group_size, offset, false, planes, scales, corrections);
}

constexpr RowKernels kTable = {"AVX2", 16, prepare, dot};

}  // namespace

const RowKernels& avx2_rows() {
  return kTable;
}

}  // namespace krasis::simd

// Compiled with -mavx2 -mfma -mf16c: only intrinsics and functions of this file (vector/kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/matmul/row_kernels.h"
#include "kernels/host/operations/matmul/rows_prepare_body.h"

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
    } else {  // two by two, then the odd one: nothing behind the last is read
      const __m128i pairs = _mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(count / 2)), _mm_setr_epi32(0, 1, 2, 3));
      half = _mm_maskload_epi32(reinterpret_cast<const int*>(from), pairs);
      if (count % 2 != 0) {
        const auto* last = reinterpret_cast<const std::uint16_t*>(from) + count - 1;
        const __m128i lane =
            _mm_cmpeq_epi16(_mm_set1_epi16(static_cast<short>(count - 1)), _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
        half = _mm_or_si128(half, _mm_and_si128(lane, _mm_set1_epi16(static_cast<short>(*last))));
      }
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
      const __m256i numbers =
          _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
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

__m256i widen_sums(__m256i sums, short factor) {
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(factor));
}

/// 128 * high + low of 16-bit sums.
__m256i join(__m256i high, __m256i low) {
  return _mm256_add_epi32(widen_sums(high, 128), widen_sums(low, 1));
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

/// The sum over 64 columns. Of INT8 16 bits hold two sums of the low plane (2 * 2 * 127 * 64), not of the high one.
template <Element element>
__m256i sum64(const Sums& s) {
  const __m256i low = _mm256_add_epi16(s.low[0], s.low[1]);
  if constexpr (element == Element::Int8) {
    return _mm256_add_epi32(widen_sums(s.high[0], 128), join(s.high[1], low));
  }
  return join(_mm256_add_epi16(s.high[0], s.high[1]), low);
}

/// The sum over 128 columns. Of 4-bit weights 16 bits hold it for each plane (4 * 2 * 24 * 127), so that both are
/// widened once.
template <Element element>
[[gnu::always_inline]] inline __m256i sum128(const Weights (&w)[2], const std::byte* planes) {
  const Sums a = products<element>(w[0], planes);
  const Sums b = products<element>(w[1], planes + 128);
  if constexpr (element == Element::Int8) return _mm256_add_epi32(sum64<element>(a), sum64<element>(b));
  const __m256i high = _mm256_add_epi16(_mm256_add_epi16(a.high[0], a.high[1]), _mm256_add_epi16(b.high[0], b.high[1]));
  const __m256i low = _mm256_add_epi16(_mm256_add_epi16(a.low[0], a.low[1]), _mm256_add_epi16(b.low[0], b.low[1]));
  return join(high, low);
}

void prefetch(const std::byte* from) {
  _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T0);
}

template <Element element>
constexpr std::int64_t kBlockBytes = element == Element::Int8 ? kActivationBlock : kActivationBlock / 2;

/// Groups of 128: a block of activations has one scale of the weights.
template <Element element, int tokens>
void dot_row128(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  prefetch(ahead.scales);
  const std::byte* scale_row = rows.scales + static_cast<std::size_t>(r) * rows.scale_row_bytes;
  __m256 sums[tokens];
  for (int t = 0; t < tokens; ++t) sums[t] = _mm256_setzero_ps();
  for (std::int64_t g = 0; g < rows.groups; g += 8) {
    alignas(32) float factors[tokens][8];
    const __m256 scale8 = scales8<element>(scale_row, g, rows.groups);
    for (int t = 0; t < tokens; ++t) {
      _mm256_store_ps(factors[t], _mm256_mul_ps(scale8, _mm256_loadu_ps(x[t].scales + g)));
      sums[t] = _mm256_fmadd_ps(scale8, _mm256_loadu_ps(x[t].corrections + g), sums[t]);
    }
    const std::int64_t count = rows.groups - g < 8 ? rows.groups - g : 8;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t c = (g + i) * kActivationBlock;
      const Weights w[2] = {load_weights<element>(row, c), load_weights<element>(row, c + 64)};
      const std::byte* from = ahead.data + (g + i) * kBlockBytes<element>;
      prefetch(from);
      if constexpr (element == Element::Int8) prefetch(from + 64);
      for (int t = 0; t < tokens; ++t) {
        const __m256 value = _mm256_cvtepi32_ps(sum128<element>(w, x[t].planes + 2 * c));
        sums[t] = _mm256_fmadd_ps(value, _mm256_broadcast_ss(&factors[t][i]), sums[t]);
      }
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = sum_lanes(sums[t]);
}

/// Any group.
template <Element element, int tokens>
void dot_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  prefetch(ahead.scales);
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
    const float* scale_at = scales;
    std::int64_t left = group_size;  // columns of this group; counted, as a division would cost more than the products
    for (std::int64_t c = begin; c < end; c += 64) {
      const Weights w = load_weights<element>(row, c);
      prefetch(ahead.data + (element == Element::Int8 ? c : c / 2));
      for (int t = 0; t < tokens; ++t) {
        const Sums s = products<element>(w, x[t].planes + 2 * c);
        const __m256 block = _mm256_set1_ps(x[t].scales[c / kActivationBlock]);
        if (group_size == 32) {
          const float* two = scales + (c - begin) / 32;
          for (int half = 0; half < 2; ++half) {
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(join(s.high[half], s.low[half])),
                                      _mm256_mul_ps(block, _mm256_set1_ps(two[half])), sums[t]);
          }
        } else {
          const __m256 scale = _mm256_mul_ps(block, _mm256_set1_ps(*scale_at));
          sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum64<element>(s)), scale, sums[t]);
        }
      }
      if ((left -= 64) <= 0) {
        left = group_size;
        ++scale_at;
      }
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = sum_lanes(_mm256_add_ps(sums[t], corrections[t]));
}

/// Even columns are the high halves of dwords shifted up, odd ones what remains.
template <int tokens>
void dot_bf16_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  __m256 even[tokens], odd[tokens];
  for (int t = 0; t < tokens; ++t) even[t] = odd[t] = _mm256_setzero_ps();
  for (std::int64_t c = 0; c < rows.padded_columns; c += 16) {
    const __m256i w = load(row + 2 * c);
    const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    const __m256 second = _mm256_castsi256_ps(_mm256_and_si256(w, upper));
    prefetch(ahead.data + 2 * c);
    for (int t = 0; t < tokens; ++t) {
      const auto* values = reinterpret_cast<const float*>(x[t].planes) + c;
      even[t] = _mm256_fmadd_ps(first, _mm256_loadu_ps(values), even[t]);
      odd[t] = _mm256_fmadd_ps(second, _mm256_loadu_ps(values + 8), odd[t]);
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = sum_lanes(_mm256_add_ps(even[t], odd[t]));
}

template <Element element, int tokens>
void dot_integer_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  if (rows.group_size == kActivationBlock) return dot_row128<element, tokens>(rows, r, x, out, stride);
  dot_row<element, tokens>(rows, r, x, out, stride);
}

template <int tokens>
void dot_tokens(const PackedRows& rows, const PreparedToken* x, float* out, std::int64_t stride) {
  for (int r = 0; r < rows.count; ++r) {
    switch (rows.element) {
      case Element::Int4:
        dot_integer_row<Element::Int4, tokens>(rows, r, x, out, stride);
        break;
      case Element::Int8:
        dot_integer_row<Element::Int8, tokens>(rows, r, x, out, stride);
        break;
      case Element::Mxfp4:
        dot_row<Element::Mxfp4, tokens>(rows, r, x, out, stride);
        break;
      case Element::Bf16:
        dot_bf16_row<tokens>(rows, r, x, out, stride);
        break;
    }
  }
}

void dot(const PackedRows& rows, const PreparedToken* x, int tokens, const std::byte* /*interleaved*/, float* out,
         std::int64_t stride) {
  switch (tokens) {
    case 1:
      return dot_tokens<1>(rows, x, out, stride);
    case 2:
      return dot_tokens<2>(rows, x, out, stride);
    case 3:
      return dot_tokens<3>(rows, x, out, stride);
    case 4:
      return dot_tokens<4>(rows, x, out, stride);
    default:
      break;
  }
  dot_tokens<4>(rows, x, out, stride);
  dot(rows, x + 4, tokens - 4, nullptr, out + 4 * stride, stride);
}

/// INT8 needs no offset here: the sign moves to the activation.
void prepare(const bf16* x, std::int64_t columns, Element element, int group_size, std::byte* planes, float* scales,
             float* corrections) {
  if (element == Element::Bf16) return widen_halves<16>(x, columns, planes);
  const float offset = element == Element::Int4 ? 8.0f : element == Element::Mxfp4 ? 12.0f : 0.0f;
  quantize_token(x, columns, group_size, offset, false, planes, scales, corrections);
}

constexpr RowKernels kTable = {"AVX2", 16, kMaxRowTokens, prepare, nullptr, dot};

}  // namespace

const RowKernels& avx2_rows() {
  return kTable;
}

}  // namespace krasis::simd

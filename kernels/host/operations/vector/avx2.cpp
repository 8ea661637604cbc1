// Compiled with -mavx2 -mfma -mf16c: only intrinsics and functions of this file (vector/kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/vector/kernels.h"

namespace krasis::simd {
namespace {

const std::uint16_t* bits_of_bf16(const bf16* x) {
  return reinterpret_cast<const std::uint16_t*>(x);
}
std::uint16_t* bits_of_bf16(bf16* x) {
  return reinterpret_cast<std::uint16_t*>(x);
}

float widen_one(std::uint16_t bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(static_cast<std::uint32_t>(bits) << 16))));
}

__m256 widen8(const std::uint16_t* x) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/// Rounds to nearest, ties to even; NaN stays NaN: as bf16(float).
__m128i narrow8(__m256 value) {
  const __m256i u = _mm256_castps_si256(value);
  const __m256i high = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  const __m256i bits = _mm256_blendv_epi8(rounded, quiet, nan);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(bits, bits), 0x08);
  return _mm256_castsi256_si128(packed);
}

/// The nearest BF16 numbers, as FP32.
__m256 rounded8(__m256 value) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow8(value)), 16));
}

void store_narrow8(std::uint16_t* out, __m256 value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), narrow8(value));
}

std::uint16_t narrow_one(float value) {
  return static_cast<std::uint16_t>(_mm_extract_epi16(narrow8(_mm256_set1_ps(value)), 0));
}

float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

float max_lanes(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/// exp: x = n ln 2 + r, |r| <= ln 2 / 2; a polynomial of degree 6 for exp(r) (Cephes' expf); times 2^n. Arguments above
/// 88 give exp(88), below -87.3 they give 0; NaN stays.
__m256 exp8(__m256 given) {
  const __m256 lowest = _mm256_set1_ps(-87.3f);
  const __m256 x = _mm256_max_ps(lowest, _mm256_min_ps(_mm256_set1_ps(88.0f), given));  // NaN is the second operand
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  const __m256 result = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
  return _mm256_andnot_ps(_mm256_cmp_ps(given, lowest, _CMP_LT_OQ), result);
}

float exp_one(float x) {
  return _mm256_cvtss_f32(exp8(_mm256_set1_ps(x)));
}

// Packed rows --------------------------------------------------------------------------------------------------------

/// 64 elements from column `c` on as floats: q for integers, the doubled number for MXFP4, the value for BF16.
/// Inlined: called, its eight vectors would go through memory (INT4: 2 x slower).
template <Element element>
[[gnu::always_inline]] inline void load64(const std::byte* row, std::int64_t c, __m256* out) {
  if constexpr (element == Element::Bf16) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(row) + c;
    for (int v = 0; v < 8; ++v) out[v] = widen8(from + 8 * v);
  } else if constexpr (element == Element::Int8) {
    for (int v = 0; v < 8; ++v) {
      const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + c + 8 * v));
      out[v] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
    }
  } else {
    const __m128i mask = _mm_set1_epi8(0x0f);
    const __m128i eight = _mm_set1_epi8(8);
    for (int half = 0; half < 2; ++half) {  // 16 bytes: elements 16 half + [0, 16) and the same + 32
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + c / 2 + 16 * half));
      __m128i low = _mm_and_si128(bytes, mask);
      __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask);
      if constexpr (element == Element::Mxfp4) {
        const __m128i numbers = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
        low = _mm_shuffle_epi8(numbers, low);
        high = _mm_shuffle_epi8(numbers, high);
      } else {
        low = _mm_sub_epi8(low, eight);
        high = _mm_sub_epi8(high, eight);
      }
      out[2 * half] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low));
      out[2 * half + 1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(low, 8)));
      out[4 + 2 * half] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high));
      out[4 + 2 * half + 1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(high, 8)));
    }
  }
}

/// The scale of column c; beyond the last group, in the padding, that of the last. Half of it for MXFP4's doubled
/// numbers: exponent e is 2^(e - 127), 255 is NaN; for 0 and 1 the half is no normal number.
template <Element element>
float scale_at(const PackedRow& row, std::int64_t c) {
  const std::int64_t last = row.groups - 1;
  const std::int64_t group = c / row.group_size < last ? c / row.group_size : last;
  if constexpr (element == Element::Mxfp4) {
    const auto e = static_cast<int>(row.scales[group]);
    const int bits = e == 255 ? 0x7fc00000 : e > 1 ? (e - 1) << 23 : 0x200000 << e;
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  } else {
    return widen_one(reinterpret_cast<const std::uint16_t*>(row.scales)[group]);
  }
}

/// The scales of the 64 columns from c on.
template <Element element>
void scales64(const PackedRow& row, std::int64_t c, __m256* out) {
  if (row.group_size % 8 == 0) {
    for (int v = 0; v < 8; ++v) out[v] = _mm256_set1_ps(scale_at<element>(row, c + 8 * v));
    return;
  }
  float scales[64];
  for (int i = 0; i < 64; ++i) scales[i] = scale_at<element>(row, c + i);
  for (int v = 0; v < 8; ++v) out[v] = _mm256_loadu_ps(scales + 8 * v);
}

template <Element element>
void dequantize_as(const PackedRow& row, std::int64_t begin, std::int64_t count, float* out) {
  for (std::int64_t c = begin; c < begin + count; c += 64, out += 64) {
    __m256 values[8];
    load64<element>(row.data, c, values);
    if constexpr (element != Element::Bf16) {
      __m256 scales[8];
      scales64<element>(row, c, scales);
      for (int v = 0; v < 8; ++v) values[v] = _mm256_mul_ps(values[v], scales[v]);
    }
    for (int v = 0; v < 8; ++v) _mm256_storeu_ps(out + 8 * v, values[v]);
  }
}

void dequantize(const PackedRow& row, std::int64_t begin, std::int64_t count, float* out) {
  switch (row.element) {
    case Element::Int4:
      return dequantize_as<Element::Int4>(row, begin, count, out);
    case Element::Int8:
      return dequantize_as<Element::Int8>(row, begin, count, out);
    case Element::Bf16:
      return dequantize_as<Element::Bf16>(row, begin, count, out);
    case Element::Mxfp4:
      return dequantize_as<Element::Mxfp4>(row, begin, count, out);
  }
}

/// sum + scale * sum_v values[v] * x[v]
[[gnu::always_inline]] inline __m256 add_products(const __m256* values, const float* x, __m256 scale, __m256 sum) {
  __m256 even = _mm256_mul_ps(values[0], _mm256_loadu_ps(x));
  __m256 odd = _mm256_mul_ps(values[1], _mm256_loadu_ps(x + 8));
  for (int v = 2; v < 8; v += 2) {
    even = _mm256_fmadd_ps(values[v], _mm256_loadu_ps(x + 8 * v), even);
    odd = _mm256_fmadd_ps(values[v + 1], _mm256_loadu_ps(x + 8 * v + 8), odd);
  }
  return _mm256_fmadd_ps(_mm256_add_ps(even, odd), scale, sum);
}

/// For groups of whole blocks of 64: the scale is multiplied in once for each block.
template <Element element>
float dot_by_groups(const PackedRow& row, const float* x, std::int64_t columns) {
  __m256 sum = _mm256_setzero_ps();
  for (std::int64_t begin = 0; begin < columns; begin += row.group_size) {
    const __m256 scale = _mm256_set1_ps(scale_at<element>(row, begin));
    for (std::int64_t c = begin; c < begin + row.group_size; c += 64) {
      __m256 values[8];
      load64<element>(row.data, c, values);
      sum = add_products(values, x + c, scale, sum);
    }
  }
  return sum_lanes(sum);
}

template <Element element>
float dot_as(const PackedRow& row, const float* x, std::int64_t columns) {
  if constexpr (element != Element::Bf16) {
    if (row.group_size % 64 == 0) return dot_by_groups<element>(row, x, columns);
  }
  __m256 sum = _mm256_setzero_ps();
  for (std::int64_t c = 0; c < columns; c += 64) {
    __m256 values[8];
    load64<element>(row.data, c, values);
    if constexpr (element != Element::Bf16) {
      __m256 scales[8];
      scales64<element>(row, c, scales);
      for (int v = 0; v < 8; ++v) values[v] = _mm256_mul_ps(values[v], scales[v]);
    }
    sum = add_products(values, x + c, _mm256_set1_ps(1.0f), sum);
  }
  return sum_lanes(sum);
}

float dot(const PackedRow& row, const float* x, std::int64_t columns) {
  switch (row.element) {
    case Element::Int4:
      return dot_as<Element::Int4>(row, x, columns);
    case Element::Int8:
      return dot_as<Element::Int8>(row, x, columns);
    case Element::Bf16:
      return dot_as<Element::Bf16>(row, x, columns);
    case Element::Mxfp4:
      return dot_as<Element::Mxfp4>(row, x, columns);
  }
  return 0.0f;
}

// Products -----------------------------------------------------------------------------------------------------------

/// 4 x 3 sums stay in registers: 12 FMA for 7 loads, which keeps both FMA units busy.
constexpr int kTokens = 4;
constexpr int kRows = 3;

template <int tokens, int rows>
void products_tile(const float* x, std::int64_t x_stride, const float* w, std::int64_t w_stride, std::int64_t columns,
                   float* c, std::int64_t c_stride) {
  __m256 sums[tokens][rows];
  for (int t = 0; t < tokens; ++t)
    for (int r = 0; r < rows; ++r) sums[t][r] = _mm256_setzero_ps();
  for (std::int64_t i = 0; i < columns; i += 8) {
    __m256 weights[rows];
    for (int r = 0; r < rows; ++r) weights[r] = _mm256_loadu_ps(w + r * w_stride + i);
    for (int t = 0; t < tokens; ++t) {
      const __m256 value = _mm256_loadu_ps(x + t * x_stride + i);
      for (int r = 0; r < rows; ++r) sums[t][r] = _mm256_fmadd_ps(value, weights[r], sums[t][r]);
    }
  }
  for (int t = 0; t < tokens; ++t)
    for (int r = 0; r < rows; ++r) c[t * c_stride + r] += sum_lanes(sums[t][r]);
}

template <int tokens>
void products_rows(const float* x, std::int64_t x_stride, const float* w, std::int64_t w_stride, int rows,
                   std::int64_t columns, float* c, std::int64_t c_stride) {
  for (; rows >= kRows; rows -= kRows, w += kRows * w_stride, c += kRows) {
    products_tile<tokens, kRows>(x, x_stride, w, w_stride, columns, c, c_stride);
  }
  if (rows == 2) products_tile<tokens, 2>(x, x_stride, w, w_stride, columns, c, c_stride);
  if (rows == 1) products_tile<tokens, 1>(x, x_stride, w, w_stride, columns, c, c_stride);
}

void products(const float* x, std::int64_t x_stride, int tokens, const float* w, std::int64_t w_stride, int rows,
              std::int64_t columns, float* c, std::int64_t c_stride) {
  for (; tokens >= kTokens; tokens -= kTokens, x += kTokens * x_stride, c += kTokens * c_stride) {
    products_rows<kTokens>(x, x_stride, w, w_stride, rows, columns, c, c_stride);
  }
  if (tokens == 3) products_rows<3>(x, x_stride, w, w_stride, rows, columns, c, c_stride);
  if (tokens == 2) products_rows<2>(x, x_stride, w, w_stride, rows, columns, c, c_stride);
  if (tokens == 1) products_rows<1>(x, x_stride, w, w_stride, rows, columns, c, c_stride);
}

// Elementwise --------------------------------------------------------------------------------------------------------

void widen(const bf16* x, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, widen8(bits_of_bf16(x) + i));
  for (; i < n; ++i) out[i] = widen_one(bits_of_bf16(x)[i]);
}

__m256 silu_times(__m256 gate, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 e = exp8(_mm256_xor_ps(gate, _mm256_set1_ps(-0.0f)));
  return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}

/// gpt-oss's; NaN is the second operand of each comparison and stays.
__m256 clamped_times(__m256 gate, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 limit = _mm256_set1_ps(7.0f);
  const __m256 g = _mm256_min_ps(limit, gate);
  const __m256 u = _mm256_max_ps(_mm256_set1_ps(-7.0f), _mm256_min_ps(limit, up));
  const __m256 e = exp8(_mm256_mul_ps(g, _mm256_set1_ps(-1.702f)));
  return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(one, e)), _mm256_add_ps(u, one));
}

template <__m256 (*glu)(__m256, __m256)>
void each_glu(const float* gate, const float* up, std::int64_t n, bf16* out) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    store_narrow8(bits_of_bf16(out) + i, glu(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
  }
  for (; i < n; ++i) {
    bits_of_bf16(out)[i] = narrow_one(_mm256_cvtss_f32(glu(_mm256_set1_ps(gate[i]), _mm256_set1_ps(up[i]))));
  }
}

__m256 load8(const float* x) {
  return _mm256_loadu_ps(x);
}
__m256 load8(const bf16* x) {
  return widen8(bits_of_bf16(x));
}
float load1(const float* x) {
  return *x;
}
float load1(const bf16* x) {
  return widen_one(*bits_of_bf16(x));
}

/// sqrt(mean(x^2) + epsilon) in each lane.
template <class T>
__m256 root_mean_square(const T* x, std::int64_t width, float epsilon) {
  __m256 sums = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    const __m256 v = load8(x + i);
    sums = _mm256_fmadd_ps(v, v, sums);
  }
  float sum = sum_lanes(sums);
  for (; i < width; ++i) sum += load1(x + i) * load1(x + i);
  return _mm256_sqrt_ps(_mm256_set1_ps(sum / static_cast<float>(width) + epsilon));
}

template <class T>
void normalize(const T* x, const bf16* weight, std::int64_t width, float epsilon, bf16* out) {
  const __m256 norm = root_mean_square(x, width, epsilon);
  std::int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    const __m256 v = _mm256_mul_ps(_mm256_div_ps(load8(x + i), norm), load8(weight + i));
    store_narrow8(bits_of_bf16(out) + i, v);
  }
  for (; i < width; ++i) bits_of_bf16(out)[i] = narrow_one(load1(x + i) / _mm256_cvtss_f32(norm) * load1(weight + i));
}

void rms_norm(const float* x, const bf16* weight, std::int64_t width, float epsilon, bf16* out) {
  normalize(x, weight, width, epsilon, out);
}
void head_norm(bf16* x, const bf16* weight, std::int64_t width, float epsilon) {
  normalize(x, weight, width, epsilon, x);
}

void gated_norm(const bf16* x, const bf16* gate, const bf16* weight, std::int64_t width, float epsilon, bf16* out) {
  const __m256 norm = root_mean_square(x, width, epsilon);
  const auto eight = [&](__m256 numbers, __m256 weights, __m256 gates) {
    const __m256 normed = rounded8(_mm256_div_ps(numbers, norm));
    return silu_times(gates, rounded8(_mm256_mul_ps(weights, normed)));
  };
  std::int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    store_narrow8(bits_of_bf16(out) + i, eight(load8(x + i), load8(weight + i), load8(gate + i)));
  }
  for (; i < width; ++i) {
    const auto one = [&](const bf16* from) { return _mm256_set1_ps(load1(from + i)); };
    bits_of_bf16(out)[i] = narrow_one(_mm256_cvtss_f32(eight(one(x), one(weight), one(gate))));
  }
}

void rotate(bf16* x, const float* cosine, const float* sine, std::int64_t half) {
  std::uint16_t* first = bits_of_bf16(x);
  std::uint16_t* second = first + half;
  std::int64_t i = 0;
  for (; i + 8 <= half; i += 8) {
    const __m256 a = widen8(first + i);
    const __m256 b = widen8(second + i);
    const __m256 c = _mm256_loadu_ps(cosine + i);
    const __m256 s = _mm256_loadu_ps(sine + i);
    store_narrow8(first + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    store_narrow8(second + i, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
  }
  for (; i < half; ++i) {
    const float a = widen_one(first[i]);
    const float b = widen_one(second[i]);
    first[i] = narrow_one(a * cosine[i] - b * sine[i]);
    second[i] = narrow_one(b * cosine[i] + a * sine[i]);
  }
}

void add_scaled(const float* x, float factor, std::int64_t n, float* out) {
  std::int64_t i = 0;
  const __m256 f = _mm256_set1_ps(factor);
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_fmadd_ps(f, _mm256_loadu_ps(x + i), _mm256_loadu_ps(out + i)));
  }
  for (; i < n; ++i) out[i] += factor * x[i];
}

void divide(const float* x, float divisor, std::int64_t n, bf16* out) {
  const __m256 all = _mm256_set1_ps(divisor);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) store_narrow8(bits_of_bf16(out) + i, _mm256_div_ps(_mm256_loadu_ps(x + i), all));
  for (; i < n; ++i) bits_of_bf16(out)[i] = narrow_one(x[i] / divisor);
}

void add(const float* x, std::int64_t n, float* out) {
  add_scaled(x, 1.0f, n, out);
}

// Attention ----------------------------------------------------------------------------------------------------------

float softmax_step(float* scores, std::int64_t n, float scale, float* maximum, float* total) {
  const __m256 factor = _mm256_set1_ps(scale);
  __m256 largest = _mm256_set1_ps(*maximum);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 s = _mm256_mul_ps(_mm256_loadu_ps(scores + i), factor);
    _mm256_storeu_ps(scores + i, s);
    largest = _mm256_max_ps(s, largest);  // a NaN score is passed over here and reaches the sums below
  }
  float top = max_lanes(largest);
  for (; i < n; ++i) {
    scores[i] *= scale;
    top = scores[i] > top ? scores[i] : top;
  }
  const __m256 shift = _mm256_set1_ps(top);
  __m256 sums = _mm256_setzero_ps();
  for (i = 0; i + 8 <= n; i += 8) {
    const __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i), shift));
    _mm256_storeu_ps(scores + i, e);
    sums = _mm256_add_ps(sums, e);
  }
  float sum = sum_lanes(sums);
  for (; i < n; ++i) sum += scores[i] = exp_one(scores[i] - top);
  const float shrink = exp_one(*maximum - top);
  *maximum = top;
  *total = *total * shrink + sum;
  return shrink;
}

void weighted_rows(const float* weights, std::int64_t n, const float* rows, std::int64_t width, float shrink,
                   float* out) {
  const __m256 factor = _mm256_set1_ps(shrink);
  std::int64_t i = 0;
  for (; i + 32 <= width; i += 32) {
    __m256 sums[4];
    for (int v = 0; v < 4; ++v) sums[v] = _mm256_mul_ps(factor, _mm256_loadu_ps(out + i + 8 * v));
    for (std::int64_t k = 0; k < n; ++k) {
      const __m256 weight = _mm256_set1_ps(weights[k]);
      for (int v = 0; v < 4; ++v) {
        sums[v] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(rows + k * width + i + 8 * v), sums[v]);
      }
    }
    for (int v = 0; v < 4; ++v) _mm256_storeu_ps(out + i + 8 * v, sums[v]);
  }
  for (; i < width; i += 8) {
    __m256 sum = _mm256_mul_ps(factor, _mm256_loadu_ps(out + i));
    for (std::int64_t k = 0; k < n; ++k) {
      sum = _mm256_fmadd_ps(_mm256_set1_ps(weights[k]), _mm256_loadu_ps(rows + k * width + i), sum);
    }
    _mm256_storeu_ps(out + i, sum);
  }
}


}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels table = {"AVX2",
                                &avx2_rows(),
                                widen,
                                dequantize,
                                dot,
                                products,
                                each_glu<silu_times>,
                                each_glu<clamped_times>,
                                rms_norm,
                                head_norm,
                                gated_norm,
                                rotate,
                                add,
                                add_scaled,
                                divide,
                                softmax_step,
                                weighted_rows};
  return table;
}

}  // namespace krasis::simd

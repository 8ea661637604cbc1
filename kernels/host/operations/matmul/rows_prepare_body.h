// How activations are prepared and rows are asked for, for the tables whose source files include this: plain AVX2,
// compiled with their flags.
namespace krasis::simd {
namespace {

/// What is asked for while row r is multiplied.
struct Ahead {
  const std::byte* data;
  const std::byte* scales;
};
inline Ahead ahead_of(const PackedRows& rows, int r) {
  const int later = r + rows.ahead;
  if (later >= rows.count && rows.next) {
    const auto row = static_cast<std::size_t>(later - rows.count);
    return {rows.next + row * rows.row_bytes, rows.next_scales + row * rows.scale_row_bytes};
  }
  const auto row = static_cast<std::size_t>(later < rows.count ? later : r);
  return {rows.data + row * rows.row_bytes, rows.scales + row * rows.scale_row_bytes};
}

/// 32 numbers times `inverse`, rounded, as high and low bytes; returns their sum.
inline std::int32_t quantize32(const std::uint16_t* x, float inverse, std::byte* high, std::byte* low) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i q[4], h[4], l[4];
  __m256i total = _mm256_setzero_si256();
  for (int v = 0; v < 4; ++v) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 8 * v));
    const __m256 value = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    q[v] = _mm256_cvtps_epi32(_mm256_mul_ps(value, factor));
    h[v] = _mm256_srai_epi32(_mm256_add_epi32(q[v], _mm256_set1_epi32(64)), 7);
    l[v] = _mm256_sub_epi32(q[v], _mm256_slli_epi32(h[v], 7));
    total = _mm256_add_epi32(total, q[v]);
  }
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto pack = [&](const __m256i* v) {
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, order);
  };
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), pack(h));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), pack(l));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 1));
  return _mm_cvtsi128_si32(s);
}

/// The largest magnitude of 128 BF16 numbers, as bits; magnitudes of BF16 are in the order of their bits.
inline int largest_magnitude(const std::uint16_t* x) {
  const __m256i mask = _mm256_set1_epi16(0x7fff);
  __m256i largest = _mm256_setzero_si256();
  for (int v = 0; v < 8; ++v) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 16 * v));
    largest = _mm256_max_epu16(largest, _mm256_and_si256(bits, mask));
  }
  __m128i m = _mm_max_epu16(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  // MINPOS finds the smallest: of what is missing to 0xffff.
  m = _mm_minpos_epu16(_mm_xor_si128(m, _mm_set1_epi16(-1)));
  return 0xffff ^ (_mm_cvtsi128_si32(m) & 0xffff);
}

/// Planes in pieces of 64 columns: 64 high bytes, 64 low bytes. `paired`: within each 128 columns the order of the four
/// quarters is 0, 2, 1, 3, as the nibbles of 64 bytes of weights come. Columns up to a multiple of 128 are written,
/// zeros behind the last; zeros also behind the last scale, up to a multiple of 16.
inline void quantize_token(const bf16* x, std::int64_t columns, int group_size, float offset, bool paired,
                           std::byte* planes, float* scales, float* corrections) {
  const std::int64_t groups = columns / group_size;
  for (std::int64_t g = 0; g < groups + 16; ++g) corrections[g] = 0.0f;  // kernels read some behind the last
  const std::int64_t blocks = (columns + kActivationBlock - 1) / kActivationBlock;
  for (std::int64_t b = blocks; b % 16 != 0; ++b) scales[b] = 0.0f;
  const auto* bits = reinterpret_cast<const std::uint16_t*>(x);
  for (std::int64_t begin = 0; begin < columns; begin += kActivationBlock, planes += 2 * kActivationBlock, ++scales) {
    alignas(32) std::uint16_t padded[kActivationBlock];
    const std::uint16_t* block = bits + begin;
    if (columns - begin < kActivationBlock) {
      for (std::int64_t i = 0; i < kActivationBlock; ++i) padded[i] = begin + i < columns ? block[i] : 0;
      block = padded;
    }
    const int top = largest_magnitude(block);
    const float maximum = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(top << 16)));
    const bool finite = top < 0x7f80;
    const bool zero = maximum < 1e-33f;  // so small that 1 / scale would overflow
    const float inverse = finite && !zero ? kActivationSteps / maximum : 0.0f;
    *scales = !finite ? _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(0x7fc00000)))
              : zero  ? 0.0f
                      : maximum / kActivationSteps;
    if (!finite) {  // 0 * infinity is no zero: the values themselves must not be touched
      for (std::int64_t i = 0; i < kActivationBlock; ++i) padded[i] = 0;
      block = padded;
    }
    for (int quarter = 0; quarter < 4; ++quarter) {
      const int place = paired ? (quarter & 1) << 1 | quarter >> 1 : quarter;
      std::byte* piece = planes + place / 2 * 128 + place % 2 * 32;
      const std::int32_t sum = quantize32(block + 32 * quarter, inverse, piece, piece + 64);
      const std::int64_t group = (begin + 32 * quarter) / group_size;
      if (group < groups) corrections[group] -= offset * *scales * static_cast<float>(sum);
    }
  }
}

/// For BF16 weights: of each `step` columns the even ones, then the odd ones, as floats; zeros up to a multiple of 128.
template <int step>
inline void widen_halves(const bf16* x, std::int64_t columns, std::byte* planes) {
  const auto* bits = reinterpret_cast<const std::uint16_t*>(x);
  auto* out = reinterpret_cast<std::uint32_t*>(planes);
  const std::int64_t end = (columns + kActivationBlock - 1) / kActivationBlock * kActivationBlock;
  for (std::int64_t begin = 0; begin < end; begin += step, out += step) {
    for (int i = 0; i < step / 2; ++i) {
      const std::int64_t c = begin + 2 * i;
      out[i] = c < columns ? static_cast<std::uint32_t>(bits[c]) << 16 : 0;
      out[step / 2 + i] = c + 1 < columns ? static_cast<std::uint32_t>(bits[c + 1]) << 16 : 0;
    }
  }
}

}  // namespace
}  // namespace krasis::simd

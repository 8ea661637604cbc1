// Compiled with AVX-512 F, BW, DQ, VL and VNNI: only intrinsics and functions of this file (vector/kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/matmul/row_kernels.h"
// Behind the table's header:
#include "kernels/host/operations/matmul/rows_avx512_body.h"
#include "kernels/host/operations/matmul/rows_prepare_body.h"

namespace krasis::simd {
namespace {

/// 128 * high + low as floats.
__m512 join(__m512i high, __m512i low) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
}

void prefetch(const std::byte* from) {
  _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T0);
}

/// `low` in lanes 0 to 7, `high` in the others.
__m512 two(float low, float high) {
  return _mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xff00, _mm_set_ss(high));
}

/// Where the scales of the next columns are; counted, as a division would cost more than the products.
template <int group>
struct GroupScales {
  GroupScales(const float* scales, int group_size) : first(scales), blocks(group_size / 128) {}
  /// `columns` is group or a multiple of it, or 128 where `group` stands for multiples.
  void step(int columns) {
    if constexpr (group < 128) {
      first += columns / group;
    } else if (group == 128 || ++done == blocks) {
      done = 0;
      ++first;
    }
  }
  const float* first;
  int blocks;
  int done = 0;
};

/// For groups of 128, of 16 groups the products of both scales, weights' and activations'.
template <int group, int tokens>
struct Factors {
  void fill(__m512 scale16, const PreparedToken* x, std::int64_t g) {
    if constexpr (group == 128) {
      for (int t = 0; t < tokens; ++t) _mm512_store_ps(of[t], _mm512_mul_ps(scale16, _mm512_loadu_ps(x[t].scales + g)));
    }
  }
  alignas(64) float of[group == 128 ? tokens : 1][16];  // NOLINT(bugprone-branch-clone): equal where tokens is 1
};

/// 4-bit weights: a piece is 64 bytes, 128 columns, whose low nibbles are columns 0-31 and 64-95.
struct Nibbles {
  __m512i low, high;
};
template <Element element>
Nibbles load_nibbles(const std::byte* from, __mmask64 mask) {
  const __m512i packed = _mm512_maskz_loadu_epi8(mask, from);
  const __m512i low_bits = _mm512_set1_epi8(0x0f);
  Nibbles n{_mm512_and_si512(packed, low_bits), _mm512_and_si512(_mm512_srli_epi16(packed, 4), low_bits)};
  if constexpr (element == Element::Mxfp4) {
    // 2 * number + 12, which is never negative.
    const __m512i numbers =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    n.low = _mm512_shuffle_epi8(numbers, n.low);
    n.high = _mm512_shuffle_epi8(numbers, n.high);
  }
  return n;
}

/// `group` is 32, 64, 128, or 256 for all larger multiples of 128.
template <Element element, int group, int tokens>
void dot_nibble_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  prefetch(ahead.scales);
  const std::byte* scale_row = rows.scales + static_cast<std::size_t>(r) * rows.scale_row_bytes;
  const __m512i zero = _mm512_setzero_si512();
  __m512 sums[tokens], corrections[tokens];
  for (int t = 0; t < tokens; ++t) sums[t] = corrections[t] = _mm512_setzero_ps();
  for (std::int64_t g = 0; g < rows.groups; g += 16) {
    const __mmask16 mask = first_lanes(g, rows.groups);
    alignas(64) float scales[32] = {};
    const __m512 scale16 = scales16<element>(scale_row, g, mask);
    _mm512_store_ps(scales, scale16);
    for (int t = 0; t < tokens; ++t) {
      corrections[t] = _mm512_fmadd_ps(scale16, _mm512_loadu_ps(x[t].corrections + g), corrections[t]);
    }
    Factors<group, tokens> factors;
    factors.fill(scale16, x, g);
    const auto begin = static_cast<std::size_t>(g * rows.group_size);  // unsigned: divided by shifts
    const auto whole = static_cast<std::size_t>((g + 16) * rows.group_size);
    const auto padded = static_cast<std::size_t>(rows.padded_columns);
    const std::size_t end = whole < padded ? whole : padded;
    GroupScales<group> at(scales, rows.group_size);
    for (std::size_t c = begin; c < end; c += 128, at.step(128)) {
      const __mmask64 bytes = group < 128 && end - c < 128 ? 0xffffffffull : ~0ull;
      const Nibbles w = load_nibbles<element>(row + c / 2, bytes);
      prefetch(ahead.data + c / 2);
      for (int t = 0; t < tokens; ++t) {
        const std::byte* planes =
            x[t].planes + 2 * c;  // high and low bytes of the low nibbles' columns, then the others'
        const __m512 block = _mm512_set1_ps(x[t].scales[c / kActivationBlock]);
        const float* s = at.first;
        if constexpr (group == 32) {
          const __m512 low =
              join(_mm512_dpbusd_epi32(zero, w.low, load(planes)), _mm512_dpbusd_epi32(zero, w.low, load(planes + 64)));
          const __m512 high = join(_mm512_dpbusd_epi32(zero, w.high, load(planes + 128)),
                                   _mm512_dpbusd_epi32(zero, w.high, load(planes + 192)));
          sums[t] = _mm512_fmadd_ps(_mm512_mul_ps(low, block), two(s[0], s[2]), sums[t]);
          sums[t] = _mm512_fmadd_ps(_mm512_mul_ps(high, block), two(s[1], s[3]), sums[t]);
        } else {
          __m512i h = _mm512_dpbusd_epi32(zero, w.low, load(planes));
          __m512i l = _mm512_dpbusd_epi32(zero, w.low, load(planes + 64));
          h = _mm512_dpbusd_epi32(h, w.high, load(planes + 128));
          l = _mm512_dpbusd_epi32(l, w.high, load(planes + 192));
          if constexpr (group == 128) {
            sums[t] = _mm512_fmadd_ps(join(h, l), _mm512_set1_ps(factors.of[t][at.first - scales]), sums[t]);
          } else {
            const __m512 scale = group == 64 ? two(s[0], s[1]) : _mm512_set1_ps(s[0]);
            sums[t] = _mm512_fmadd_ps(_mm512_mul_ps(join(h, l), block), scale, sums[t]);
          }
        }
      }
    }
  }
  for (int t = 0; t < tokens; ++t) {
    out[t * stride + r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[t], corrections[t]));
  }
}

template <int group, int tokens>
void dot_int8_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  prefetch(ahead.scales);
  const std::byte* scale_row = rows.scales + static_cast<std::size_t>(r) * rows.scale_row_bytes;
  const __m512i zero = _mm512_setzero_si512();
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));  // q + 128, unsigned
  constexpr int kStep = group >= 128 ? 128 : 64;
  __m512 sums[tokens], corrections[tokens];
  for (int t = 0; t < tokens; ++t) sums[t] = corrections[t] = _mm512_setzero_ps();
  for (std::int64_t g = 0; g < rows.groups; g += 16) {
    const __mmask16 mask = first_lanes(g, rows.groups);
    alignas(64) float scales[32] = {};
    const __m512 scale16 = scales16<Element::Int8>(scale_row, g, mask);
    _mm512_store_ps(scales, scale16);
    for (int t = 0; t < tokens; ++t) {
      corrections[t] = _mm512_fmadd_ps(scale16, _mm512_loadu_ps(x[t].corrections + g), corrections[t]);
    }
    Factors<group, tokens> factors;
    factors.fill(scale16, x, g);
    const auto begin = static_cast<std::size_t>(g * rows.group_size);  // unsigned: divided by shifts
    const auto whole = static_cast<std::size_t>((g + 16) * rows.group_size);
    const auto padded = static_cast<std::size_t>(rows.padded_columns);
    const std::size_t end = whole < padded ? whole : padded;
    GroupScales<group> at(scales, rows.group_size);
    for (std::size_t c = begin; c < end; c += kStep, at.step(kStep)) {
      const __m512i first = _mm512_xor_si512(load(row + c), flip);
      prefetch(ahead.data + c);
      __m512i second = zero;
      if constexpr (kStep == 128) {
        second = _mm512_xor_si512(load(row + c + 64), flip);
        prefetch(ahead.data + c + 64);
      }
      const float* s = at.first;
      for (int t = 0; t < tokens; ++t) {
        const std::byte* planes = x[t].planes + 2 * c;
        __m512i h = _mm512_dpbusd_epi32(zero, first, load(planes));
        __m512i l = _mm512_dpbusd_epi32(zero, first, load(planes + 64));
        if constexpr (kStep == 128) {
          h = _mm512_dpbusd_epi32(h, second, load(planes + 128));
          l = _mm512_dpbusd_epi32(l, second, load(planes + 192));
        }
        if constexpr (group == 128) {
          sums[t] = _mm512_fmadd_ps(join(h, l), _mm512_set1_ps(factors.of[t][at.first - scales]), sums[t]);
        } else {
          const __m512 scale = group == 32 ? two(s[0], s[1]) : _mm512_set1_ps(s[0]);
          const __m512 block = _mm512_set1_ps(x[t].scales[c / kActivationBlock]);
          sums[t] = _mm512_fmadd_ps(_mm512_mul_ps(join(h, l), block), scale, sums[t]);
        }
      }
    }
  }
  for (int t = 0; t < tokens; ++t) {
    out[t * stride + r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[t], corrections[t]));
  }
}

/// Even columns are the low halves of dwords shifted up, odd ones what remains.
template <int tokens>
void dot_bf16_row(const PackedRows& rows, int r, const PreparedToken* x, float* out, std::int64_t stride) {
  const std::byte* row = rows.data + static_cast<std::size_t>(r) * rows.row_bytes;
  const Ahead ahead = ahead_of(rows, r);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  __m512 even[tokens], odd[tokens];
  for (int t = 0; t < tokens; ++t) even[t] = odd[t] = _mm512_setzero_ps();
  for (std::int64_t c = 0; c < rows.padded_columns; c += 32) {
    const __m512i w = load(row + 2 * c);
    prefetch(ahead.data + 2 * c);
    const __m512 first = _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
    const __m512 second = _mm512_castsi512_ps(_mm512_and_si512(w, upper));
    for (int t = 0; t < tokens; ++t) {
      const auto* values = reinterpret_cast<const float*>(x[t].planes) + c;
      even[t] = _mm512_fmadd_ps(first, _mm512_loadu_ps(values), even[t]);
      odd[t] = _mm512_fmadd_ps(second, _mm512_loadu_ps(values + 16), odd[t]);
    }
  }
  for (int t = 0; t < tokens; ++t) out[t * stride + r] = _mm512_reduce_add_ps(_mm512_add_ps(even[t], odd[t]));
}

template <int group, int tokens>
void dot_group(const PackedRows& rows, const PreparedToken* x, float* out, std::int64_t stride) {
  for (int r = 0; r < rows.count; ++r) {
    switch (rows.element) {
      case Element::Int4:
        dot_nibble_row<Element::Int4, group, tokens>(rows, r, x, out, stride);
        break;
      case Element::Mxfp4:
        dot_nibble_row<Element::Mxfp4, group, tokens>(rows, r, x, out, stride);
        break;
      case Element::Int8:
        dot_int8_row<group, tokens>(rows, r, x, out, stride);
        break;
      case Element::Bf16:
        dot_bf16_row<tokens>(rows, r, x, out, stride);
        break;
    }
  }
}

template <int tokens>
void dot_tokens(const PackedRows& rows, const PreparedToken* x, float* out, std::int64_t stride) {
  if (rows.group_size == 32) return dot_group<32, tokens>(rows, x, out, stride);
  if (rows.group_size == 64) return dot_group<64, tokens>(rows, x, out, stride);
  if (rows.group_size == 128) return dot_group<128, tokens>(rows, x, out, stride);
  dot_group<256, tokens>(rows, x, out, stride);
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
    case 5:
      return dot_tokens<5>(rows, x, out, stride);
    case 6:
      return dot_tokens<6>(rows, x, out, stride);
    case 7:
      return dot_tokens<7>(rows, x, out, stride);
    default:
      break;
  }
  dot_tokens<8>(rows, x, out, stride);
  if (tokens > 8) dot(rows, x + 8, tokens - 8, nullptr, out + 8 * stride, stride);
}

void prepare(const bf16* x, std::int64_t columns, Element element, int group_size, std::byte* planes, float* scales,
             float* corrections) {
  if (element == Element::Bf16) return widen_halves<32>(x, columns, planes);
  const float offset = element == Element::Int4 ? 8.0f : element == Element::Mxfp4 ? 12.0f : 128.0f;
  quantize_token(x, columns, group_size, offset, element != Element::Int8, planes, scales, corrections);
}

constexpr RowKernels kTable = {"AVX-512", 16, kMaxRowTokens, prepare, nullptr, dot};

}  // namespace

const RowKernels& avx512_rows() {
  return kTable;
}

}  // namespace krasis::simd

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

/// The AVX-512 intrinsics that the kernels use, as plain loops over lanes by Intel's pseudocode, so that their source
/// files can be compiled a second time and run on any CPU with AVX2: include this first, then the source file. The
/// macros at the end put these functions in the place of the compiler's. Lanes are little endian.
namespace krasis::test::emulated {

struct alignas(64) Integers {
  std::array<std::uint8_t, 64> bytes;
};
struct alignas(64) Floats {
  std::array<float, 16> lanes;
};

template <class T>
using Lanes = std::array<T, 64 / sizeof(T)>;
template <class T>
Lanes<T> lanes(const Integers& v) {
  return std::bit_cast<Lanes<T>>(v);
}
template <class T>
Integers pack(const Lanes<T>& v) {
  return std::bit_cast<Integers>(v);
}

/// One lane after the other: result[i] = f(i).
template <class T, class F>
Integers each(const F& f) {
  Lanes<T> result{};
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<T>(f(i));
  return pack<T>(result);
}
template <class F>
Floats each_float(const F& f) {
  Floats result{};
  for (std::size_t i = 0; i < 16; ++i) result.lanes[i] = f(i);
  return result;
}
constexpr bool chosen(std::uint64_t mask, std::size_t lane) {
  return (mask >> lane & 1) != 0;
}

// Memory: a lane that the mask leaves out is not touched.
template <class T>
Integers load(std::uint64_t mask, const void* from) {
  Lanes<T> result{};
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (chosen(mask, i)) std::memcpy(&result[i], static_cast<const std::byte*>(from) + i * sizeof(T), sizeof(T));
  }
  return pack<T>(result);
}
template <class T>
void store(void* to, std::uint64_t mask, const Integers& v) {
  const auto values = lanes<T>(v);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (chosen(mask, i)) std::memcpy(static_cast<std::byte*>(to) + i * sizeof(T), &values[i], sizeof(T));
  }
}
inline Integers load_all(const void* from) {
  return load<std::uint8_t>(~0ull, from);
}
inline Floats load_floats(std::uint64_t mask, const void* from) {
  return std::bit_cast<Floats>(load<float>(mask, from));
}
inline Floats load_some_floats(const Floats& otherwise, std::uint64_t mask, const void* from) {
  Floats result = load_floats(mask, from);
  for (std::size_t i = 0; i < 16; ++i) result.lanes[i] = chosen(mask, i) ? result.lanes[i] : otherwise.lanes[i];
  return result;
}
inline void store_floats(void* to, std::uint64_t mask, const Floats& v) {
  store<float>(to, mask, std::bit_cast<Integers>(v));
}
/// 16 numbers of 16 bits, as the instruction for 256 bits gives them.
inline __m256i load_words(std::uint64_t mask, const void* from) {
  const auto all = load<std::uint16_t>(mask & 0xffff, from);
  __m256i result;
  std::memcpy(&result, &all, sizeof result);
  return result;
}
inline __m128i load_bytes(std::uint64_t mask, const void* from) {
  const auto all = load<std::uint8_t>(mask & 0xffff, from);
  __m128i result;
  std::memcpy(&result, &all, sizeof result);
  return result;
}

// Integers
template <class T>
Integers spread(T value) {
  return each<T>([&](std::size_t) { return value; });
}
inline Integers zero() {
  return {};
}
inline Integers bits_and(const Integers& a, const Integers& b) {
  return each<std::uint8_t>([&](std::size_t i) { return a.bytes[i] & b.bytes[i]; });
}
inline Integers bits_or(const Integers& a, const Integers& b) {
  return each<std::uint8_t>([&](std::size_t i) { return a.bytes[i] | b.bytes[i]; });
}
inline Integers bits_xor(const Integers& a, const Integers& b) {
  return each<std::uint8_t>([&](std::size_t i) { return a.bytes[i] ^ b.bytes[i]; });
}
template <class T>
Integers add(const Integers& a, const Integers& b) {
  return each<T>([&](std::size_t i) { return lanes<T>(a)[i] + lanes<T>(b)[i]; });
}
template <class T>
Integers subtract(const Integers& a, const Integers& b) {
  return each<T>([&](std::size_t i) { return lanes<T>(a)[i] - lanes<T>(b)[i]; });
}
template <class T>
Integers shift_left(const Integers& a, unsigned count) {
  return each<T>([&](std::size_t i) { return lanes<T>(a)[i] << count; });
}
template <class T>
Integers shift_right(const Integers& a, unsigned count) {
  return each<T>([&](std::size_t i) { return lanes<T>(a)[i] >> count; });
}
inline Integers widen_bytes(__m128i v) {
  return each<std::uint32_t>([&](std::size_t i) { return reinterpret_cast<const std::uint8_t*>(&v)[i]; });
}
inline Integers widen_words(__m256i v) {
  std::array<std::uint16_t, 16> words;
  std::memcpy(words.data(), &v, sizeof v);
  return each<std::uint32_t>([&](std::size_t i) { return words[i]; });
}
inline std::uint16_t equal(const Integers& a, const Integers& b) {
  std::uint16_t mask = 0;
  for (unsigned i = 0; i < 16; ++i) {
    mask = static_cast<std::uint16_t>(mask | (lanes<std::uint32_t>(a)[i] == lanes<std::uint32_t>(b)[i]) << i);
  }
  return mask;
}
inline Integers choose(const Integers& otherwise, std::uint16_t mask, const Integers& v) {
  return each<std::uint32_t>([&](std::size_t i) { return lanes<std::uint32_t>(chosen(mask, i) ? v : otherwise)[i]; });
}
inline Integers repeat(__m128i v) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &v, sizeof v);
  return each<std::uint8_t>([&](std::size_t i) { return bytes[i % 16]; });
}
/// VPSHUFB: within each 16 bytes.
inline Integers shuffle_bytes(const Integers& table, const Integers& index) {
  return each<std::uint8_t>([&](std::size_t i) {
    const std::uint8_t at = index.bytes[i];
    return at >= 128 ? 0 : table.bytes[i / 16 * 16 + at % 16];
  });
}
/// VPUNPCKL/H of numbers of T: within each 16 bytes, from their lower or upper half.
template <class T, bool upper>
Integers unpack(const Integers& a, const Integers& b) {
  constexpr std::size_t kCount = 16 / sizeof(T);
  return each<T>([&](std::size_t i) {
    const std::size_t at = i / kCount * kCount + (upper ? kCount / 2 : 0) + i % kCount / 2;
    return lanes<T>(i % 2 == 0 ? a : b)[at];
  });
}
/// VSHUFI32X4: two pieces of 16 bytes from a, then two from b.
inline Integers shuffle_pieces(const Integers& a, const Integers& b, int choice) {
  return each<std::uint8_t>([&](std::size_t i) {
    const std::size_t piece = i / 16;
    const auto from = static_cast<std::size_t>(choice >> 2 * piece & 3);
    return (piece < 2 ? a : b).bytes[from * 16 + i % 16];
  });
}
template <class T, class... Values>
Integers list(Values... values) {
  return pack<T>({static_cast<T>(values)...});
}
/// VPERMI2W, VPERMI2PS: result[i] = numbers of a, then b, at index[i].
template <class T>
Integers permute_two(const Integers& a, const Integers& index, const Integers& b) {
  constexpr std::size_t kCount = 64 / sizeof(T);
  return each<T>([&](std::size_t i) {
    const std::size_t at = lanes<T>(index)[i] % (2 * kCount);
    return at < kCount ? lanes<T>(a)[at] : lanes<T>(b)[at - kCount];
  });
}
/// VPERMI2D with a zeroing mask.
inline Integers permute_two_where(std::uint16_t mask, const Integers& a, const Integers& index, const Integers& b) {
  const Integers all = permute_two<std::uint32_t>(a, index, b);
  return each<std::uint32_t>([&](std::size_t i) { return mask >> i & 1 ? lanes<std::uint32_t>(all)[i] : 0; });
}
/// VPERMD: result[i] = number index[i] modulo 16.
inline Integers permute(const Integers& index, const Integers& v) {
  return each<std::uint32_t>([&](std::size_t i) {
    return lanes<std::uint32_t>(v)[lanes<std::uint32_t>(index)[i] % 16];
  });
}
/// VPTERNLOGD: bit by bit, bit 4 a + 2 b + c of `table`.
inline Integers ternary_logic(const Integers& a, const Integers& b, const Integers& c, int table) {
  return each<std::uint8_t>([&](std::size_t i) {
    int result = 0;
    for (int bit = 0; bit < 8; ++bit) {
      const int at = (a.bytes[i] >> bit & 1) * 4 + (b.bytes[i] >> bit & 1) * 2 + (c.bytes[i] >> bit & 1);
      result |= (table >> at & 1) << bit;
    }
    return result;
  });
}
/// VPDPBUSD: each 32-bit sum plus four products of an unsigned and a signed byte, modulo 2^32.
inline Integers dot_bytes(const Integers& sum, const Integers& a, const Integers& b) {
  return each<std::uint32_t>([&](std::size_t i) {
    std::uint32_t total = lanes<std::uint32_t>(sum)[i];
    for (std::size_t j = 4 * i; j < 4 * i + 4; ++j) {
      total += static_cast<std::uint32_t>(a.bytes[j] * static_cast<std::int8_t>(b.bytes[j]));
    }
    return total;
  });
}

// Floats
inline Floats spread_float(float value) {
  return each_float([&](std::size_t) { return value; });
}
inline Floats as_floats(const Integers& v) {
  return std::bit_cast<Floats>(v);
}
inline Floats to_floats(const Integers& v) {
  return each_float([&](std::size_t i) { return static_cast<float>(lanes<std::int32_t>(v)[i]); });
}
inline Floats add_floats(const Floats& a, const Floats& b) {
  return each_float([&](std::size_t i) { return a.lanes[i] + b.lanes[i]; });
}
inline Floats multiply(const Floats& a, const Floats& b) {
  return each_float([&](std::size_t i) { return a.lanes[i] * b.lanes[i]; });
}
inline Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
  return each_float([&](std::size_t i) { return std::fma(a.lanes[i], b.lanes[i], c.lanes[i]); });
}
inline Floats subtract_floats(const Floats& a, const Floats& b) {
  return each_float([&](std::size_t i) { return a.lanes[i] - b.lanes[i]; });
}
/// VMAXPS: the second operand if one is NaN.
inline Floats larger(const Floats& a, const Floats& b) {
  return each_float([&](std::size_t i) { return a.lanes[i] > b.lanes[i] ? a.lanes[i] : b.lanes[i]; });
}
/// VSCALEFPS: a * 2^floor(b).
inline Floats scale(const Floats& a, const Floats& b) {
  return each_float([&](std::size_t i) {
    return std::isnan(b.lanes[i]) ? b.lanes[i] : std::ldexp(a.lanes[i], static_cast<int>(std::floor(b.lanes[i])));
  });
}
inline Floats choose_first(const Floats& otherwise, std::uint16_t mask, __m128 v) {
  return each_float([&](std::size_t i) { return chosen(mask, i) ? _mm_cvtss_f32(v) : otherwise.lanes[i]; });
}
inline Floats repeat_floats(__m128 v) {
  const auto four = std::bit_cast<std::array<float, 4>>(v);
  return each_float([&](std::size_t i) { return four[i % 4]; });
}
/// VPERMILPS: within each four.
inline Floats permute_fours(const Floats& v, const Integers& index) {
  return each_float([&](std::size_t i) { return v.lanes[i / 4 * 4 + lanes<std::uint32_t>(index)[i] % 4]; });
}
/// Sequences of instructions in the compiler's header: halves are joined.
template <class Join>
float reduce(const Floats& v, const Join& join) {
  std::array<float, 16> lanes = v.lanes;
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lanes[i] = join(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}
inline float reduce_add(const Floats& v) {
  return reduce(v, [](float a, float b) { return a + b; });
}
inline float reduce_max(const Floats& v) {
  return reduce(v, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace krasis::test::emulated

#define __m512i krasis::test::emulated::Integers
#define __m512 krasis::test::emulated::Floats

#undef _mm512_mask_storeu_ps
#undef _mm512_mask_loadu_ps
#undef _mm512_shuffle_i32x4
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srli_epi16
#undef _mm512_cmpeq_epi32_mask
#undef _mm512_cmp_ps_mask
#undef _mm512_setr_epi64
#undef _mm512_setr_epi32
#undef _mm512_ternarylogic_epi32
#define _mm512_loadu_si512 krasis::test::emulated::load_all
#define _mm512_storeu_si512(to, v) krasis::test::emulated::store<std::uint8_t>(to, ~0ull, v)
#define _mm512_maskz_loadu_epi8 krasis::test::emulated::load<std::uint8_t>
#define _mm512_maskz_loadu_epi32 krasis::test::emulated::load<std::uint32_t>
#define _mm256_maskz_loadu_epi16 krasis::test::emulated::load_words
#define _mm_maskz_loadu_epi8 krasis::test::emulated::load_bytes
#define _mm512_loadu_ps(from) krasis::test::emulated::load_floats(0xffff, from)
#define _mm512_load_ps(from) krasis::test::emulated::load_floats(0xffff, from)
#define _mm512_maskz_loadu_ps krasis::test::emulated::load_floats
#define _mm512_mask_loadu_ps krasis::test::emulated::load_some_floats
#define _mm512_store_ps(to, v) krasis::test::emulated::store_floats(to, 0xffff, v)
#define _mm512_storeu_ps(to, v) krasis::test::emulated::store_floats(to, 0xffff, v)
#define _mm512_mask_storeu_ps krasis::test::emulated::store_floats

#define _mm512_setzero_si512 krasis::test::emulated::zero
#define _mm512_set1_epi8 krasis::test::emulated::spread<char>
#define _mm512_set1_epi16 krasis::test::emulated::spread<short>
#define _mm512_set1_epi32 krasis::test::emulated::spread<int>
#define _mm512_setr_epi32 krasis::test::emulated::list<std::uint32_t>
#define _mm512_and_si512 krasis::test::emulated::bits_and
#define _mm512_or_si512 krasis::test::emulated::bits_or
#define _mm512_xor_si512 krasis::test::emulated::bits_xor
#define _mm512_add_epi32 krasis::test::emulated::add<std::uint32_t>
#define _mm512_sub_epi32 krasis::test::emulated::subtract<std::uint32_t>
#define _mm512_sub_epi8 krasis::test::emulated::subtract<std::uint8_t>
#define _mm512_slli_epi16 krasis::test::emulated::shift_left<std::uint16_t>
#define _mm512_slli_epi32 krasis::test::emulated::shift_left<std::uint32_t>
#define _mm512_srli_epi32 krasis::test::emulated::shift_right<std::uint32_t>
#define _mm512_srli_epi16 krasis::test::emulated::shift_right<std::uint16_t>
#define _mm512_srai_epi16 krasis::test::emulated::shift_right<std::int16_t>
#define _mm512_cvtepu8_epi32 krasis::test::emulated::widen_bytes
#define _mm512_cvtepu16_epi32 krasis::test::emulated::widen_words
#define _mm512_cmpeq_epi32_mask krasis::test::emulated::equal
#define _mm512_mask_mov_epi32 krasis::test::emulated::choose
#define _mm512_broadcast_i32x4 krasis::test::emulated::repeat
#define _mm512_shuffle_epi8 krasis::test::emulated::shuffle_bytes
#define _mm512_unpacklo_epi32 krasis::test::emulated::unpack<std::uint32_t, false>
#define _mm512_unpackhi_epi32 krasis::test::emulated::unpack<std::uint32_t, true>
#define _mm512_unpacklo_epi64 krasis::test::emulated::unpack<std::uint64_t, false>
#define _mm512_unpackhi_epi64 krasis::test::emulated::unpack<std::uint64_t, true>
#define _mm512_shuffle_i32x4 krasis::test::emulated::shuffle_pieces
#define _mm512_permutex2var_epi16 krasis::test::emulated::permute_two<std::uint16_t>
#define _mm512_permutexvar_epi32 krasis::test::emulated::permute
#define _mm512_maskz_permutex2var_epi32 krasis::test::emulated::permute_two_where
#define _mm512_ternarylogic_epi32 krasis::test::emulated::ternary_logic
#define _mm512_dpbusd_epi32 krasis::test::emulated::dot_bytes

#define _mm512_setzero_ps krasis::test::emulated::Floats
#define _mm512_set1_ps krasis::test::emulated::spread_float
#define _mm512_castsi512_ps krasis::test::emulated::as_floats
#define _mm512_castps_si512 std::bit_cast<krasis::test::emulated::Integers>
#define _mm512_cvtepi32_ps krasis::test::emulated::to_floats
#define _mm512_add_ps krasis::test::emulated::add_floats
#define _mm512_mul_ps krasis::test::emulated::multiply
#define _mm512_fmadd_ps krasis::test::emulated::multiply_add
#define _mm512_sub_ps krasis::test::emulated::subtract_floats
#define _mm512_max_ps krasis::test::emulated::larger
#define _mm512_scalef_ps krasis::test::emulated::scale
#define _mm512_mask_broadcastss_ps krasis::test::emulated::choose_first
#define _mm512_broadcast_f32x4 krasis::test::emulated::repeat_floats
#define _mm512_permutevar_ps krasis::test::emulated::permute_fours
#define _mm512_reduce_add_ps krasis::test::emulated::reduce_add
#define _mm512_reduce_max_ps krasis::test::emulated::reduce_max

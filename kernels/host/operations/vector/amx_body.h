// What the sources for AMX share; included behind <immintrin.h> and compiled with their flags.
#pragma once

namespace krasis::simd {
namespace {

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

/// The compiler does not know that tile instructions read memory: between stores and a tile load, in either order.
inline void written() {
  asm volatile("" ::: "memory");
}

static_assert(sizeof(TileConfig) == 64);

/// Makes `config` this thread's. A configuration takes some 200 cycles, to find that it is there 15: so it stays, and
/// nobody releases the tiles, for which the system saves 8 KiB more when it gives the core to another thread.
inline void configure(const TileConfig& config) {
  alignas(64) TileConfig present;
  _tile_storeconfig(&present);
  asm volatile("" ::"r"(&present), "r"(&config) : "memory");
  const __mmask16 same = _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(&present), _mm512_loadu_si512(&config));
  if (same != 0xffff) _tile_loadconfig(&config);
  written();
}

/// In each quarter: v[j] = the 32-bit numbers j of v[0] to v[3].
[[gnu::always_inline]] inline void transpose4(__m512i* v) {
  const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
  const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
  v[0] = _mm512_unpacklo_epi64(a, c);
  v[1] = _mm512_unpackhi_epi64(a, c);
  v[2] = _mm512_unpacklo_epi64(b, d);
  v[3] = _mm512_unpackhi_epi64(b, d);
}

/// v[j] = the 32-bit numbers j of all the v.
[[gnu::always_inline]] inline void transpose(__m512i* v) {
  for (int i = 0; i < 16; i += 4) transpose4(v + i);  // v[i + k] = numbers k, k + 4, k + 8, k + 12 of four
  __m512i t[16];
  for (int k = 0; k < 4; ++k) {
    t[k] = _mm512_shuffle_i32x4(v[k], v[4 + k], 0x88);
    t[4 + k] = _mm512_shuffle_i32x4(v[k], v[4 + k], 0xdd);
    t[8 + k] = _mm512_shuffle_i32x4(v[8 + k], v[12 + k], 0x88);
    t[12 + k] = _mm512_shuffle_i32x4(v[8 + k], v[12 + k], 0xdd);
  }
  for (int k = 0; k < 4; ++k) {
    v[k] = _mm512_shuffle_i32x4(t[k], t[8 + k], 0x88);
    v[8 + k] = _mm512_shuffle_i32x4(t[k], t[8 + k], 0xdd);
    v[4 + k] = _mm512_shuffle_i32x4(t[4 + k], t[12 + k], 0x88);
    v[12 + k] = _mm512_shuffle_i32x4(t[4 + k], t[12 + k], 0xdd);
  }
}

}  // namespace
}  // namespace krasis::simd

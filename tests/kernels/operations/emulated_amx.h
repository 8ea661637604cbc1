#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tests/kernels/operations/emulated_avx512.h"

/// The AMX intrinsics that the kernels use, by Intel's pseudocode, with its checks of shapes (a wrong one ends the
/// program, as #UD would). Include this first, then the source file.
namespace krasis::test::emulated {

struct Tile {
  int rows = 0;
  int row_bytes = 0;
  std::array<std::array<std::uint8_t, 64>, 16> data{};
};
inline thread_local std::array<Tile, 8> tiles;
inline thread_local bool configured = false;

inline void require(bool condition) {
  if (!condition) std::abort();
}

/// Palette 1: 8 tiles of at most 16 rows of at most 64 bytes.
inline void tile_configure(const void* from) {
  std::array<std::uint8_t, 64> config;
  std::memcpy(config.data(), from, 64);
  require(config[0] == 1 && config[1] == 0);
  for (std::size_t i = 2; i < 16; ++i) require(config[i] == 0);
  for (std::size_t t = 0; t < 16; ++t) {
    const int row_bytes = config[16 + 2 * t] + 256 * config[17 + 2 * t];
    const int rows = config[48 + t];
    require(row_bytes <= 64 && rows <= 16 && (row_bytes == 0) == (rows == 0) && (t < 8 || rows == 0));
    if (t < 8) tiles[t] = {rows, row_bytes, {}};
  }
  configured = true;
}
/// Zeros if nothing is configured.
inline void tile_store_configuration(void* to) {
  std::array<std::uint8_t, 64> config{};
  config[0] = configured ? 1 : 0;
  for (std::size_t t = 0; configured && t < 8; ++t) {
    config[16 + 2 * t] = static_cast<std::uint8_t>(tiles[t].row_bytes);
    config[48 + t] = static_cast<std::uint8_t>(tiles[t].rows);
  }
  std::memcpy(to, config.data(), 64);
}
inline Tile& tile(std::size_t t) {
  require(configured && tiles[t].rows > 0);
  return tiles[t];
}

inline void tile_zero(std::size_t t) {
  tile(t).data = {};
}
inline void tile_load(std::size_t t, const void* from, std::ptrdiff_t stride) {
  Tile& to = tile(t);
  to.data = {};
  for (int r = 0; r < to.rows; ++r) {
    std::memcpy(to.data[static_cast<std::size_t>(r)].data(), static_cast<const std::byte*>(from) + r * stride,
                static_cast<std::size_t>(to.row_bytes));
  }
}
inline void tile_store(std::size_t t, void* to, std::ptrdiff_t stride) {
  const Tile& from = tile(t);
  for (int r = 0; r < from.rows; ++r) {
    std::memcpy(static_cast<std::byte*>(to) + r * stride, from.data[static_cast<std::size_t>(r)].data(),
                static_cast<std::size_t>(from.row_bytes));
  }
}

template <class T>
T element(const Tile& t, int row, int index) {
  T value;
  std::memcpy(&value, t.data[static_cast<std::size_t>(row)].data() + static_cast<std::size_t>(index) * sizeof(T),
              sizeof(T));
  return value;
}
template <class T>
void set_element(Tile& t, int row, int index, T value) {
  std::memcpy(t.data[static_cast<std::size_t>(row)].data() + static_cast<std::size_t>(index) * sizeof(T), &value,
              sizeof(T));
}
inline void require_shapes(const Tile& c, const Tile& a, const Tile& b) {
  require(a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0 && a.row_bytes / 4 == b.rows);
  require(c.rows == a.rows && c.row_bytes == b.row_bytes);
}

/// TDPBSSD: c[m, n] += sum over k and four bytes i of a[m, 4 k + i] * b[k, 4 n + i], both signed.
inline void tile_dot_bytes(std::size_t c_tile, std::size_t a_tile, std::size_t b_tile) {
  Tile& c = tile(c_tile);
  const Tile& a = tile(a_tile);
  const Tile& b = tile(b_tile);
  require_shapes(c, a, b);
  for (int m = 0; m < a.rows; ++m) {
    for (int n = 0; n < b.row_bytes / 4; ++n) {
      auto sum = element<std::uint32_t>(c, m, n);
      for (int k = 0; k < b.rows; ++k) {
        for (int i = 0; i < 4; ++i) {
          const int product = element<std::int8_t>(a, m, 4 * k + i) * element<std::int8_t>(b, k, 4 * n + i);
          sum += static_cast<std::uint32_t>(product);
        }
      }
      set_element(c, m, n, sum);
    }
  }
}

/// Denormals count as zero and become zero.
inline float flush(float v) {
  return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v;
}
inline float element_bf16(const Tile& t, int row, int index) {
  return flush(std::bit_cast<float>(static_cast<std::uint32_t>(element<std::uint16_t>(t, row, index)) << 16));
}
/// TDPBF16PS: even and odd columns are summed apart, then both are added to c.
inline void tile_dot_bf16(std::size_t c_tile, std::size_t a_tile, std::size_t b_tile) {
  Tile& c = tile(c_tile);
  const Tile& a = tile(a_tile);
  const Tile& b = tile(b_tile);
  require_shapes(c, a, b);
  for (int m = 0; m < a.rows; ++m) {
    for (int n = 0; n < b.row_bytes / 4; ++n) {
      float even = 0.0f, odd = 0.0f;
      for (int k = 0; k < b.rows; ++k) {
        even = flush(std::fma(element_bf16(a, m, 2 * k), element_bf16(b, k, 2 * n), even));
        odd = flush(std::fma(element_bf16(a, m, 2 * k + 1), element_bf16(b, k, 2 * n + 1), odd));
      }
      set_element(c, m, n, flush(flush(element<float>(c, m, n)) + flush(even + odd)));
    }
  }
}

}  // namespace krasis::test::emulated

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_loadconfig krasis::test::emulated::tile_configure
#define _tile_storeconfig krasis::test::emulated::tile_store_configuration
#define _tile_zero krasis::test::emulated::tile_zero
#define _tile_loadd krasis::test::emulated::tile_load
#define _tile_stored krasis::test::emulated::tile_store
#define _tile_dpbssd krasis::test::emulated::tile_dot_bytes
#define _tile_dpbf16ps krasis::test::emulated::tile_dot_bf16

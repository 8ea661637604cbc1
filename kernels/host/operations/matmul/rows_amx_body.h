// What products of rows by AMX share; included behind <immintrin.h> and the table's header, compiled with their flags.
#pragma once

#include "kernels/host/operations/vector/amx_body.h"

namespace krasis::simd {
namespace {

constexpr int kBlock = 16;           ///< rows of the matrix in a tile A
constexpr int kTileBytes = 1024;     ///< 16 rows of 64 bytes
constexpr std::int64_t kStep = 128;  ///< columns at a time: a block of activations
constexpr std::int64_t to_steps(std::int64_t columns) {
  return (columns + kStep - 1) / kStep;
}

/// C and A have 16 rows, A with `depth` bytes of each; B has the rows that this number of bytes needs.
void configure_for(int depth) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    const bool weights = tile == 4 || tile == 6, tokens = tile == 5 || tile == 7;
    config.rows[tile] = static_cast<std::uint8_t>(tokens ? depth / 4 : 16);
    config.row_bytes[tile] = static_cast<std::uint16_t>(weights ? depth : 64);
  }
  configure(config);
}

/// What lies in memory from a row on, or where the thread goes on: asked for in one piece, a line at a time. Of each
/// row here only a line at a time is read, which the hardware does not foresee.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const PackedRows& rows, int row)
      : at_(row < rows.count ? rows.data + static_cast<std::size_t>(row) * rows.row_bytes : rows.next) {}
  void ask(int lines) {
    if (!at_) return;
    for (int i = 0; i < lines; ++i, at_ += 64) _mm_prefetch(reinterpret_cast<const char*>(at_), _MM_HINT_T1);
  }

 private:
  const std::byte* at_ = nullptr;
};

}  // namespace
}  // namespace krasis::simd

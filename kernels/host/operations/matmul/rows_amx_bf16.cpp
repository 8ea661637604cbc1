// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file (vector/kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/matmul/row_kernels.h"
// Behind the table's header:
#include "kernels/host/operations/matmul/rows_amx_body.h"

/// Products of BF16 rows with several tokens by tiles (TDPBF16PS): weights are A as they lie, activations B, 16 tokens
/// in a C, whose FP32 sums stay in the tile to the end.
namespace krasis::simd {
namespace {

constexpr int kTogether = 16;  ///< tokens of a C

__m512i load(const void* from) {
  return _mm512_loadu_si512(from);
}

/// The tiles B of 32 columns of 16 tokens, and nothing behind them: as long as 16 tokens of the other formats
/// (interleaved_bytes() in rows.cpp).
constexpr std::int64_t group_bytes(std::int64_t steps) {
  return steps * (4 * kTileBytes + 128);
}

/// Up to 16 rows of the matrix.
struct Block {
  const std::byte* data;
  int count;
};
Block block_at(const PackedRows& rows, int row) {
  return {rows.data + static_cast<std::size_t>(row) * rows.row_bytes,
          rows.count - row < kBlock ? rows.count - row : kBlock};
}

/// BF16: the sums of 64 tokens stay in tiles 0 to 3 to the end.
class Bf16Product {
 public:
  Bf16Product(const PackedRows& rows, int row, const std::byte* tokens)
      : rows_(rows), block_(block_at(rows, row)), ahead_(rows, row + kBlock), tokens_(tokens) {}

  void run(int groups, float (*sums)[kBlock][16]) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const std::int64_t pieces = rows_.padded_columns / 32, each = group_bytes(to_steps(rows_.padded_columns));
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      load_weights(piece);
      const std::byte* b = tokens_ + piece * kTileBytes;
      _tile_loadd(5, b, 64);
      _tile_dpbf16ps(0, 4, 5);
      if (groups < 2) continue;
      _tile_loadd(5, b + each, 64);
      _tile_dpbf16ps(1, 4, 5);
      if (groups < 3) continue;
      _tile_loadd(5, b + 2 * each, 64);
      _tile_dpbf16ps(2, 4, 5);
      if (groups < 4) continue;
      _tile_loadd(5, b + 3 * each, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    written();
  }
  int count() const { return block_.count; }

 private:
  /// Tile 4: where they lie; the last rows, zeros behind them, from the side.
  void load_weights(std::int64_t piece) {
    ahead_.ask(16);
    const std::byte* from = block_.data + 64 * piece;
    if (block_.count == kBlock) {
      _tile_loadd(4, from, static_cast<std::int64_t>(rows_.row_bytes));
      return;
    }
    for (int r = 0; r < kBlock; ++r, from += rows_.row_bytes) {
      _mm512_storeu_si512(beside_ + 64 * r, r < block_.count ? load(from) : _mm512_setzero_si512());
    }
    written();
    _tile_loadd(4, beside_, 64);
    written();
  }

  const PackedRows& rows_;
  const Block block_;
  Ahead ahead_;
  const std::byte* tokens_;
  alignas(64) std::byte beside_[kTileBytes];
};

}  // namespace

void dot_bf16_amx(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  alignas(64) float sums[4][kBlock][16];
  configure_for(64);
  const std::int64_t each = group_bytes(to_steps(rows.padded_columns));
  for (int first = 0; first < tokens; first += 4 * kTogether) {
    const int here = tokens - first < 4 * kTogether ? tokens - first : 4 * kTogether;
    for (int row = 0; row < rows.count; row += kBlock) {
      Bf16Product product(rows, row, interleaved + first / kTogether * each);
      product.run((here + kTogether - 1) / kTogether, sums);
      for (int t = 0; t < here; ++t) {
        for (int r = 0; r < product.count(); ++r) {
          out[(first + t) * stride + row + r] = sums[t / kTogether][r][t % kTogether];
        }
      }
    }
  }
}

/// Tiles B: row j has columns 2 j and 2 j + 1 of the tokens.
void interleave_bf16_amx(const PreparedToken* x, int tokens, std::int64_t columns, std::byte* out) {
  const std::int64_t steps = to_steps(columns);
  for (int first = 0; first < tokens; first += kTogether, out += group_bytes(steps)) {
    for (std::int64_t piece = 0; piece < 4 * steps; ++piece) {
      __m512i v[16] = {};
      for (int t = 0; t < kTogether && first + t < tokens; ++t) {
        const std::byte* floats = x[first + t].planes + 128 * piece;  // of 32 columns the even ones, then the odd ones
        v[t] = _mm512_or_si512(_mm512_srli_epi32(load(floats), 16), load(floats + 64));
      }
      transpose(v);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(out + piece * kTileBytes + 64 * j, v[j]);
    }
  }
}

}  // namespace krasis::simd

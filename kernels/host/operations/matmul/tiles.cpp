#include "kernels/host/operations/matmul/tiles.h"

#include <algorithm>
#include <memory>

#include "kernels/host/operations/matmul/streamed_rows.h"
#include "kernels/host/operations/threads/parallel.h"

namespace krasis::simd {
namespace {

PackedRow packed_row(const Matrix& m, std::int64_t row) {
  return {m.layout.format.element, m.layout.format.group_size, m.layout.groups_per_row(), m.row(row), m.scale_row(row)};
}

/// Columns [begin, begin + count) of one token as FP32, zeros in the padding.
void widen_padded(const Kernels& k, const bf16* x, std::int64_t columns, std::int64_t begin, std::int64_t count,
                  float* out) {
  const std::int64_t real = std::clamp(columns - begin, std::int64_t{0}, count);
  k.widen(x + begin, real, out);
  std::fill(out + real, out + count, 0.0f);
}

}  // namespace

TileScratch& tile_scratch() {
  thread_local const std::unique_ptr<TileScratch> scratch(new TileScratch);
  return *scratch;
}

void product_tile(const Kernels& k, const Matrix& weight, std::int64_t row_begin, int row_count,
                  const TokenRows& tokens, TileScratch& scratch, float* result) {
  const std::int64_t columns = weight.layout.columns;
  const std::int64_t padded = weight.layout.padded_columns();
  const auto token = [&](int n) { return tokens.x + (tokens.index ? tokens.index[n] : n) * columns; };
  if (tokens.count == 1 && padded <= kTileTokens * kTileColumns) {
    widen_padded(k, token(0), columns, 0, padded, scratch.x);
    for (int r = 0; r < row_count; ++r) result[r] = k.dot(packed_row(weight, row_begin + r), scratch.x, padded);
    return;
  }
  std::fill_n(result, static_cast<std::int64_t>(tokens.count) * kTileRows, 0.0f);
  for (std::int64_t begin = 0; begin < padded; begin += kTileColumns) {
    const std::int64_t count = std::min<std::int64_t>(kTileColumns, padded - begin);
    for (int r = 0; r < row_count; ++r) {
      k.dequantize(packed_row(weight, row_begin + r), begin, count, scratch.weights + r * kTileColumns);
    }
    for (int n = 0; n < tokens.count; ++n) {
      widen_padded(k, token(n), columns, begin, count, scratch.x + n * kTileColumns);
    }
    k.products(scratch.x, kTileColumns, tokens.count, scratch.weights, kTileColumns, row_count, count, result,
               kTileRows);
  }
}

void matmul(const Kernels& k, const MatmulArgs& args) {
  if (matmul_rows(*k.rows, {&args, 1})) return;
  const std::int64_t rows = args.weight.layout.rows;
  const std::int64_t columns = args.weight.layout.columns;
  const std::int64_t row_tiles = tiles(rows, kTileRows);
  const std::int64_t units = row_tiles * tiles(args.tokens, kTileTokens);
  parallel_units(units, rows * columns * args.tokens, [&](std::int64_t unit) {
    TileScratch& scratch = tile_scratch();
    const std::int64_t row = unit % row_tiles * kTileRows;
    const std::int64_t token = unit / row_tiles * kTileTokens;
    const int row_count = static_cast<int>(std::min<std::int64_t>(kTileRows, rows - row));
    const int token_count = static_cast<int>(std::min<std::int64_t>(kTileTokens, args.tokens - token));
    product_tile(k, args.weight, row, row_count, {args.x.data + token * columns, nullptr, token_count}, scratch,
                 scratch.first);
    for (int n = 0; n < token_count; ++n) {
      const float* sums = scratch.first + n * kTileRows;
      const std::int64_t at = (token + n) * rows + row;
      if (!args.out_bf16.empty()) {
        std::transform(sums, sums + row_count, args.out_bf16.data + at, [](float v) { return bf16(v); });
      } else if (!args.out_f32.empty()) {
        std::copy_n(sums, row_count, args.out_f32.data + at);
      } else {
        k.add(sums, row_count, args.accumulate.data + at);
      }
    }
  });
}

void matmuls(const Kernels& k, std::span<const MatmulArgs> products) {
  if (matmul_rows(*k.rows, products)) return;
  for (const MatmulArgs& args : products) matmul(k, args);
}

}  // namespace krasis::simd

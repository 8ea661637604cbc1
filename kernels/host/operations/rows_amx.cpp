// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file (simd_kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/rows_kernels.h"
// Behind the table's header:
#include "kernels/host/operations/amx.inc"
#include "kernels/host/operations/rows_avx512.inc"

/// Products of packed rows with several tokens by tiles. One tile instruction (TDPBSSD, Intel SDM volume 2) is
///
///   C[r, t] += sum_k A[r, k] * B[k, t],   16 rows r, 16 columns t, 64 columns k of 8 bits.
///
/// A are weights as they lie in memory: 8-bit and BF16 ones are multiplied from there, 4-bit ones once they are
/// unpacked. B are activations, interleaved before (interleave()): the high bytes of 8 tokens beside their
/// low bytes, so that one C has both planes of the prepared activations (rows_kernels.h). C is exact for each group of
/// weights; both meet the scales as in the other tables. BF16: TDPBF16PS, 16 tokens, FP32 sums in the tile to the end.
///
/// A tile load waits until the stores before it are in the cache, and those follow the products before them: so weights
/// are unpacked one step ahead, in parts between the products of this step, and a C is added while the next one is
/// multiplied. Rejected: activations as A and weights as B, which has to transpose the weights; two blocks of rows with
/// one tile B, which was slower.
namespace krasis::simd {
namespace {

constexpr int kBlock = 16;  ///< rows of the matrix in a tile A
/// Up to so many tokens AVX-512 is faster, whose time grows with them from what the memory needs; that of tiles does
/// not, but starts higher. docs/performance.md has the measurement.
constexpr int kFewTokens = 2;
constexpr int kTileBytes = 1024;     ///< 16 rows of 64 bytes
constexpr std::int64_t kStep = 128;  ///< columns at a time: a block of activations
constexpr int kTogether = 8;         ///< tokens of a C with both planes
constexpr int kBf16Together = 16;

constexpr std::int64_t to_steps(std::int64_t columns) {
  return (columns + kStep - 1) / kStep;
}

/// C and A have 16 rows, A with `depth` bytes of each; B has the rows for so many numbers.
void configure(int depth) {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    const bool weights = tile == 4, tokens = tile == 5;
    config.rows[tile] = static_cast<std::uint8_t>(tokens ? depth / 4 : 16);
    config.row_bytes[tile] = static_cast<std::uint16_t>(weights ? depth : 64);
  }
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// Up to 16 rows of the matrix.
struct Block {
  const std::byte* data;
  const std::byte* scales;
  int count;
};
Block block_at(const PackedRows& rows, int row) {
  const auto at = static_cast<std::size_t>(row);
  return {rows.data + at * rows.row_bytes, rows.scales + at * rows.scale_row_bytes,
          rows.count - row < kBlock ? rows.count - row : kBlock};
}

/// What comes behind a block in memory, or where the thread goes on: asked for in one piece, a line at a time. Of each
/// row here only a line at a time is read, which the hardware does not foresee.
class Ahead {
 public:
  Ahead(const PackedRows& rows, int row)
      : at_(row + kBlock < rows.count ? rows.data + static_cast<std::size_t>(row + kBlock) * rows.row_bytes
                                      : rows.next) {}
  void ask(int lines) {
    if (!at_) return;
    for (int i = 0; i < lines; ++i, at_ += 64) _mm_prefetch(reinterpret_cast<const char*>(at_), _MM_HINT_T1);
  }

 private:
  const std::byte* at_;
};

/// The parts of 8 interleaved tokens: tiles B of 64 columns, then for each step the tokens' scales, twice.
std::int64_t group_bytes(std::int64_t steps) {
  return steps * (2 * kTileBytes + 64);
}

/// The tiles B of 32 columns of 16 BF16 tokens; as long as 16 others.
std::int64_t bf16_group_bytes(std::int64_t steps) {
  return 2 * group_bytes(steps);
}

struct alignas(64) Scratch {
  std::byte weights[2][2][kTileBytes];  ///< of this step and of the next: low and high nibbles, or 64 columns each
  std::int32_t c[kBlock][16];           ///< of the product before this one
  float scales[16][kBlock];             ///< of 16 groups
  float sums[kMaxRowTokens / kTogether][kBlock / 2][16];  ///< two rows, 8 tokens each
};

/// A block times all tokens.
template <Element element, int group>
class Product {
 public:
  static constexpr bool kNibbles = element == Element::Int4 || element == Element::Mxfp4;
  static constexpr int kStepBytes = kNibbles ? 64 : 128;
  /// Groups of 64 columns of nibbles lie in both halves of 32 bytes.
  static constexpr int kDepth = group == 32 || (kNibbles && group == 64) ? 32 : 64;
  static constexpr int kSums = group == 128 ? 1 : 128 / group;  ///< groups of a step
  static constexpr int kProducts = 128 / kDepth / kSums;        ///< of a group
  static constexpr int kPart = kBlock / (kSums * kProducts);    ///< rows that are unpacked between two products

  Product(const PackedRows& rows, int row, const std::byte* tokens, int groups, Scratch& scratch)
      : rows_(rows),
        block_(block_at(rows, row)),
        ahead_(rows, row),
        steps_(to_steps(rows.padded_columns)),
        tokens_(tokens),
        groups_(groups),
        s_(scratch) {}

  void run() {
    for (int g = 0; g < groups_; ++g) {
      for (auto& sum : s_.sums[g]) _mm512_storeu_ps(sum, _mm512_setzero_ps());
    }
    for (int row = 0; row < kBlock; row += kPart) prepare(0, row);
    for (std::int64_t step = 0; step < steps_; ++step) {
      const std::int64_t first = step * kStep / rows_.group_size;
      if (step == 0 || first >= first_scale_ + 16) {
        add_last();
        load_scales(first);
      }
      for (int g = 0; g < groups_; ++g) {
#pragma GCC unroll 4
        for (int sum = 0; sum < kSums; ++sum) {
          if (next_ == 0) {
            multiply<0>(step, g, sum);
          } else {
            multiply<1>(step, g, sum);
          }
          add_last();
          last_ = {step, g, static_cast<int>(first + sum - first_scale_), true};
          next_ ^= 1;
        }
      }
    }
    add_last();
  }

  /// The sums of `tokens` tokens.
  void store(int row, int tokens, float* out, std::int64_t stride) const {
    for (int t = 0; t < tokens; ++t) {
      for (int r = 0; r < block_.count; ++r) {
        out[t * stride + row + r] = s_.sums[t / kTogether][r / 2][r % 2 * 8 + t % kTogether];
      }
    }
  }

 private:
  /// What the other tile C has, which is still to be added.
  struct Last {
    std::int64_t step;
    int tokens, scale;
    bool any;
  };

  /// Whether tiles A are the memory of the weights.
  bool in_place(std::int64_t step) const {
    return !kNibbles && block_.count == kBlock && (step + 1) * kStep <= rows_.padded_columns;
  }

  /// Rows [row, row + kPart) of a step, where they are not multiplied in place: unpacked. What is not there becomes the
  /// number of code 0; tokens are 0 in those columns, and rows behind the last are not stored.
  [[gnu::always_inline]] void prepare(std::int64_t step, int row) {
    ahead_.ask(kPart * kStepBytes / 64);
    if (step >= steps_ || in_place(step)) return;
    const std::int64_t left = (rows_.padded_columns - step * kStep) * kStepBytes / kStep;  // bytes; 32 or more
    auto& to = s_.weights[step % 2];
    const std::byte* from = block_.data + static_cast<std::size_t>(row) * rows_.row_bytes + step * kStepBytes;
#pragma GCC unroll 8
    for (int r = row; r < row + kPart; ++r, from += rows_.row_bytes) {
      const auto bytes = [&](int piece) {
        const std::int64_t behind = r < block_.count ? left - 64 * piece : 0;
        const __mmask64 mask = behind >= 64 ? ~0ull : behind > 0 ? 0xffffffffull : 0;
        return _mm512_maskz_loadu_epi8(mask, from + 64 * piece);
      };
      if constexpr (kNibbles) {
        const __m512i nibble = _mm512_set1_epi8(0x0f);
        const __m512i numbers = _mm512_broadcast_i32x4(
            element == Element::Int4 ? _mm_setr_epi8(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7)
                                     : _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
        const __m512i codes = bytes(0);
        const __m512i low = _mm512_and_si512(codes, nibble);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
        _mm512_storeu_si512(to[0] + 64 * r, _mm512_shuffle_epi8(numbers, low));
        _mm512_storeu_si512(to[1] + 64 * r, _mm512_shuffle_epi8(numbers, high));
      } else {
        _mm512_storeu_si512(to[0] + 64 * r, bytes(0));
        _mm512_storeu_si512(to[1] + 64 * r, bytes(1));
      }
    }
    written();
  }

  void load_scales(std::int64_t first) {
    first_scale_ = first;
    const __mmask16 mask = first_lanes(first, rows_.groups);
    __m512i v[16];
    for (int r = 0; r < 16; ++r) {
      v[r] = _mm512_setzero_si512();
      if (r >= block_.count) continue;
      v[r] = _mm512_castps_si512(
          scales16<element>(block_.scales + static_cast<std::size_t>(r) * rows_.scale_row_bytes, first, mask));
    }
    transpose(v);
    for (int g = 0; g < 16; ++g) _mm512_storeu_si512(s_.scales[g], v[g]);
  }

  /// Tile C = one group of a step times 8 tokens. Columns of nibbles come in the order of their quarters 0, 2 (low), 1,
  /// 3 (high), as the planes of the activations do.
  template <int tile>
  [[gnu::always_inline]] void multiply(std::int64_t step, int g, int sum) {
    const std::byte* b = tokens_ + g * group_bytes(steps_) + step * 2 * kTileBytes;
    const bool direct = in_place(step);
    const std::int64_t stride = direct ? static_cast<std::int64_t>(rows_.row_bytes) : 64;
    if constexpr (tile == 0) {
      _tile_zero(0);
    } else {
      _tile_zero(1);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kProducts; ++i) {
      if (g == 0) prepare(step + 1, (sum * kProducts + i) * kPart);
      // Which tile of 64 columns, and which half of it.
      int piece = i, half = 0;
      if constexpr (kSums > 1) {
        piece = kNibbles ? (kProducts == 2 ? i : sum % 2) : sum * kDepth / 64;
        half = kNibbles ? (kProducts == 2 ? sum : sum / 2) : sum * kDepth / 32 % 2;
      }
      const std::byte* a = direct ? block_.data + step * kStepBytes + 64 * piece : s_.weights[step % 2][piece];
      _tile_loadd(4, a + 32 * half, stride);
      _tile_loadd(5, b + piece * kTileBytes + half * kTileBytes / 2, 64);
      if constexpr (tile == 0) {
        _tile_dpbssd(0, 4, 5);
      } else {
        _tile_dpbssd(1, 4, 5);
      }
    }
  }

  /// sums += (128 high + low) * scales.
  [[gnu::always_inline]] void add_last() {
    if (!last_.any) return;
    last_.any = false;
    if (next_ == 0) {
      _tile_stored(1, s_.c, 64);
    } else {
      _tile_stored(0, s_.c, 64);
    }
    written();
    const auto& c = s_.c;
    const float* scale = s_.scales[last_.scale];
    const __m512 of_tokens =
        _mm512_loadu_ps(tokens_ + last_.tokens * group_bytes(steps_) + steps_ * 2 * kTileBytes + last_.step * 64);
#pragma GCC unroll 8
    for (int r = 0; r < kBlock; r += 2) {
      const __m512i a = load(c[r]), b = load(c[r + 1]);
      const __m512 value = join(_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee));
      const __m512 of_rows = _mm512_mask_broadcastss_ps(_mm512_set1_ps(scale[r]), 0xff00, _mm_set_ss(scale[r + 1]));
      float* sum = s_.sums[last_.tokens][r / 2];
      _mm512_storeu_ps(sum, _mm512_fmadd_ps(value, _mm512_mul_ps(of_rows, of_tokens), _mm512_loadu_ps(sum)));
    }
  }

  const PackedRows& rows_;
  const Block block_;
  Ahead ahead_;
  const std::int64_t steps_;
  const std::byte* tokens_;
  const int groups_;
  Scratch& s_;
  std::int64_t first_scale_ = 0;  ///< of those in the scratch
  int next_ = 0;                  ///< tile C that is multiplied next
  Last last_{};
};

template <Element element, int group>
void dot_blocks(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  alignas(64) Scratch scratch;
  using Blocks = Product<element, group>;
  configure(Blocks::kDepth);
  for (int row = 0; row < rows.count; row += kBlock) {
    Blocks product(rows, row, interleaved, (tokens + kTogether - 1) / kTogether, scratch);
    product.run();
    product.store(row, tokens, out, stride);
  }
  _tile_release();
}

template <Element element>
void dot_groups(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  if (rows.group_size == 32) return dot_blocks<element, 32>(rows, tokens, interleaved, out, stride);
  if (rows.group_size == 64) return dot_blocks<element, 64>(rows, tokens, interleaved, out, stride);
  dot_blocks<element, 128>(rows, tokens, interleaved, out, stride);
}

/// BF16: the sums of 64 tokens stay in tiles 0 to 3 to the end.
class Bf16Product {
 public:
  Bf16Product(const PackedRows& rows, int row, const std::byte* tokens)
      : rows_(rows), block_(block_at(rows, row)), ahead_(rows, row), tokens_(tokens) {}

  void run(int groups, float (*sums)[kBlock][16]) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const std::int64_t pieces = rows_.padded_columns / 32, each = bf16_group_bytes(to_steps(rows_.padded_columns));
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
  }

  const PackedRows& rows_;
  const Block block_;
  Ahead ahead_;
  const std::byte* tokens_;
  alignas(64) std::byte beside_[kTileBytes];
};

void dot_bf16(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  alignas(64) float sums[4][kBlock][16];
  configure(64);
  const std::int64_t each = bf16_group_bytes(to_steps(rows.padded_columns));
  for (int first = 0; first < tokens; first += 4 * kBf16Together) {
    const int here = tokens - first < 4 * kBf16Together ? tokens - first : 4 * kBf16Together;
    for (int row = 0; row < rows.count; row += kBlock) {
      Bf16Product product(rows, row, interleaved + first / kBf16Together * each);
      product.run((here + kBf16Together - 1) / kBf16Together, sums);
      for (int t = 0; t < here; ++t) {
        for (int r = 0; r < product.count(); ++r) {
          out[(first + t) * stride + row + r] = sums[t / kBf16Together][r][t % kBf16Together];
        }
      }
    }
  }
  _tile_release();
}

void dot(const PackedRows& rows, const PreparedToken* x, int tokens, const std::byte* interleaved, float* out,
         std::int64_t stride) {
  if (tokens <= kFewTokens) return avx512_rows().dot(rows, x, tokens, nullptr, out, stride);
  switch (rows.element) {
    case Element::Int4:
      return dot_groups<Element::Int4>(rows, tokens, interleaved, out, stride);
    case Element::Int8:
      return dot_groups<Element::Int8>(rows, tokens, interleaved, out, stride);
    case Element::Mxfp4:
      return dot_blocks<Element::Mxfp4, 32>(rows, tokens, interleaved, out, stride);
    case Element::Bf16:
      return dot_bf16(rows, tokens, interleaved, out, stride);
  }
}

/// Tiles B: row j has columns 4 j to 4 j + 3 of the tokens, for BF16 columns 2 j and 2 j + 1.
void interleave(const PreparedToken* x, int tokens, std::int64_t columns, Element element, std::byte* out) {
  const std::int64_t steps = to_steps(columns);
  const int together = element == Element::Bf16 ? kBf16Together : kTogether;
  for (int first = 0; first < tokens; first += together) {
    const auto is_here = [&](int t) { return first + t < tokens; };
    const std::int64_t pieces = steps * (element == Element::Bf16 ? 4 : 2);
    for (std::int64_t piece = 0; piece < pieces; ++piece, out += kTileBytes) {
      __m512i v[16];
      for (int t = 0; t < together; ++t) {
        const std::byte* planes = is_here(t) ? x[first + t].planes + 128 * piece : nullptr;
        __m512i a = planes ? load(planes) : _mm512_setzero_si512();
        const __m512i b = planes ? load(planes + 64) : _mm512_setzero_si512();
        if (element == Element::Bf16) {  // of 32 columns the even ones, then the odd ones, as floats
          v[t] = _mm512_or_si512(_mm512_srli_epi32(a, 16), b);
        } else {  // the high bytes, then the low ones
          v[t] = a;
          v[kTogether + t] = b;
        }
      }
      transpose(v);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(out + 64 * j, v[j]);
    }
    if (element == Element::Bf16) {
      out += bf16_group_bytes(steps) - pieces * kTileBytes;
      continue;
    }
    for (std::int64_t step = 0; step < steps; ++step, out += 64) {
      alignas(64) float scales[16];
      for (int t = 0; t < kTogether; ++t) scales[t] = scales[8 + t] = is_here(t) ? x[first + t].scales[step] : 0.0f;
      _mm512_storeu_ps(out, _mm512_loadu_ps(scales));
    }
  }
}

}  // namespace

const RowKernels& amx_rows() {
  static const RowKernels table = {"AMX", kMaxRowTokens, kFewTokens, avx512_rows().prepare, interleave, dot};
  return table;
}

}  // namespace krasis::simd

// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file and of others that are
// compiled so (vector/kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/matmul/row_kernels.h"
// Behind the table's header:
#include "kernels/host/operations/matmul/rows_amx_body.h"
#include "kernels/host/operations/matmul/rows_avx512_body.h"

/// Products of packed rows with several tokens by tiles. One tile instruction (TDPBSSD, Intel SDM volume 2) is
///
///   C[r, t] += sum_k A[r, k] * B[k, t],   16 rows r, 16 columns t, 64 columns k of 8 bits.
///
/// A are weights: 8-bit ones from where they lie, 4-bit ones unpacked, INT4 as 16 times their numbers, which takes no
/// table. B are activations, interleaved before (interleave()): the high bytes of some tokens beside their low
/// bytes, so that one C has both planes of the prepared activations (rows_kernels.h). C is exact; both planes meet the
/// scales apart. Of 8 tokens a C is one group of weights. Of up to 4 or 2 tokens it is two or four groups, each with
/// columns t of its own, zeros of B in those of the others: so that a C is stored and added once for all of them.
///
/// A tile load waits until stores to its lines are in the cache (to others it does not), and those follow the products
/// before them: so weights are unpacked one step ahead, also across blocks of rows, and a C is added while the next one
/// is multiplied.
/// Rejected: activations as A and weights as B, which has to transpose the weights; four blocks of rows with one
/// tile B; more steps ahead.
namespace krasis::simd {
namespace {

/// The most tokens for which AVX-512 is faster. Its time begins at what the memory needs and grows with the tokens; the
/// time of tiles begins higher and does not grow. Two tokens are as fast either way in the cache; from memory AVX-512
/// is faster in long rows, tiles in short ones. docs/performance/cpu.md#several-tokens has the measurement.
constexpr int kFewTokens = 1;
constexpr std::int64_t kLongRow = 1024;  ///< columns
constexpr int kTogether = 8;             ///< tokens of a C with both planes
constexpr int kBlocks = 2;               ///< of rows that are multiplied with the same tiles B, each with its tile C
constexpr int kRows = kBlocks * kBlock;

/// Columns that have one scale: the group size, of which 128 stands for all multiples.
constexpr int unit_columns(int group_size) {
  return group_size < 128 ? group_size : 128;
}
/// Tokens in a C. With larger groups several units have one scale, which is not provided for.
constexpr int together(int tokens, int group_size) {
  return group_size > 128 || tokens > 4 ? kTogether : tokens > 2 ? 4 : 2;
}
/// 8 interleaved tokens: tiles B of 64 columns, then the tokens' scales for each C, at most one for each unit.
constexpr std::int64_t group_bytes(std::int64_t steps, int unit) {
  return steps * (2 * kTileBytes + 128 / unit * 64);
}

/// Where 16 rows of a step's weights lie, and the bytes from one to the next.
struct Weights {
  const std::byte* data;
  std::int64_t stride;
};

struct alignas(64) Scratch {
  std::byte weights[2][kBlocks][2][kTileBytes];  ///< unpacked, of this step and of the next: low and high nibbles
  std::byte beside[kBlocks][kBlock * 128];       ///< blocks of a step that are not whole
  std::int32_t c[kBlock][16];
  float scales[2][kRows][16];  ///< of 16 groups
  float sums[kMaxRowTokens / kTogether][kRows][16];
};

/// Rows of a matrix times all tokens, `kTokens` in a C.
template <Element element, int unit, int kTokens>
class Product {
 public:
  Product(const PackedRows& rows, const std::byte* tokens, int count, float* out, std::int64_t stride, Scratch& scratch)
      : rows_(rows),
        steps_(to_steps(rows.padded_columns)),
        tokens_(tokens),
        count_(count),
        out_(out),
        stride_(stride),
        s_(scratch) {}

  void run() {
    configure_for(kDepth);
    Weights next[kBlocks] = {};
    if (kNibbles) weights_at(0, 0, next);
    for (int block = 0; block < kBlocks; ++block) {
      for (int row = 0; row < kBlock; row += kPart) unpack(next[block], block, row);
    }
    for (int row = 0; row < rows_.count; row += kRows) {
      ahead_ = Ahead(rows_, row + kRows);
      for (std::int64_t step = 0; step < steps_; ++step) {
        buffer_ ^= 1;
        if (!kNibbles) {
          weights_at(row, step, next);
        } else if (step + 1 < steps_) {
          weights_at(row, step + 1, next);
        } else {
          weights_at(row + kRows, 0, next);
        }
        const std::int64_t group = step * kStep / rows_.group_size;
        if (step == 0 || group >= first_group_ + 16) load_scales(row, group);
        multiply_step(row, step, next, static_cast<int>(group - first_group_));
      }
    }
    add_last();
  }

 private:
  static constexpr bool kNibbles = element == Element::Int4 || element == Element::Mxfp4;
  static constexpr int kStepBytes = kNibbles ? 64 : 128;
  /// Units of 64 columns of nibbles lie in both halves of 32 bytes.
  static constexpr int kDepth = unit == 32 || (kNibbles && unit == 64) ? 32 : 64;
  static constexpr int kUnits = 128 / unit;                    ///< of a step
  static constexpr int kProducts = 128 / kDepth / kUnits;      ///< tile instructions of a unit
  static constexpr int kPart = kBlock / (kUnits * kProducts);  ///< rows that are unpacked before a tile instruction
  static constexpr int kOfC = kTogether / kTokens;             ///< units of a C

  /// Where the other tile C goes.
  struct Last {
    float (*sums)[16];  ///< null: it has been added
    const std::byte* of_tokens;
    const float* of_rows;
    int row, tokens, tile;
    bool first, last;  ///< of its sums
  };

  /// Of each block; null where there are no rows.
  [[gnu::always_inline]] void weights_at(int row, std::int64_t step, Weights* out) {
    const bool whole = rows_.count - row >= kRows && (step + 1) * kStep <= rows_.padded_columns;
    if (!whole) return beside(row, step, out);
    const auto stride = static_cast<std::int64_t>(rows_.row_bytes);
    const std::byte* at = rows_.data + row * stride + step * kStepBytes;
#pragma GCC unroll 2
    for (int block = 0; block < kBlocks; ++block) out[block] = {at + block * kBlock * stride, stride};
  }

  /// A block that is not whole is copied, zeros behind what is there: tokens are 0 in those columns, and rows behind
  /// the last are not stored.
  [[gnu::noinline]] void beside(int row, std::int64_t step, Weights* out) {
    const std::int64_t left = (rows_.padded_columns - step * kStep) * kStepBytes / kStep;
    for (int block = 0; block < kBlocks; ++block, row += kBlock) {
      out[block] = {};
      if (row >= rows_.count) continue;
      const std::byte* from = rows_.data + static_cast<std::size_t>(row) * rows_.row_bytes + step * kStepBytes;
      out[block] = {from, static_cast<std::int64_t>(rows_.row_bytes)};
      if (rows_.count - row >= kBlock && left >= kStepBytes) continue;
      for (int r = 0; r < kBlock; ++r, from += rows_.row_bytes) {
        for (int piece = 0; piece < kStepBytes; piece += 64) {
          const std::int64_t there = row + r < rows_.count ? left - piece : 0;
          const __mmask64 mask = there >= 64 ? ~0ull : there > 0 ? (1ull << there) - 1 : 0;
          _mm512_storeu_si512(s_.beside[block] + kStepBytes * r + piece, _mm512_maskz_loadu_epi8(mask, from + piece));
        }
      }
      out[block] = {s_.beside[block], kStepBytes};
    }
    written();
  }

  /// Rows [row, row + kPart) of a block of the next step.
  [[gnu::always_inline]] void unpack(Weights from, int block, int row) {
    if (!kNibbles || !from.data) return;
    std::byte* const low_to = s_.weights[buffer_ ^ 1][block][0] + 64 * row;
    std::byte* const high_to = s_.weights[buffer_ ^ 1][block][1] + 64 * row;
    const std::byte* at = from.data + row * from.stride;
#pragma GCC unroll 16
    for (int r = 0; r < kPart; ++r, at += from.stride) {
      const __m512i codes = load(at);
      __m512i low, high;
      if constexpr (element == Element::Int4) {  // 16 * (code - 8)
        const __m512i mask = _mm512_set1_epi8(static_cast<char>(0xf0)),
                      sign = _mm512_set1_epi8(static_cast<char>(0x80));
        low = _mm512_ternarylogic_epi32(_mm512_slli_epi16(codes, 4), mask, sign, kAndXor);
        high = _mm512_ternarylogic_epi32(codes, mask, sign, kAndXor);
      } else {
        const __m512i nibble = _mm512_set1_epi8(0x0f);
        const __m512i numbers =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
        low = _mm512_shuffle_epi8(numbers, _mm512_and_si512(codes, nibble));
        high = _mm512_shuffle_epi8(numbers, _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble));
      }
      _mm512_storeu_si512(low_to + 64 * r, low);
      _mm512_storeu_si512(high_to + 64 * r, high);
    }
    written();
  }
  static constexpr int kAndXor = 0x6a;  ///< (a & b) ^ c

  /// Of 16 groups of both blocks.
  [[gnu::always_inline]] void load_scales(int row, std::int64_t first) {
    first_group_ = first;
    scales_ ^= 1;
    const std::size_t bytes = rows_.scale_row_bytes;
    const std::byte* from = rows_.scales + static_cast<std::size_t>(row) * bytes;
    const __mmask16 mask = first_lanes(first, rows_.groups);
    const int there = rows_.count - row < kRows ? rows_.count - row : kRows;
    float(*to)[16] = s_.scales[scales_];
    for (int r = 0; r < there; ++r, from += bytes) _mm512_storeu_ps(to[r], scales16<element>(from, first, mask));
    for (int r = there; r % kBlock != 0; ++r) _mm512_storeu_ps(to[r], _mm512_setzero_ps());
    if (first == 0) {
      const auto rows = static_cast<std::size_t>(rows_.count < kRows ? rows_.count : kRows);
      ask(there < rows_.count - row ? from : rows_.next_scales, rows * bytes);
    }
  }
  static void ask(const std::byte* from, std::size_t bytes) {
    if (!from) return;
    for (std::size_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(from + at), _MM_HINT_T1);
  }

  [[gnu::always_inline]] void multiply_step(int row, std::int64_t step, const Weights* weights, int scale) {
    const std::byte* tokens = tokens_;
    for (int first = 0; first < count_; first += kTogether, tokens += group_bytes(steps_, unit)) {
      for (int u = 0; u < kUnits; ++u) {
        const std::int64_t of_row = step * kUnits + u;
        const bool begins = of_row % kOfC == 0;
        const bool last = u + 1 == kUnits && step + 1 == steps_;
        const bool ends = (of_row + 1) % kOfC == 0 || last;
        load_tokens(tokens + step * 2 * kTileBytes, u);
#pragma GCC unroll 2
        for (int block = 0; block < kBlocks; ++block) {
          if (block > 0 && row + block * kBlock >= rows_.count) break;
          if (begins && last_.tile == block) add_last();  // of a block alone
          multiply(weights[block], block, u, begins, first == 0);
          add_last();
          if (!ends) continue;
          last_ = {s_.sums[first / kTogether] + block * kBlock,
                   tokens + steps_ * 2 * kTileBytes + of_row / kOfC * 64,
                   s_.scales[scales_][block * kBlock] + (scale + u) / kOfC * kOfC,
                   row + block * kBlock,
                   first,
                   block,
                   of_row < kOfC,
                   last};
        }
      }
    }
  }

  /// Which tile of 64 columns of a step a unit needs, and which half of it. Columns of nibbles come in the order of
  /// their quarters 0, 2 (low), 1, 3 (high), as the planes of the activations do.
  static constexpr int piece_of(int u, int i) {
    if (kUnits == 1) return i;
    return kNibbles ? (kProducts == 2 ? i : u % 2) : u * kDepth / 64;
  }
  static constexpr int half_of(int u) {
    if (kUnits == 1) return 0;
    return kNibbles ? (kProducts == 2 ? u : u / 2) : u * kDepth / 32 % 2;
  }

  /// Tiles B of a unit.
  [[gnu::always_inline]] void load_tokens(const std::byte* b, int u) {
    b += half_of(u) * kTileBytes / 2;
    _tile_loadd(5, b + piece_of(u, 0) * kTileBytes, 64);
    if (kProducts == 2) _tile_loadd(7, b + piece_of(u, 1) * kTileBytes, 64);
  }

  /// Tile C of a block += a unit.
  [[gnu::always_inline]] void multiply(Weights weights, int block, int u, bool begins, bool unpacks) {
    const std::byte* a = (kNibbles ? s_.weights[buffer_][block][0] : weights.data) + 32 * half_of(u);
    const std::int64_t stride = kNibbles ? 64 : weights.stride;
    const std::int64_t piece = kNibbles ? kTileBytes : 64;
    if (begins && block == 0) _tile_zero(0);
    if (begins && block == 1) _tile_zero(1);
    if (unpacks) {
      ahead_.ask(kPart * kStepBytes / 64);
      unpack(weights, block, u * kProducts * kPart);
    }
    _tile_loadd(4, a + piece_of(u, 0) * piece, stride);
    if (block == 0) _tile_dpbssd(0, 4, 5);
    if (block == 1) _tile_dpbssd(1, 4, 5);
    if (kProducts == 2) {
      if (unpacks) {
        ahead_.ask(kPart * kStepBytes / 64);
        unpack(weights, block, (u * kProducts + 1) * kPart);
      }
      _tile_loadd(6, a + piece_of(u, 1) * piece, stride);
      if (block == 0) _tile_dpbssd(0, 6, 7);
      if (block == 1) _tile_dpbssd(1, 6, 7);
    }
    written();  // what follows may go where A was
  }

  /// The scales of a row's units for each column of C.
  static __m512 of_row(const float* scales) {
    if constexpr (kOfC == 1) return _mm512_set1_ps(*scales);
    const __m512i unit_of_column = kOfC == 2 ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                                             : _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(scales)), unit_of_column);
  }

  /// sums += C * scales, of the C before.
  [[gnu::always_inline]] void add_last() {
    if (!last_.sums) return;
    if (last_.tile == 0) {
      _tile_stored(0, s_.c, 64);
    } else {
      _tile_stored(1, s_.c, 64);
    }
    written();
    const Last last = last_;  // stores may change the member, as far as the compiler knows
    last_.sums = nullptr;
    if (last.last) return store(last);
    const __m512 of_tokens = _mm512_loadu_ps(last.of_tokens);
#pragma GCC unroll 16
    for (int r = 0; r < kBlock; ++r) _mm512_storeu_ps(last.sums[r], sum_of(last, r, of_tokens));
  }
  [[gnu::always_inline]] __m512 sum_of(const Last& last, int r, __m512 of_tokens) const {
    const __m512 scale = _mm512_mul_ps(of_row(last.of_rows + 16 * r), of_tokens);
    const __m512 before = _mm512_maskz_loadu_ps(last.first ? 0 : 0xffff, last.sums[r]);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(load(s_.c[r])), scale, before);
  }

  /// The sums are complete: both planes of all units together, token by token.
  [[gnu::noinline]] void store(const Last last) const {
    const __m512 of_tokens = _mm512_loadu_ps(last.of_tokens);
    __m512i v[8];  // rows r and r + 4, 8 numbers of each
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const int r = i / 4 * 8 + i % 4;
      v[i] = halves_together(sum_of(last, r, of_tokens), sum_of(last, r + 4, of_tokens));
    }
    if constexpr (kTokens == 8) {
      transpose4(v);  // token t, then t + 4, of rows 0 to 3, then both of rows 4 to 7; behind them rows 8 to 15
      transpose4(v + 4);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        store_token(last, t, _mm512_shuffle_i32x4(v[t], v[t + 4], 0x88));
        store_token(last, t + 4, _mm512_shuffle_i32x4(v[t], v[t + 4], 0xdd));
      }
      return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // rows i, i + 4, i + 8, i + 12, 4 numbers of each
      v[i] = sum(_mm512_shuffle_i32x4(v[i], v[i + 4], 0x88), _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd));
    }
    transpose4(v);
    if constexpr (kTokens == 4) {
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) store_token(last, t, v[t]);
    } else {
      store_token(last, 0, sum(v[0], v[2]));
      store_token(last, 1, sum(v[1], v[3]));
    }
  }
  void store_token(const Last& last, int t, __m512i sums) const {
    if (last.tokens + t >= count_) return;
    _mm512_mask_storeu_ps(out_ + (last.tokens + t) * stride_ + last.row, first_lanes(last.row, rows_.count),
                          _mm512_castsi512_ps(sums));
  }
  /// As bits of FP32 numbers.
  static __m512i sum(__m512i a, __m512i b) {
    return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
  }
  /// a's halves added, then b's.
  static __m512i halves_together(__m512 a, __m512 b) {
    const __m512i x = _mm512_castps_si512(a), y = _mm512_castps_si512(b);
    return sum(_mm512_shuffle_i32x4(x, y, 0x44), _mm512_shuffle_i32x4(x, y, 0xee));
  }

  const PackedRows& rows_;
  const std::int64_t steps_;
  const std::byte* const tokens_;
  const int count_;
  float* const out_;
  const std::int64_t stride_;
  Scratch& s_;
  Ahead ahead_{};
  std::int64_t first_group_ = 0;  ///< of the scales in the scratch
  int scales_ = 0;                ///< which of the scratch's are of this step
  int buffer_ = 1;                ///< of the unpacked weights of this step
  Last last_{};
};

template <Element element, int unit>
void dot_units(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  alignas(64) Scratch scratch;
  switch (together(tokens, rows.group_size)) {
    case 2:
      return Product<element, unit, 2>(rows, interleaved, tokens, out, stride, scratch).run();
    case 4:
      return Product<element, unit, 4>(rows, interleaved, tokens, out, stride, scratch).run();
    default:
      return Product<element, unit, kTogether>(rows, interleaved, tokens, out, stride, scratch).run();
  }
}

template <Element element>
void dot_groups(const PackedRows& rows, int tokens, const std::byte* interleaved, float* out, std::int64_t stride) {
  if (rows.group_size == 32) return dot_units<element, 32>(rows, tokens, interleaved, out, stride);
  if (rows.group_size == 64) return dot_units<element, 64>(rows, tokens, interleaved, out, stride);
  dot_units<element, 128>(rows, tokens, interleaved, out, stride);
}

void dot(const PackedRows& rows, const PreparedToken* x, int tokens, const std::byte* interleaved, float* out,
         std::int64_t stride) {
  if (tokens <= kFewTokens || (tokens == 2 && rows.padded_columns >= kLongRow)) {
    return avx512_rows().dot(rows, x, tokens, nullptr, out, stride);
  }
  switch (rows.element) {
    case Element::Int4:
      return dot_groups<Element::Int4>(rows, tokens, interleaved, out, stride);
    case Element::Int8:
      return dot_groups<Element::Int8>(rows, tokens, interleaved, out, stride);
    case Element::Mxfp4:
      return dot_units<Element::Mxfp4, 32>(rows, tokens, interleaved, out, stride);
    case Element::Bf16:
      return dot_bf16_amx(rows, tokens, interleaved, out, stride);
  }
}

/// v[j] of a piece of a step belongs to this unit of the step.
int unit_of(Element element, int units, int piece, int j) {
  const int half = j / 8;
  if (element == Element::Int8) return (2 * piece + half) * units / 4;
  return units == 4 ? 2 * half + piece : half * units / 2;
}

/// 16 lines of a tile B: high and low bytes of 4 columns of up to `in_c` tokens. Tokens of a unit have columns of B of
/// their own in its C, from `place(j)` on, 2 * in_c for each of the units of a C; the others are zeros.
template <int in_c, class Place>
void interleave_piece(const PreparedToken* x, int tokens, std::int64_t piece, const Place& place, std::byte* out) {
  __m512i v[2 * in_c] = {};
  for (int t = 0; t < tokens; ++t) {
    v[t] = load(x[t].planes + 128 * piece);
    v[in_c + t] = load(x[t].planes + 128 * piece + 64);
  }
  if constexpr (in_c == kTogether) {
    transpose(v);
    for (int j = 0; j < 16; ++j) _mm512_storeu_si512(out + 64 * j, v[j]);
  } else {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i quarters = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 0, 1, 2, 3, 16, 17, 18, 19);  // of two
    for (int i = 0; i < 2 * in_c; i += 4) transpose4(v + i);
    for (int j = 0; j < 16; ++j) {
      const int at = place(j);
      const __m512i from = _mm512_permutexvar_epi32(_mm512_sub_epi32(lanes, _mm512_set1_epi32(at)), quarters);
      const __m512i index = _mm512_add_epi32(from, _mm512_set1_epi32(j / 4 * 4));
      const auto kept = static_cast<__mmask16>(((1u << 2 * in_c) - 1) << at);
      const __m512i line = _mm512_maskz_permutex2var_epi32(kept, v[j % 4], index, v[(j % 4 + 4) % (2 * in_c)]);
      _mm512_storeu_si512(out + 64 * j, line);
    }
  }
}

/// What lies behind the tiles: for each C the tokens' scales of its units.
void interleave_scales(const PreparedToken* x, int tokens, std::int64_t units_in_all, int units, int in_c,
                       float low_scale, std::byte* out) {
  const int of_c = kTogether / in_c;
  for (std::int64_t u = 0; u < units_in_all; u += of_c, out += 64) {
    alignas(64) float scales[16] = {};
    for (int i = 0; i < of_c && u + i < units_in_all; ++i) {
      for (int t = 0; t < tokens; ++t) {
        const float scale = x[t].scales[(u + i) / units] * low_scale;
        scales[i * 2 * in_c + t] = 128.0f * scale;
        scales[i * 2 * in_c + in_c + t] = scale;
      }
    }
    _mm512_storeu_ps(out, _mm512_loadu_ps(scales));
  }
}

template <int in_c>
void interleave_bytes(const PreparedToken* x, int tokens, std::int64_t columns, Element element, int group_size,
                      std::byte* out) {
  const std::int64_t steps = to_steps(columns);
  const int unit = unit_columns(group_size);
  const int units = 128 / unit;  // of a step
  for (int first = 0; first < tokens; first += kTogether, x += kTogether, out += group_bytes(steps, unit)) {
    const int here = tokens - first < in_c ? tokens - first : in_c;
    for (std::int64_t piece = 0; piece < 2 * steps; ++piece) {
      const auto place = [&](int j) {
        const std::int64_t of_row = piece / 2 * units + unit_of(element, units, static_cast<int>(piece % 2), j);
        return static_cast<int>(of_row % (kTogether / in_c)) * 2 * in_c;
      };
      interleave_piece<in_c>(x, here, piece, place, out + piece * kTileBytes);
    }
    const float low_scale = element == Element::Int4 ? 1.0f / 16 : 1.0f;
    interleave_scales(x, here, steps * units, units, in_c, low_scale, out + steps * 2 * kTileBytes);
  }
}

void interleave(const PreparedToken* x, int tokens, std::int64_t columns, Element element, int group_size,
                std::byte* out) {
  if (element == Element::Bf16) return interleave_bf16_amx(x, tokens, columns, out);
  switch (together(tokens, group_size)) {
    case 2:
      return interleave_bytes<2>(x, tokens, columns, element, group_size, out);
    case 4:
      return interleave_bytes<4>(x, tokens, columns, element, group_size, out);
    default:
      return interleave_bytes<kTogether>(x, tokens, columns, element, group_size, out);
  }
}

}  // namespace

const RowKernels& amx_rows() {
  static const RowKernels table = {"AMX", kMaxRowTokens, kFewTokens, avx512_rows().prepare, interleave, dot};
  return table;
}

}  // namespace krasis::simd

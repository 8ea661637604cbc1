// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file (simd_kernels.h says why).
#include <immintrin.h>

#include "kernels/host/operations/rows_kernels.h"
// Behind the table's header:
#include "kernels/host/operations/amx.inc"
#include "kernels/host/operations/rows_avx512.inc"

/// Products of packed rows with several tokens by tiles. One tile instruction (TDPBSSD, Intel SDM volume 2) is
///
///   C[t, r] += sum_k A[t, k] * B[k, r],   t < 16 tokens, r < 16 rows, k < 64 columns of 8 bits,
///
/// where row j of B holds columns 4 j to 4 j + 3 of all 16 rows. So weights are transposed in pieces of 4 bytes on
/// their way from memory, 4-bit ones before they are unpacked; once for all tokens. Activations are the prepared planes
/// (rows_kernels.h), C is exact for each group of weights and each plane; both meet the scales as in the other tables.
/// BF16: TDPBF16PS with 32 columns, FP32 sums.
///
/// The rejected order, weights as A and activations as B, saves the weights' transposition, but has to transpose the
/// activations for each call and to do 16 tokens' work for 2.
namespace krasis::simd {
namespace {

constexpr int kBlock = 16;  ///< rows of the matrix in a tile B
/// Up to so many tokens AVX-512 is faster, whose time grows with them from what the memory needs; that of tiles does
/// not, but starts higher by the transposition. docs/performance.md has the measurement.
constexpr int kFewTokens = 4;
constexpr int kMostBlocks = 4;       ///< that share a copy of the activations
constexpr int kTileBytes = 1024;     ///< 16 rows of 64 bytes
constexpr std::int64_t kStep = 128;  ///< columns at a time: a block of activations

/// Operands of the step that tiles multiply, and of the next one, which is prepared before: a tile load has to wait
/// until stores to its rows have left the core's store buffer.
struct alignas(64) Scratch {
  std::byte weights[2][kMostBlocks][4][kTileBytes];  ///< tiles B: 2 for integers, 4 for BF16
  std::byte x[2][4][kTileBytes];          ///< tiles A: high 0, high 1, low 0, low 1; for BF16 one after another
  float scales[kMostBlocks][16][kBlock];  ///< of 16 groups
  std::int32_t sums[2][2][16][kBlock];    ///< tiles C; of one block while the next is computed
};

/// Tiles 0 and 1 are C of even blocks, 2 and 3 of odd ones, 4 is B, 5 and 6 are A.
void configure(int tokens, int columns_bytes) {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 7; ++tile) {
    config.rows[tile] = static_cast<std::uint8_t>(tile == 4 ? columns_bytes / 4 : tokens);
    config.row_bytes[tile] = static_cast<std::uint16_t>(tile < 5 ? 64 : columns_bytes);
  }
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// Up to 16 rows of the matrix.
struct Block {
  const std::byte* data;
  const std::byte* scales;
  int count;
  __mmask16 lanes() const { return first_lanes(0, count); }
};

template <Element element>
constexpr int kStepBytes = static_cast<int>(element == Element::Bf16   ? 2 * kStep
                                            : element == Element::Int8 ? kStep
                                                                       : kStep / 2);

/// The tiles B of columns [c, c + 128), of which `left` exist; 64 or more.
template <Element element, int group>
void load_weights(const PackedRows& rows, const Block& block, std::int64_t c, std::int64_t left,
                  std::byte (*tiles)[kTileBytes]) {
  const std::byte* from = block.data + c / kStep * kStepBytes<element>;
  const std::int64_t bytes = (left < kStep ? left : kStep) * kStepBytes<element> / kStep;
  for (int piece = 0; piece < kStepBytes<element> / 64; ++piece) {
    const std::int64_t behind = bytes - 64 * piece;
    const __mmask64 mask = behind >= 64 ? ~0ull : behind > 0 ? 0xffffffffull : 0;  // 64 columns are 32 bytes or more
    __m512i v[16];
    for (int r = 0; r < 16; ++r) {
      v[r] = r < block.count
                 ? _mm512_maskz_loadu_epi8(mask, from + r * static_cast<std::int64_t>(rows.row_bytes) + 64 * piece)
                 : _mm512_setzero_si512();
    }
    transpose(v);
    if constexpr (element == Element::Bf16 || element == Element::Int8) {
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(tiles[piece] + 64 * j, v[j]);
    } else {
      // Number j has columns 4 j (j < 8) or 64 + 4 (j - 8) on in its low nibbles, those 32 further in the high ones.
      // For groups of 128 any order of columns will do: that of the activations' planes.
      const __m512i nibble = _mm512_set1_epi8(0x0f);
      const __m512i numbers = _mm512_broadcast_i32x4(
          element == Element::Int4 ? _mm_setr_epi8(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7)
                                   : _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
      for (int j = 0; j < 16; ++j) {
        std::byte* tile = group == 128 ? tiles[0] + 64 * j : tiles[j / 8] + 64 * (j % 8);
        const __m512i low = _mm512_and_si512(v[j], nibble);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), nibble);
        _mm512_storeu_si512(tile, _mm512_shuffle_epi8(numbers, low));
        _mm512_storeu_si512(tile + (group == 128 ? kTileBytes : 512), _mm512_shuffle_epi8(numbers, high));
      }
    }
  }
}

template <Element element>
void load_scales(const PackedRows& rows, const Block& block, std::int64_t group, float (*scales)[kBlock]) {
  const __mmask16 mask = first_lanes(group, rows.groups);
  __m512i v[16];
  for (int r = 0; r < 16; ++r) {
    v[r] = _mm512_setzero_si512();
    if (r >= block.count) continue;
    v[r] = _mm512_castps_si512(
        scales16<element>(block.scales + r * static_cast<std::int64_t>(rows.scale_row_bytes), group, mask));
  }
  transpose(v);
  for (int g = 0; g < 16; ++g) _mm512_storeu_si512(scales[g], v[g]);
}

/// The tiles A of columns [c, c + 128).
template <Element element, int group>
void load_tokens(const PreparedToken* x, int tokens, std::int64_t c, std::byte (*tiles)[kTileBytes]) {
  for (int t = 0; t < tokens; ++t) {
    if constexpr (element == Element::Bf16) {
      const std::byte* values = x[t].planes + 4 * c;  // of each 32 columns the even ones, then the odd ones, as floats
      for (int piece = 0; piece < 4; ++piece, values += 128) {
        const __m512i even = _mm512_srli_epi32(load(values), 16);
        _mm512_storeu_si512(tiles[piece] + 64 * t, _mm512_or_si512(even, load(values + 64)));
      }
    } else {
      const std::byte* planes = x[t].planes + 2 * c;
      if constexpr (element == Element::Int8 || group == 128) {
        for (int plane = 0; plane < 2; ++plane) {
          _mm512_storeu_si512(tiles[2 * plane] + 64 * t, load(planes + 64 * plane));
          _mm512_storeu_si512(tiles[2 * plane + 1] + 64 * t, load(planes + 64 * plane + 128));
        }
        continue;
      }
      for (int quarter = 0; quarter < 4; ++quarter) {
        const int place = (quarter & 1) << 1 | quarter >> 1;  // as quantize_token
        const std::byte* from = planes + place / 2 * 128 + place % 2 * 32;
        std::byte* to = tiles[quarter / 2] + 64 * t + quarter % 2 * 32;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * kTileBytes),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 64)));
      }
    }
  }
}

/// sums[0] = high plane x weights, sums[1] = low plane x weights, over `tiles` tiles B.
template <bool odd>
void multiply(const std::byte* weights, const std::byte* x, int tiles, std::int32_t (*sums)[16][kBlock]) {
  if constexpr (odd) {
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  for (int i = 0; i < tiles; ++i, weights += kTileBytes, x += kTileBytes) {
    _tile_loadd(4, weights, 64);
    _tile_loadd(5, x, 64);
    _tile_loadd(6, x + 2 * kTileBytes, 64);
    if constexpr (odd) {
      _tile_dpbssd(2, 5, 4);
      _tile_dpbssd(3, 6, 4);
    } else {
      _tile_dpbssd(0, 5, 4);
      _tile_dpbssd(1, 6, 4);
    }
  }
  if constexpr (odd) {
    _tile_stored(2, sums[0], 64);
    _tile_stored(3, sums[1], 64);
  } else {
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
  }
}

/// sums[0] = x * weights over 128 columns.
template <bool odd>
void multiply_bf16(const std::byte* weights, const std::byte* x, std::int32_t (*sums)[16][kBlock]) {
  if constexpr (odd) {
    _tile_zero(2);
  } else {
    _tile_zero(0);
  }
  for (int i = 0; i < 4; ++i, weights += kTileBytes, x += kTileBytes) {
    _tile_loadd(4, weights, 64);
    _tile_loadd(5, x, 64);
    if constexpr (odd) {
      _tile_dpbf16ps(2, 5, 4);
    } else {
      _tile_dpbf16ps(0, 5, 4);
    }
  }
  if constexpr (odd) {
    _tile_stored(2, sums[0], 64);
  } else {
    _tile_stored(0, sums[0], 64);
  }
}

/// A step of some tokens with some blocks: out[t * stride + 16 b + r] += ...
template <Element element, int group>
struct Step {
  const PackedRows& rows;
  const Block* blocks;
  int block_count;
  const PreparedToken* x;
  int tokens;
  std::int64_t c;            ///< first column
  std::int64_t first_group;  ///< of those whose scales are in the scratch
  float* out;
  std::int64_t stride;
  Scratch& s;
  const std::byte (*weights)[4][kTileBytes];  ///< of this step
  const std::byte (*tokens_x)[kTileBytes];

  /// Parts of 128 columns that have scales of their own.
  static constexpr int kParts = element == Element::Bf16 || group == 128 ? 1 : 128 / group;

  template <bool odd>
  void products(int unit) const {
    const int block = unit / kParts;
    const int part = unit % kParts;
    if constexpr (element == Element::Bf16) {
      multiply_bf16<odd>(weights[block][0], tokens_x[0], s.sums[odd]);
    } else if constexpr (group == 32) {
      multiply<odd>(weights[block][part / 2] + part % 2 * 512, tokens_x[part / 2] + part % 2 * 32, 1, s.sums[odd]);
    } else {
      multiply<odd>(weights[block][part], tokens_x[part], 2 / kParts, s.sums[odd]);
    }
  }

  template <bool odd>
  void add(int unit) const {
    const int block = unit / kParts;
    const __mmask16 lanes = blocks[block].lanes();
    float* to = out + block * kBlock;
    if constexpr (element == Element::Bf16) {
      for (int t = 0; t < tokens; ++t, to += stride) {
        const __m512 sum = _mm512_castsi512_ps(load(s.sums[odd][0][t]));
        _mm512_mask_storeu_ps(to, lanes, _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, to), sum));
      }
    } else {
      const std::int64_t g = c / rows.group_size + (kParts == 1 ? 0 : unit % kParts) - first_group;
      const __m512 scale = _mm512_load_ps(s.scales[block][g]);
      for (int t = 0; t < tokens; ++t, to += stride) {
        const __m512 value = join(load(s.sums[odd][0][t]), load(s.sums[odd][1][t]));
        const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x[t].scales[c / kActivationBlock]));
        _mm512_mask_storeu_ps(to, lanes, _mm512_fmadd_ps(value, both, _mm512_maskz_loadu_ps(lanes, to)));
      }
    }
  }

  /// Sums of one unit are added while tiles multiply the next.
  void run() const {
    const int units = block_count * kParts;
    products<false>(0);
    for (int unit = 0; unit < units; unit += 2) {
      if (unit + 1 < units) products<true>(unit + 1);
      add<false>(unit);
      if (unit + 1 == units) break;
      if (unit + 2 < units) products<false>(unit + 2);
      add<true>(unit + 1);
    }
  }
};

/// Asks for a step's share of the rows that come next, and returns its end: of each row here only a cache line at a time
/// is read, which the hardware does not foresee.
const std::byte* prefetch(const std::byte* from, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(from + i), _MM_HINT_T1);
  return from + bytes;
}

/// Up to 64 rows.
template <Element element, int group>
void dot_blocks(const PackedRows& rows, const PreparedToken* x, int tokens, float* out, std::int64_t stride) {
  alignas(64) Scratch s;
  for (auto& tiles : s.x) {
    for (auto& tile : tiles) {
      for (int i = 0; i < kTileBytes; i += 64) _mm512_storeu_si512(tile + i, _mm512_setzero_si512());
    }
  }
  Block blocks[kMostBlocks];
  const int block_count = (rows.count + kBlock - 1) / kBlock;
  for (int b = 0; b < block_count; ++b) {
    const int left = rows.count - b * kBlock;
    blocks[b] = {rows.data + static_cast<std::size_t>(b * kBlock) * rows.row_bytes,
                 rows.scales + static_cast<std::size_t>(b * kBlock) * rows.scale_row_bytes,
                 left < kBlock ? left : kBlock};
    for (int t = 0; t < tokens; ++t) {
      _mm512_mask_storeu_ps(out + t * stride + b * kBlock, blocks[b].lanes(), _mm512_setzero_ps());
    }
  }
  const int token_tiles = (tokens + 15) / 16;
  const int tile_tokens = (tokens + token_tiles - 1) / token_tiles;
  configure(tile_tokens, group == 32 ? 32 : 64);
  const std::byte* next = rows.next;
  const auto tokens_of = [&](int t) { return tokens - t < tile_tokens ? tokens - t : tile_tokens; };
  const auto prepare_weights = [&](std::int64_t c, int buffer) {
    for (int b = 0; b < block_count; ++b) {
      load_weights<element, group>(rows, blocks[b], c, rows.padded_columns - c, s.weights[buffer][b]);
    }
    if (next) next = prefetch(next, rows.count * kStepBytes<element>);
  };
  std::int64_t first_group = 0;
  int of_weights = 0, of_x = 0;  // buffers of what tiles multiply now
  prepare_weights(0, 0);
  load_tokens<element, group>(x, tokens_of(0), 0, s.x[0]);
  for (std::int64_t c = 0; c < rows.padded_columns; c += kStep, of_weights ^= 1) {
    if constexpr (element != Element::Bf16) {
      if (c == 0 || c / rows.group_size >= first_group + 16) {
        first_group = c / rows.group_size;
        for (int b = 0; b < block_count; ++b) load_scales<element>(rows, blocks[b], first_group, s.scales[b]);
      }
    }
    for (int t = 0; t < tokens; t += tile_tokens, of_x ^= 1) {
      const bool more_tokens = t + tile_tokens < tokens;
      const int next_t = more_tokens ? t + tile_tokens : 0;
      const std::int64_t next_c = more_tokens ? c : c + kStep;
      if (next_c < rows.padded_columns) {
        if (!more_tokens) prepare_weights(next_c, of_weights ^ 1);
        load_tokens<element, group>(x + next_t, tokens_of(next_t), next_c, s.x[of_x ^ 1]);
      }
      written();
      Step<element, group>{rows,        blocks,           block_count, x + t, tokens_of(t),          c,
                           first_group, out + t * stride, stride,      s,     s.weights[of_weights], s.x[of_x]}
          .run();
    }
  }
  _tile_release();
}

template <Element element>
void dot_groups(const PackedRows& rows, const PreparedToken* x, int tokens, float* out, std::int64_t stride) {
  if (rows.group_size == 32) return dot_blocks<element, 32>(rows, x, tokens, out, stride);
  if (rows.group_size == 64) return dot_blocks<element, 64>(rows, x, tokens, out, stride);
  dot_blocks<element, 128>(rows, x, tokens, out, stride);
}

void dot(const PackedRows& rows, const PreparedToken* x, int tokens, float* out, std::int64_t stride) {
  if (tokens <= kFewTokens) return avx512_rows().dot(rows, x, tokens, out, stride);
  constexpr int kMostRows = kMostBlocks * kBlock;
  for (int r = 0; r < rows.count; r += kMostRows) {
    PackedRows part = rows;
    part.count = rows.count - r < kMostRows ? rows.count - r : kMostRows;
    part.data += static_cast<std::size_t>(r) * rows.row_bytes;
    part.scales += static_cast<std::size_t>(r) * rows.scale_row_bytes;
    if (r + kMostRows < rows.count) part.next = part.data + kMostRows * rows.row_bytes;
    switch (rows.element) {
      case Element::Int4:
        dot_groups<Element::Int4>(part, x, tokens, out + r, stride);
        break;
      case Element::Int8:
        dot_groups<Element::Int8>(part, x, tokens, out + r, stride);
        break;
      case Element::Mxfp4:
        dot_blocks<Element::Mxfp4, 32>(part, x, tokens, out + r, stride);
        break;
      case Element::Bf16:
        dot_blocks<Element::Bf16, 128>(part, x, tokens, out + r, stride);
        break;
    }
  }
}

}  // namespace

const RowKernels& amx_rows() {
  static const RowKernels table = {"AMX", kMaxRowTokens, kFewTokens, avx512_rows().prepare, dot};
  return table;
}

}  // namespace krasis::simd

// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file (vector/kernels.h says
// why).
#include <immintrin.h>

#include "kernels/host/operations/attention/head_kernel.h"
// Behind the header:
#include "kernels/host/operations/vector/amx_body.h"

/// Scores = Q K^T, weights = exp(scores - maximum), sums = weights x V, as in flash attention (Dao et al. 2022). Keys
/// and values are right operands as they lie in the cache (kv_layout.h), so that nothing is transposed: BF16 is
/// multiplied where it lies, FP8 once it is BF16. A tile load waits until stores to its lines are in the cache, and
/// those follow the products before them: so operands are written one unit ahead, by halves, between the products of
/// this one. (With a unit in one piece, arithmetic and products took the sum of their times.)
///
/// FP8 (E4M3) becomes BF16 by a shift, sign, exponent and mantissa as they are: 2^-120 of the number. Tiles take its
/// denormals for zero: numbers below 2^-6, where the largest of a head is 448. To look for them and add them in FP32
/// took one thread some 8 % longer. (NaN codes would be 480; kv_append gives such a head the scale NaN.)
namespace krasis::simd {
namespace {

constexpr int kMostKeys = HeadKeys::kMostKeys, kMostDim = HeadKeys::kMostDim;
constexpr int kKeyStep = 16;      ///< keys of one tile of scores
constexpr int kValueStep = 32;    ///< keys that one tile product of weights and values takes
constexpr int kTileBytes = 1024;  ///< 16 lines of 64

/// Shifted numbers are 2^-120 of what they should be. Queries take back a part of it, the scores' factors the rest;
/// weights take back a part of it, the sums' factors the rest: so products are far from the least and the largest FP32.
constexpr float kQueries = 0x1p60f, kScores = 0x1p60f, kWeights = 0x1p60f, kSums = 0x1p60f;

struct alignas(64) Scratch {
  std::byte q[kMostDim / 32][kTileBytes];
  std::byte units[2][2][kTileBytes];                         ///< widened: this one and the next
  float scores[16][kMostKeys];                               ///< [row, key]
  std::byte weights[kMostKeys / kValueStep][2][kTileBytes];  ///< of 8 rows both parts are one tile
  float sums[kMostDim / 16][16][16];                         ///< rows as in `weights`
  float key_factors[kMostKeys], value_factors[kMostKeys];
};

__m512i load(const void* from) {
  return _mm512_loadu_si512(from);
}

/// One configuration for all: another one takes as long as 20 products. Tiles 0 to 3 are sums, 4 weights, 6 keys or
/// values; 5 scores and 7 queries, of which there is no more than what is needed: a store waits for each row.
void configure_for(int width) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = static_cast<std::uint8_t>(tile == 5 || tile == 7 ? width : 16);
    config.row_bytes[tile] = 64;
  }
  configure(config);
}

/// 2^-120 of the BF16 numbers that FP8 codes stand for, of even and of odd codes.
void widen(__m512i codes, std::byte* even, std::byte* odd) {
  const __m512i kept = _mm512_set1_epi16(static_cast<short>(0x87f0));
  _mm512_storeu_si512(even, _mm512_and_si512(_mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 4), kept));
  _mm512_storeu_si512(odd, _mm512_and_si512(_mm512_srai_epi16(codes, 4), kept));
}

/// 2^x, within 3 units of 2^-24; 0 far below, NaN stays. The polynomial is Cephes' exp2f.
__m512 exp2_of(__m512 given) {
  const __m512 x = _mm512_max_ps(_mm512_set1_ps(-200.0f), given);  // NaN is the second operand
  const __m512 magic = _mm512_set1_ps(12582912.0f);                // 1.5 * 2^23: the sum has no bits behind the point
  const __m512 n = _mm512_sub_ps(_mm512_add_ps(x, magic), magic);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.535336188319500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339887440266574e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618437357674640e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550332471162809e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264791363012e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931472028550421e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/// `width`: rows that there is room for.
template <int width, bool fp8>
class Head {
 public:
  static void run_all(const HeadKeys* pieces, int count) {
    alignas(64) Scratch scratch;
    configure_for(width);
    for (int i = 0; i < count; ++i) {
      Head head(pieces[i], scratch);
      if (i == 0) head.clear_weights();
      if (i == 0 || pieces[i].q != pieces[i - 1].q) head.load_queries();
      head.run();
    }
  }

 private:
  static constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;
  static constexpr int kElement = fp8 ? 1 : 2;
  static constexpr int kSpan = 64 / kElement;        ///< keys that share lines of values
  static constexpr int kParts = width == 8 ? 1 : 2;  ///< tiles for both parts of the weights

  Head(const HeadKeys& h, Scratch& s)
      : h_(h), s_(s), key_steps_((h.count + kKeyStep - 1) / kKeyStep), spans_((h.count + kSpan - 1) / kSpan) {}

  void run() {
    load_factors();
    if (fp8) {
      widen_half(h_.keys, 0, next_keys_);
      widen_half(h_.keys, 1, next_keys_);
    }
    for (int step = 0; step < key_steps_; ++step) multiply_keys(step);
    softmax();
    for (int c = 0; c < h_.dim / 16; c += 4) multiply_values(c);
    finish();
  }

  /// Asks for memory line by line, one for each line that is read. In one piece, so that the processor's own
  /// prefetching follows.
  class Ahead {
   public:
    explicit Ahead(const std::byte* at) : at_(at ? at : kNothing), step_(at ? 64 : 0) {}
    [[gnu::always_inline]] void ask_next() {
      _mm_prefetch(reinterpret_cast<const char*>(at_), _MM_HINT_T1);
      at_ += step_;
    }

   private:
    alignas(64) static constexpr std::byte kNothing[64] = {};
    const std::byte* at_;
    std::size_t step_;
  };

  /// Queries as the left operand, [row, number]: of FP8's even, then odd numbers of each 64.
  void load_queries() {
    const __m512i even = every_second(0), odd = every_second(1);
    for (int piece = 0; piece < h_.dim / 32; ++piece) {
      for (int r = 0; r < width; ++r) {
        __m512i numbers = _mm512_setzero_si512();
        if (r < h_.rows && fp8) {
          const bf16* from = h_.q + r * h_.dim + piece / 2 * 64;
          numbers = enlarged(_mm512_permutex2var_epi16(load(from), piece % 2 == 0 ? even : odd, load(from + 32)));
        } else if (r < h_.rows) {
          numbers = load(h_.q + r * h_.dim + piece * 32);
        }
        _mm512_storeu_si512(s_.q[piece] + 64 * r, numbers);
      }
    }
    written();
  }
  static __m512i every_second(int first) {
    alignas(64) std::uint16_t index[32];
    for (int i = 0; i < 32; ++i) index[i] = static_cast<std::uint16_t>(2 * i + first);
    return load(index);
  }
  static __m512i enlarged(__m512i numbers) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    const __m512 factor = _mm512_set1_ps(kQueries);
    const __m512i e = _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(numbers, 16)), factor));
    const __m512i o = _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(numbers, upper)), factor));
    return _mm512_or_si512(_mm512_srli_epi32(e, 16), _mm512_and_si512(o, upper));
  }

  /// What scores and weights are to be multiplied by; 1 behind the last key.
  void load_factors() {
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 key = _mm512_set1_ps(h_.scale * kLog2E * (fp8 ? kScores : 1.0f));
    const __m512 value = _mm512_set1_ps(kWeights);
    for (int at = 0; at < spans_ * kSpan; at += 16) {
      const int left = h_.count - at;
      const auto here = static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
      const __m512 keys = fp8 ? _mm512_mask_loadu_ps(one, here, h_.key_scales + at) : one;
      _mm512_storeu_ps(s_.key_factors + at, _mm512_mul_ps(keys, key));
      if (!fp8) continue;
      _mm512_storeu_ps(s_.value_factors + at,
                       _mm512_mul_ps(_mm512_mask_loadu_ps(one, here, h_.value_scales + at), value));
    }
  }

  /// Half of a unit as BF16, where the tiles of the next product will be.
  [[gnu::always_inline]] void widen_half(const std::byte* unit, int half, Ahead& ahead) {
    const int from = half * kTileBytes / 2;
    std::byte *even = s_.units[next_][0] + from, *odd = s_.units[next_][1] + from;
#pragma GCC unroll 8
    for (int at = 0; at < kTileBytes / 2; at += 64) {
      widen(load(unit + from + at), even + at, odd + at);
      ahead.ask_next();
    }
    written();
  }

  /// scores[:, 16 step ...], without the factors of load_factors().
  void multiply_keys(int step) {
    const std::int64_t bytes = kKeyStep * kElement * h_.dim;
    const std::byte* keys = h_.keys + step * bytes;
    for (std::int64_t at = 0; !h_.asked && at < bytes; at += 64) own_values_.ask_next();
    _tile_zero(5);
    for (int piece = 0; piece < h_.dim / (kElement == 1 ? 64 : 32); ++piece) {
      if (fp8) {
        const std::int64_t after = (piece + 1) * kTileBytes;
        const bool last = step + 1 == key_steps_ && after == bytes;
        const std::byte* unit = last ? h_.values : keys + after;
        next_ = 1 - next_;
        const auto tiles = s_.units[1 - next_];
        widen_half(unit, 0, next_keys_);
        multiply_queries(2 * piece, tiles[0]);
        widen_half(unit, 1, next_keys_);
        multiply_queries(2 * piece + 1, tiles[1]);
      } else {
        for (int line = 0; line < kTileBytes; line += 64) next_keys_.ask_next();
        multiply_queries(piece, keys + piece * kTileBytes);
      }
    }
    _tile_stored(5, &s_.scores[0][step * kKeyStep], sizeof s_.scores[0]);
    written();
  }

  [[gnu::always_inline]] void multiply_queries(int piece, const std::byte* keys) {
    _tile_loadd(7, s_.q[piece], 64);
    _tile_loadd(6, keys, 64);
    written();  // what follows may go where they were
    _tile_dpbf16ps(5, 7, 6);
  }

  /// scores become weights, row by row.
  void softmax() {
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
    for (int r = 0; r < h_.rows; ++r) {
      float* scores = s_.scores[r];
      for (int at = h_.count; at < spans_ * kSpan; ++at) scores[at] = -__builtin_inff();
      __m512 largest[2] = {lowest, lowest};
      for (int at = 0; at < spans_ * kSpan; at += 32) {
        for (int i = 0; i < 2; ++i) {
          float* here = scores + at + 16 * i;
          const __m512 score = _mm512_mul_ps(_mm512_loadu_ps(here), _mm512_loadu_ps(s_.key_factors + at + 16 * i));
          _mm512_storeu_ps(here, score);
          largest[i] = _mm512_max_ps(score, largest[i]);  // NaN leaves it
        }
      }
      top_[r] = _mm512_reduce_max_ps(_mm512_max_ps(largest[0], largest[1]));
      __m512 sum = _mm512_setzero_ps();
      for (int step = 0; step < spans_ * kSpan / kValueStep; ++step) sum = weigh(r, step, sum);
      total_[r] = _mm512_reduce_add_ps(sum);
    }
    written();
  }

  /// Those of rows that nobody asked for.
  void clear_weights() {
    for (int step = 0; step < kMostKeys / kValueStep; ++step) {
      for (int r = h_.rows; r < width; ++r) store_weights(r, step, _mm512_setzero_ps(), _mm512_setzero_ps());
    }
  }

  /// Row r of the weights of a step: of FP8, whose lines of values have 4 keys 16 apart, a step has the first and the
  /// third, or the second and the fourth 16 of 64; of BF16 it has 32 neighbours. Returns their sum, added to `sum`.
  __m512 weigh(int r, int step, __m512 sum) {
    const int first = fp8 ? step / 2 * 64 + step % 2 * 16 : step * 32, second = first + (fp8 ? 32 : 16);
    const __m512 top = _mm512_set1_ps(top_[r]);
    const __m512 a = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(s_.scores[r] + first), top));
    const __m512 b = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(s_.scores[r] + second), top));
    if (fp8) {
      store_weights(r, step, _mm512_mul_ps(a, _mm512_loadu_ps(s_.value_factors + first)),
                    _mm512_mul_ps(b, _mm512_loadu_ps(s_.value_factors + second)));
    } else {
      store_weights(r, step, a, b);
    }
    return _mm512_add_ps(_mm512_add_ps(sum, a), b);
  }

  /// As the left operand, a's beside b's, each as the sum of two BF16 numbers: cut, and what is left, rounded.
  void store_weights(int r, int step, __m512 a, __m512 b) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    const __m512i cut_a = _mm512_and_si512(_mm512_castps_si512(a), upper);
    const __m512i cut_b = _mm512_and_si512(_mm512_castps_si512(b), upper);
    const __m512i left_a = rounded(_mm512_sub_ps(a, _mm512_castsi512_ps(cut_a)));
    const __m512i left_b = rounded(_mm512_sub_ps(b, _mm512_castsi512_ps(cut_b)));
    std::byte* to = s_.weights[step][0] + 64 * r;
    _mm512_storeu_si512(to, _mm512_or_si512(_mm512_srli_epi32(cut_a, 16), cut_b));
    _mm512_storeu_si512(to + (width == 8 ? 512 : kTileBytes),
                        _mm512_or_si512(_mm512_srli_epi32(left_a, 16), _mm512_and_si512(left_b, upper)));
  }
  /// The upper 16 bits are the nearest BF16 number.
  static __m512i rounded(__m512 numbers) {
    return _mm512_add_epi32(_mm512_castps_si512(numbers), _mm512_set1_epi32(0x8000));
  }

  /// sums[c ... c + 3] = weights x values, 64 columns.
  void multiply_values(int c) {
    const std::int64_t span_bytes = kSpan * kElement * h_.dim;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int span = 0; span < spans_; ++span) {
      const std::byte* values = h_.values + span * span_bytes + c * kTileBytes;
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const std::byte* unit = values + k * kTileBytes;
        if (fp8) {
          const std::byte* next = k < 3               ? unit + kTileBytes
                                  : span + 1 < spans_ ? values + span_bytes
                                                      : h_.values + (c + 4) * kTileBytes;
          const bool is_last = k == 3 && span + 1 == spans_ && 16 * (c + 4) == h_.dim;
          next_ = 1 - next_;
          const auto tiles = s_.units[1 - next_];
          if (!is_last) widen_half(next, 0, next_values_);
          multiply_weights(k, 2 * span, tiles[0]);
          if (!is_last) widen_half(next, 1, next_values_);
          multiply_weights(k, 2 * span + 1, tiles[1]);
        } else {
          for (int line = 0; line < kTileBytes; line += 64) next_values_.ask_next();
          multiply_weights(k, span, (span + 1) * kSpan <= h_.count ? unit : without_the_rest(unit, span));
        }
      }
    }
    _tile_stored(0, s_.sums[c], 64);
    _tile_stored(1, s_.sums[c + 1], 64);
    _tile_stored(2, s_.sums[c + 2], 64);
    _tile_stored(3, s_.sums[c + 3], 64);
    written();
  }

  /// Tile k += weights of a step x values.
  [[gnu::always_inline]] void multiply_weights(int k, int step, const std::byte* values) {
    _tile_loadd(6, values, 64);
    written();
#pragma GCC unroll 2
    for (int part = 0; part < kParts; ++part) {
      _tile_loadd(4, s_.weights[step][part], 64);
      switch (k) {
        case 0:
          _tile_dpbf16ps(0, 4, 6);
          break;
        case 1:
          _tile_dpbf16ps(1, 4, 6);
          break;
        case 2:
          _tile_dpbf16ps(2, 4, 6);
          break;
        default:
          _tile_dpbf16ps(3, 4, 6);
      }
    }
  }

  /// The last BF16 values without the keys that nobody asked for: 0 x NaN would be NaN.
  const std::byte* without_the_rest(const std::byte* unit, int span) {
    for (int line = 0; line < 16; ++line) {
      const int key = span * kSpan + line;
      const std::uint32_t kept = (key < h_.count ? 0xffffu : 0u) | (key + 16 < h_.count ? 0xffff0000u : 0u);
      _mm512_storeu_si512(s_.units[0][0] + 64 * line,
                          _mm512_and_si512(load(unit + 64 * line), _mm512_set1_epi32(static_cast<int>(kept))));
    }
    written();
    return s_.units[0][0];
  }

  void finish() {
    for (int r = 0; r < h_.rows; ++r) {
      h_.maximum[r] = top_[r] * kLn2;
      h_.total[r] = total_[r];
      for (int c = 0; c < h_.dim / 16; ++c) {
        __m512 sum = _mm512_loadu_ps(s_.sums[c][r]);
        if (width == 8) sum = _mm512_add_ps(sum, _mm512_loadu_ps(s_.sums[c][8 + r]));
        _mm512_storeu_ps(h_.sums + r * h_.dim + 16 * c, _mm512_mul_ps(sum, _mm512_set1_ps(fp8 ? kSums : 1.0f)));
      }
    }
  }

  const HeadKeys& h_;
  Scratch& s_;
  int key_steps_, spans_;
  int next_ = 0;  ///< of s_.units, the one that is written next
  Ahead own_values_{h_.values}, next_keys_{h_.next_keys}, next_values_{h_.next_values};
  float top_[16], total_[16];  ///< of each row the largest score, in powers of two, and the sum of its weights
};

}  // namespace

void attend_amx(const HeadKeys* pieces, int count) {
  if (pieces->rows <= 8) {
    pieces->fp8 ? Head<8, true>::run_all(pieces, count) : Head<8, false>::run_all(pieces, count);
  } else {
    pieces->fp8 ? Head<16, true>::run_all(pieces, count) : Head<16, false>::run_all(pieces, count);
  }
}

}  // namespace krasis::simd

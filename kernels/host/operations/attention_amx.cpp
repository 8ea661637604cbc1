// Compiled with AVX-512 F, BW, DQ, VL and AMX: only intrinsics and functions of this file (simd_kernels.h says
// why).
#include <immintrin.h>

#include "kernels/host/operations/attention_kernel.h"
// Behind the header:
#include "kernels/host/operations/amx.inc"

/// 128 keys at a time: S = K Q^T, weights P = exp(scale S - maximum), sums += P V, as in flash attention (Dao et al.
/// 2022). Keys are the left operand, as they lie in the cache once they are BF16; values are the right one, two keys'
/// numbers beside each other. So neither is transposed, only q (once) and P, which is small. Operands are written one
/// step ahead of the tiles that read them: a tile load waits long for a store in flight.
///
/// FP8 (E4M3) becomes BF16 by a shift, sign, exponent and mantissa as they are: 2^-120 of the number. Tiles take its
/// denormals for zero: numbers below 2^-6, where the largest of a head is 448. To look for them
/// and add them in FP32 took one thread some 8 % longer. (NaN codes would be 480; kv_append gives such a head the scale
/// NaN.)
namespace krasis::simd {
namespace {

constexpr int kKeys = 128;
constexpr int kKeyStep = 16;    ///< keys of one tile of scores
constexpr int kValueStep = 32;  ///< keys that one tile product of weights and values takes
constexpr int kColumns = 64;    ///< of values, in four tiles
constexpr int kTileBytes = 1024;

/// Shifted numbers are 2^-120 of what they should be. Queries take back a part of it, the scores' factors the rest;
/// weights take back a part of it, the sums' factors the rest: so products are far from the least and the largest FP32.
constexpr float kQueries = 0x1p60f, kScores = 0x1p60f, kWeights = 0x1p60f, kSums = 0x1p60f;

struct alignas(64) Scratch {
  std::byte q[HeadKeys::kMostDim / 32][kTileBytes];
  std::byte tiles[2][HeadKeys::kMostDim / 32][kTileBytes];  ///< of this step and of the next
  float scores[kKeys * 16];                                 ///< [kKeys, 16], then [kKeys, width], then weights
  std::byte weights[kKeys / kValueStep][2][kTileBytes];     ///< of 8 rows both parts are one tile
  float sums[HeadKeys::kMostDim / 16][16][16];              ///< rows as in `weights`
  float key_factors[kKeys], value_factors[kKeys];
};

__m512i load(const void* from) {
  return _mm512_loadu_si512(from);
}

/// All tiles have 16 rows of 64 bytes: another configuration takes as long as 20 products.
void configure() {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = 16;
    config.row_bytes[tile] = 64;
  }
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// 2^-120 of the BF16 numbers that FP8 codes stand for, of even and of odd codes.
struct Numbers {
  __m512i even, odd;
};
Numbers shifted(__m512i codes) {
  const __m512i kept = _mm512_set1_epi16(static_cast<short>(0x87f0));
  return {_mm512_and_si512(_mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 4), kept),
          _mm512_and_si512(_mm512_srai_epi16(codes, 4), kept)};
}

/// Of 16 numbers of a and 16 of b: a's first, b's first, a's second, ...
struct Interleaved {
  __m512 first, second;
};
Interleaved interleaved(__m512 a, __m512 b) {
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  return {_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b)};
}
/// The same of pairs of numbers.
Interleaved pairs_interleaved(__m512 a, __m512 b) {
  const __m512i first = _mm512_setr_epi32(0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  return {_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b)};
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

/// `width`: rows that there is room for. Loops run over 64 bytes of many keys, not over the bytes of a key, so that
/// there is little beside their vector instructions.
template <int width, bool fp8>
class Head {
 public:
  Head(const HeadKeys& h, Scratch& s) : h_(h), s_(s) {}

  void run() {
    configure();
    load_queries();
    start();
    for (; first_ < h_.count; first_ += kKeys) {
      count_ = static_cast<int>(h_.count - first_ < kKeys ? h_.count - first_ : kKeys);
      steps_ = (count_ + kValueStep - 1) / kValueStep;
      multiply_keys();
      softmax();
      for (int c = 0; c < h_.dim; c += kColumns) multiply_values(c);
    }
    _tile_release();
    finish();
  }

 private:
  static constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;
  static constexpr int kElement = fp8 ? 1 : 2;

  /// Of the block.
  const std::byte* row(const std::byte* plane, int key) const {
    return plane + static_cast<std::size_t>(first_ + key) * h_.stride;
  }

  /// Asks for rows of the block.
  void ask_for(const std::byte* plane, int first, int keys) const {
    for (int byte = 0; byte < kElement * h_.dim; byte += 64) {
      const std::byte* at = row(plane, first) + byte;
#pragma GCC unroll 4
      for (int key = 0; key < keys; ++key, at += h_.stride) ask(at);
    }
  }
  static void ask(const std::byte* line) {
    _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
  }

  /// Memory that is asked for line by line, one for each line that is read. In one piece, so that the processor's own
  /// prefetching follows: it does not see the lines of one head among several, and a core waits for 16 lines at a time.
  class Ahead {
   public:
    explicit Ahead(const std::byte* at) : at_(at ? at : kNothing), step_(at ? 64 : 0) {}
    [[gnu::always_inline]] void ask_next() {
      ask(at_);
      at_ += step_;
    }

   private:
    alignas(64) static constexpr std::byte kNothing[64] = {};
    const std::byte* at_;
    std::size_t step_;
  };

  /// Queries as the right operand: row j has numbers 2 j and 2 j + 1 of all of them; of FP8's even, then odd numbers.
  void load_queries() {
    const __m512i even = numbers_from(0), odd = numbers_from(1);
    for (int piece = 0; piece < h_.dim / 32; ++piece) {
      __m512i v[16];
      for (int r = 0; r < 16; ++r) {
        if (r >= h_.rows) {
          v[r] = _mm512_setzero_si512();
        } else if (fp8) {
          const bf16* from = h_.q + r * h_.dim + piece / 2 * 64;
          v[r] = enlarged(_mm512_permutex2var_epi16(load(from), piece % 2 == 0 ? even : odd, load(from + 32)));
        } else {
          v[r] = load(h_.q + r * h_.dim + 32 * piece);
        }
      }
      transpose(v);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(s_.q[piece] + 64 * j, v[j]);
    }
  }
  static __m512i numbers_from(int first) {
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

  /// The rows' maxima in powers of two, and nothing summed yet.
  void start() {
    for (int r = 0; r < 16; ++r) {
      top_[r] = r % width < h_.rows ? h_.maximum[r % width] * kLog2E : 0.0f;
      before_[r] = top_[r];
      total_[r] = 0.0f;
    }
    for (int tile = 0; tile < h_.dim / 16; ++tile) {
      for (int r = 0; r < 16; ++r) _mm512_storeu_ps(s_.sums[tile][r], _mm512_setzero_ps());
    }
  }

  /// scores[key, row], without the factors of load_factors().
  void multiply_keys() {
    load_factors();
    const int tiles = (count_ + kKeyStep - 1) / kKeyStep;
    load_keys(0, s_.tiles[0]);
    for (int tile = 0; tile < tiles; ++tile) {
      if (tile + 1 < tiles) load_keys((tile + 1) * kKeyStep, s_.tiles[(tile + 1) % 2]);
      _tile_zero(0);
      for (int piece = 0; piece < h_.dim / 32; ++piece) {
        _tile_loadd(1, s_.tiles[tile % 2][piece], 64);
        _tile_loadd(2, s_.q[piece], 64);
        _tile_dpbf16ps(0, 1, 2);
      }
      _tile_stored(0, s_.scores + tile * kKeyStep * 16, 64);
      written();
    }
  }

  /// What scores and weights are to be multiplied by.
  void load_factors() {
    const float scale = h_.scale * kLog2E;
    if (!fp8) {
      for (int key = 0; key < kKeys; ++key) s_.key_factors[key] = scale;
      for (int key = 0; key < kKeys; ++key) s_.value_factors[key] = 1.0f;
      return;
    }
    const float* keys = h_.key_scales + first_ * h_.scale_stride;
    const float* values = h_.value_scales + first_ * h_.scale_stride;
    const std::int64_t stride = h_.scale_stride;
    for (int key = 0; key < count_; ++key) {
      s_.key_factors[key] = keys[key * stride] * (scale * kScores);
      s_.value_factors[key] = values[key * stride] * kWeights;
    }
    for (int key = count_; key < steps_ * kValueStep; ++key) s_.key_factors[key] = s_.value_factors[key] = 1.0f;
  }

  /// kKeyStep of them as the left operand; rows behind the last one have anything.
  void load_keys(int first, std::byte (*to)[kTileBytes]) {
    const int here = count_ - first < kKeyStep ? count_ - first : kKeyStep;
    if (!h_.asked) ask_for(h_.values, first, here);
    Ahead ahead = next_keys_;
    for (int byte = 0; byte < kElement * h_.dim; byte += 64) {
      const std::byte* from = row(h_.keys, first) + byte;
      std::byte* at = to[byte / 64 * (2 / kElement)];
#pragma GCC unroll 4
      for (int key = 0; key < here; ++key, from += h_.stride, at += 64) {
        const __m512i numbers = load(from);
        ahead.ask_next();
        if (fp8) {
          const Numbers both = shifted(numbers);
          _mm512_storeu_si512(at, both.even);
          _mm512_storeu_si512(at + kTileBytes, both.odd);
        } else {
          _mm512_storeu_si512(at, numbers);
        }
      }
    }
    next_keys_ = ahead;
    written();
  }

  /// A number of each key for all of its scores among 16.
  __m512 of_keys(const float* numbers, int at) const {
    const __m512 first = _mm512_set1_ps(numbers[at / width]);
    return width == 16 ? first : _mm512_mask_broadcastss_ps(first, 0xff00, _mm_set_ss(numbers[at / width + 1]));
  }

  /// [width] numbers, from or to [16]: with a width of 8 both halves are the same keys' rows.
  template <class Join>
  void fold(float* numbers, const Join& join) const {
    for (int r = 0; width == 8 && r < 8; ++r) numbers[r] = numbers[8 + r] = join(numbers[r], numbers[8 + r]);
  }

  /// 16 of [keys, width] from [keys, 16].
  __m512 products_at(int at) const {
    const float* from = s_.scores + at / width * 16;
    const __m512 first = _mm512_loadu_ps(from);
    return width == 16 ? first : _mm512_mask_loadu_ps(first, 0xff00, from + 8);  // the next key's 8
  }

  void softmax() {
    const int all = steps_ * kValueStep * width;
    const __m512 before = _mm512_loadu_ps(top_);
    __m512 largest = before;
    for (int at = count_ * 16; at < steps_ * kValueStep * 16; ++at) s_.scores[at] = -__builtin_inff();
    for (int at = 0; at < all; at += 16) {
      const __m512 score = _mm512_mul_ps(products_at(at), of_keys(s_.key_factors, at));
      _mm512_storeu_ps(s_.scores + at, score);
      largest = _mm512_max_ps(score, largest);  // NaN leaves it
    }
    _mm512_storeu_ps(top_, largest);
    fold(top_, [](float a, float b) { return a > b ? a : b; });
    const __m512 shift = _mm512_loadu_ps(top_);
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < all; at += 16) {
      const __m512 weight = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(s_.scores + at), shift));
      sum = _mm512_add_ps(sum, weight);
      _mm512_storeu_ps(s_.scores + at, _mm512_mul_ps(weight, of_keys(s_.value_factors, at)));
    }
    alignas(64) float sums[16], shrink[16];
    _mm512_storeu_ps(sums, sum);
    fold(sums, [](float a, float b) { return a + b; });
    _mm512_storeu_ps(shrink, exp2_of(_mm512_sub_ps(before, shift)));
    for (int r = 0; r < h_.rows; ++r) {
      total_[r] = total_[r] * shrink[r] + sums[r];
      for (int tile = 0; first_ > 0 && shrink[r] != 1.0f && tile < h_.dim / 16; ++tile) {
        for (int row = r; row < 16; row += width) {
          float* to = s_.sums[tile][row];
          _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_loadu_ps(to), _mm512_set1_ps(shrink[r])));
        }
      }
    }
    for (int step = 0; step < steps_; ++step) split_weights(step);
    written();
  }

  /// Weights as the left operand, each as the sum of two BF16 numbers: rounded, and what is left, rounded: within
  /// 2^-17.
  void split_weights(int step) {
    __m512i even[16], odd[16];  // of even and of odd keys, row by row
    const float* from = s_.scores + step * kValueStep * width;
    if (width == 16) {
      for (int j = 0; j < 16; ++j) {
        even[j] = load(from + 32 * j);
        odd[j] = load(from + 32 * j + 16);
      }
      transpose(even);
      transpose(odd);
    } else {
      for (int j = 0; j < 16; ++j) even[j] = load(from + 16 * j);
      transpose(even);
      for (int r = 0; r < 8; ++r) odd[r] = even[8 + r];
    }
    for (int r = 0; r < width; ++r) {
      const __m512i e = rounded(even[r]), o = rounded(odd[r]);
      _mm512_storeu_si512(s_.weights[step][0] + 64 * r, _mm512_or_si512(_mm512_srli_epi32(e, 16), o));
      const __m512i left_e = rounded(left(even[r], e)), left_o = rounded(left(odd[r], o));
      _mm512_storeu_si512((width == 16 ? s_.weights[step][1] : s_.weights[step][0] + 512) + 64 * r,
                          _mm512_or_si512(_mm512_srli_epi32(left_e, 16), left_o));
    }
  }
  static __m512i rounded(__m512i numbers) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return _mm512_and_si512(_mm512_add_epi32(numbers, _mm512_set1_epi32(0x8000)), upper);
  }
  static __m512i left(__m512i numbers, __m512i taken) {
    return _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(numbers), _mm512_castsi512_ps(taken)));
  }

  /// sums += weights x values, kColumns of them.
  void multiply_values(int c) {
    float(*sums)[16][16] = s_.sums + c / 16;
    load_values(c, 0, s_.tiles[0]);
    _tile_loadd(0, sums[0], 64);
    _tile_loadd(1, sums[1], 64);
    _tile_loadd(2, sums[2], 64);
    _tile_loadd(3, sums[3], 64);
    for (int step = 0; step < steps_; ++step) {
      if (step + 1 < steps_) load_values(c, (step + 1) * kValueStep, s_.tiles[(step + 1) % 2]);
      const auto values = s_.tiles[step % 2];
      for (int part = 0; part < width / 8; ++part) {
        _tile_loadd(4, s_.weights[step][part], 64);
        _tile_loadd(5, values[0], 64);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, values[1], 64);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(5, values[2], 64);
        _tile_dpbf16ps(2, 4, 5);
        _tile_loadd(6, values[3], 64);
        _tile_dpbf16ps(3, 4, 6);
      }
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    written();
  }

  /// Row j of a tile has 16 numbers of keys 2 j and 2 j + 1: of FP8 tile i has numbers 4 n + i, of BF16 tiles 0 and 1
  /// have even and odd numbers of the first 32, 2 and 3 of the others.
  void load_values(int c, int first, std::byte (*to)[kTileBytes]) {
    const int here = count_ - first < kValueStep ? count_ - first : kValueStep;
    Ahead ahead = next_values_;
    for (int half = 0; half < kElement; ++half) {
      const std::byte* from = row(h_.values, first) + kElement * c + 64 * half;
      std::byte* at = to[2 * half];
      std::byte* const end = at + kTileBytes;
#pragma GCC unroll 4
      for (int key = 0; key + 1 < here; key += 2, from += 2 * h_.stride, at += 64) {
        store_pair(load(from), load(from + h_.stride), at);
        ahead.ask_next();
        ahead.ask_next();
      }
      const __m512i zero = _mm512_setzero_si512();
      if (here % 2 != 0) {
        store_pair(load(from), zero, at);
        at += 64;
      }
      for (; at < end; at += 64) store_pair(zero, zero, at);
    }
    next_values_ = ahead;
    written();
  }

  /// Row j of two tiles (BF16) or of four.
  static void store_pair(__m512i a, __m512i b, std::byte* at) {
    const Pairs pairs = beside(a, b);
    if (fp8) {
      const Numbers lower = shifted(pairs.lower), upper = shifted(pairs.upper);
      _mm512_storeu_si512(at, lower.even);
      _mm512_storeu_si512(at + kTileBytes, lower.odd);
      _mm512_storeu_si512(at + 2 * kTileBytes, upper.even);
      _mm512_storeu_si512(at + 3 * kTileBytes, upper.odd);
    } else {
      _mm512_storeu_si512(at, pairs.lower);
      _mm512_storeu_si512(at + kTileBytes, pairs.upper);
    }
  }

  /// Of each 32 bits of a and b: the lower halves beside each other, and the upper ones.
  struct Pairs {
    __m512i lower, upper;
  };
  static Pairs beside(__m512i a, __m512i b) {
    const __m512i lower = _mm512_set1_epi32(0xffff), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return {_mm512_or_si512(_mm512_and_si512(a, lower), _mm512_slli_epi32(b, 16)),
            _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_and_si512(b, upper))};
  }

  /// Joins what is known of these keys and of the earlier ones; columns in their order again.
  void finish() {
    alignas(64) float shrink[16];
    _mm512_storeu_ps(shrink, exp2_of(_mm512_sub_ps(_mm512_loadu_ps(before_), _mm512_loadu_ps(top_))));
    for (int r = 0; r < h_.rows; ++r) {
      h_.maximum[r] = top_[r] * kLn2;
      h_.total[r] = h_.total[r] * shrink[r] + total_[r];
      for (int c = 0; c < h_.dim; c += kColumns) {
        const float(*sums)[16][16] = s_.sums + c / 16;
        const auto of = [&](int tile) {
          const __m512 sum = _mm512_loadu_ps(sums[tile][r]);
          return width == 16 ? sum : _mm512_add_ps(sum, _mm512_loadu_ps(sums[tile][8 + r]));
        };
        Interleaved a = interleaved(of(0), of(1)), b = interleaved(of(2), of(3));
        if (fp8) {
          const Interleaved first = pairs_interleaved(a.first, b.first), second = pairs_interleaved(a.second, b.second);
          a = first;
          b = second;
        }
        float* to = h_.sums + r * h_.dim + c;
        const __m512 all[] = {a.first, a.second, b.first, b.second};
        for (int i = 0; i < 4; ++i, to += 16) {
          const __m512 earlier = _mm512_mul_ps(_mm512_loadu_ps(to), _mm512_set1_ps(shrink[r]));
          _mm512_storeu_ps(to, _mm512_fmadd_ps(all[i], _mm512_set1_ps(fp8 ? kSums : 1.0f), earlier));
        }
      }
    }
  }

  const HeadKeys& h_;
  Scratch& s_;
  Ahead next_keys_{h_.next_keys}, next_values_{h_.next_values};
  std::int64_t first_ = 0;
  int count_ = 0, steps_ = 0;
  alignas(64) float top_[16], before_[16], total_[16];  ///< top_: the largest scores, before_: at first; powers of two
};

}  // namespace

void attend_amx(const HeadKeys& head) {
  alignas(64) Scratch scratch;
  if (head.rows <= 8) {
    head.fp8 ? Head<8, true>(head, scratch).run() : Head<8, false>(head, scratch).run();
  } else {
    head.fp8 ? Head<16, true>(head, scratch).run() : Head<16, false>(head, scratch).run();
  }
}

}  // namespace krasis::simd

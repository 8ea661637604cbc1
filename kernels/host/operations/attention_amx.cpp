// Compiled with AVX-512 F, BW, DQ, VL, VBMI and AMX: only intrinsics and functions of this file (simd_kernels.h says
// why).
#include <immintrin.h>

#include "kernels/host/operations/attention_kernel.h"
// Behind the header:
#include "kernels/host/operations/amx.inc"

/// 128 keys at a time: S = K Q^T, weights P = exp(scale S - maximum), sums += P V, as in flash attention (Dao et al.
/// 2022). Keys are the left operand as they lie in the cache, once they are BF16; values are the right one, two keys'
/// numbers beside each other. So neither is transposed, only q (once) and P, which is small.
namespace krasis::simd {
namespace {

constexpr int kKeys = 128;
constexpr int kStep = 32;     ///< keys that one tile product of weights and values takes
constexpr int kAtFirst = 16;  ///< keys that are asked for before the first is read
constexpr int kTileBytes = 1024;

struct alignas(64) Scratch {
  std::byte q[HeadKeys::kMostDim / 32][kTileBytes];
  std::byte
      tiles[kKeys * HeadKeys::kMostDim * 2];  ///< of keys [kKeys / 16, dim / 32], then of values [steps, dim / 16]
  float scores[kKeys * 16];                   ///< [kKeys, width], then weights
  std::byte weights[kKeys / kStep][3][kTileBytes];
  float products[4][16][16];
  float key_scales[kKeys], value_scales[kKeys];
};

__m512i load(const void* from) {
  return _mm512_loadu_si512(from);
}

/// Tiles for keys x queries: 0, 1 are sums, 2, 3 keys, 4 queries.
void configure_scores(int width) {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 5; ++tile) {
    config.rows[tile] = 16;
    config.row_bytes[tile] = static_cast<std::uint16_t>(tile == 2 || tile == 3 ? 64 : 4 * width);
  }
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// Tiles for weights x values: 0 to 3 are sums, 4 is a part of the weights, 5 to 7 are values.
void configure_sums(int width) {
  alignas(64) TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = static_cast<std::uint8_t>(tile >= 5 ? 16 : width);
    config.row_bytes[tile] = 64;
  }
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// The upper and lower bytes of the BF16 numbers that FP8 codes stand for, by the codes' lower 7 bits.
struct Fp8Tables {
  alignas(64) std::uint8_t high[128] = {};
  alignas(64) std::uint8_t low[128] = {};
  constexpr Fp8Tables() {
    for (unsigned code = 0; code < 128; ++code) {
      const unsigned exponent = code >> 3, mantissa = code & 7;
      unsigned bits = (exponent + 120) << 7 | mantissa << 4;
      if (code == 127) bits = 0x7fc0;
      if (exponent == 0) {  // mantissa * 2^-9
        const unsigned top = mantissa >= 4 ? 2 : mantissa >= 2 ? 1 : 0;
        bits = mantissa == 0 ? 0 : (118 + top) << 7 | ((mantissa << (7 - top)) & 0x7f);
      }
      high[code] = static_cast<std::uint8_t>(bits >> 8);
      low[code] = static_cast<std::uint8_t>(bits & 0xff);
    }
  }
};

/// 64 codes as bytes of BF16 numbers.
struct Widened {
  __m512i high, low;
};
Widened widen(const Fp8Tables& tables, __m512i codes) {
  const __m512i sign = _mm512_and_si512(codes, _mm512_set1_epi8(static_cast<char>(0x80)));
  return {_mm512_or_si512(_mm512_permutex2var_epi8(load(tables.high), codes, load(tables.high + 64)), sign),
          _mm512_permutex2var_epi8(load(tables.low), codes, load(tables.low + 64))};
}

void prefetch(const std::byte* from, int bytes) {
  for (int i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(from + i), _MM_HINT_T1);
}

/// `width`: rows of a tile.
template <int width>
class Head {
 public:
  Head(const HeadKeys& h, Scratch& s) : h_(h), s_(s) {}

  void run() {
    load_queries();
    for (int key = 0; key < kAtFirst && key < h_.count; ++key) prefetch(row(h_.keys, key), row_bytes());
    for (std::int64_t first = 0; first < h_.count; first += kKeys) {
      first_ = first;
      count_ = static_cast<int>(h_.count - first < kKeys ? h_.count - first : kKeys);
      steps_ = (count_ + kStep - 1) / kStep;
      load_keys();
      multiply_keys();
      softmax();
      load_values();
      multiply_values();
    }
    _tile_release();
  }

 private:
  const std::byte* row(const std::byte* plane, int key) const {
    return plane + static_cast<std::size_t>(first_ + key) * h_.stride;
  }
  int row_bytes() const { return h_.fp8 ? h_.dim : 2 * h_.dim; }

  /// Queries as the right operand: row j has numbers 2 j and 2 j + 1 of all of them.
  void load_queries() {
    for (int piece = 0; piece < h_.dim / 32; ++piece) {
      __m512i v[16];
      for (int r = 0; r < 16; ++r) {
        v[r] = r < h_.rows ? load(h_.q + r * h_.dim + 32 * piece) : _mm512_setzero_si512();
      }
      transpose(v);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(s_.q[piece] + 64 * j, v[j]);
    }
  }

  void load_keys() {
    const int pieces = h_.dim / 32;
    // So that the halves of 64 numbers come out in order.
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int key = 0; key < steps_ * kStep; ++key) {
      std::byte* to = s_.tiles + key / 16 * pieces * kTileBytes + key % 16 * 64;
      const bool is = key < count_;
      s_.key_scales[key] = is && h_.fp8 ? h_.key_scales[(first_ + key) * h_.scale_stride] : 1.0f;
      const std::byte* from = row(h_.keys, is ? key : 0);
      if (is) prefetch(row(h_.values, key), row_bytes());
      if (h_.fp8) {
        for (int c = 0; c < h_.dim; c += 64, to += 2 * kTileBytes) {
          const Widened w =
              widen(tables_, _mm512_permutexvar_epi64(order, is ? load(from + c) : _mm512_setzero_si512()));
          _mm512_storeu_si512(to, _mm512_unpacklo_epi8(w.low, w.high));
          _mm512_storeu_si512(to + kTileBytes, _mm512_unpackhi_epi8(w.low, w.high));
        }
      } else {
        for (int piece = 0; piece < pieces; ++piece, to += kTileBytes) {
          _mm512_storeu_si512(to, is ? load(from + 64 * piece) : _mm512_setzero_si512());
        }
      }
    }
    written();
  }

  /// scores[key, row]
  void multiply_keys() {
    const int pieces = h_.dim / 32;
    configure_scores(width);
    for (int key = 0; key < steps_ * kStep; key += kStep) {
      const std::byte* keys = s_.tiles + key / 16 * pieces * kTileBytes;
      _tile_zero(0);
      _tile_zero(1);
      for (int piece = 0; piece < pieces; ++piece, keys += kTileBytes) {
        _tile_loadd(4, s_.q[piece], 64);
        _tile_loadd(2, keys, 64);
        _tile_loadd(3, keys + pieces * kTileBytes, 64);
        _tile_dpbf16ps(0, 2, 4);
        _tile_dpbf16ps(1, 3, 4);
      }
      _tile_stored(0, s_.scores + key * width, 4 * width);
      _tile_stored(1, s_.scores + (key + 16) * width, 4 * width);
    }
    written();
  }

  /// exp(x) of numbers that are not above 0, within 2 ulp (as simd_avx2.cpp); 0 below -87.3, NaN stays.
  static __m512 exp16(__m512 given) {
    const __m512 lowest = _mm512_set1_ps(-87.3f);
    const __m512 x = _mm512_max_ps(lowest, given);  // NaN is the second operand
    const __m512i power = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)));
    const __m512 n = _mm512_cvtepi32_ps(power);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    const __m512i two_to_n = _mm512_slli_epi32(_mm512_add_epi32(power, _mm512_set1_epi32(127)), 23);
    const __mmask16 tiny = _mm512_cmp_ps_mask(given, lowest, _CMP_LT_OQ);
    return _mm512_maskz_mov_ps(static_cast<__mmask16>(~tiny), _mm512_mul_ps(p, _mm512_castsi512_ps(two_to_n)));
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

  void softmax() {
    const int all = steps_ * kStep * width;
    const float infinity = __builtin_inff();
    for (int key = 0; key < steps_ * kStep; ++key) {
      s_.value_scales[key] = h_.fp8 && key < count_ ? h_.value_scales[(first_ + key) * h_.scale_stride] : 1.0f;
    }
    const __m512 scale = _mm512_set1_ps(h_.scale);
    for (int at = 0; at < all; at += 16) {
      const __m512 score = _mm512_mul_ps(_mm512_loadu_ps(s_.scores + at), scale);
      _mm512_storeu_ps(s_.scores + at, _mm512_mul_ps(score, of_keys(s_.key_scales, at)));
    }
    for (int at = count_ * width; at < all; ++at) s_.scores[at] = -infinity;
    alignas(64) float before[16], top[16], sums[16];
    for (int r = 0; r < 16; ++r) before[r] = r % width < h_.rows ? h_.maximum[r % width] : 0.0f;
    __m512 largest = _mm512_loadu_ps(before);
    for (int at = 0; at < all; at += 16) largest = _mm512_max_ps(_mm512_loadu_ps(s_.scores + at), largest);
    _mm512_storeu_ps(top, largest);
    fold(top, [](float a, float b) { return a > b ? a : b; });
    const __m512 shift = _mm512_loadu_ps(top);
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < all; at += 16) {
      const __m512 weight = exp16(_mm512_sub_ps(_mm512_loadu_ps(s_.scores + at), shift));
      sum = _mm512_add_ps(sum, weight);
      _mm512_storeu_ps(s_.scores + at, _mm512_mul_ps(weight, of_keys(s_.value_scales, at)));
    }
    _mm512_storeu_ps(sums, sum);
    fold(sums, [](float a, float b) { return a + b; });
    _mm512_storeu_ps(shrink_, exp16(_mm512_sub_ps(_mm512_loadu_ps(before), shift)));
    for (int r = 0; r < h_.rows; ++r) {
      h_.maximum[r] = top[r];
      h_.total[r] = h_.total[r] * shrink_[r] + sums[r];
    }
    for (int step = 0; step < steps_; ++step) split_weights(step);
    written();
  }

  /// Weights as the left operand, each as the sum of three BF16 numbers: the upper halves of what is left.
  void split_weights(int step) {
    __m512i even[16], odd[16];  // of even and of odd keys, row by row
    const float* from = s_.scores + step * kStep * width;
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
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    for (int r = 0; r < width; ++r) {
      for (int part = 0; part < 3; ++part) {
        const __m512i e = _mm512_and_si512(even[r], upper), o = _mm512_and_si512(odd[r], upper);
        _mm512_storeu_si512(s_.weights[step][part] + 64 * r, _mm512_or_si512(_mm512_srli_epi32(e, 16), o));
        even[r] = _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(even[r]), _mm512_castsi512_ps(e)));
        odd[r] = _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(odd[r]), _mm512_castsi512_ps(o)));
      }
    }
  }

  /// Row j of a tile has 16 numbers of keys 2 j and 2 j + 1.
  void load_values() {
    // So that the quarters of 64 codes, or the halves of 32 numbers, come out in order.
    const __m512i quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i halves = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const auto at = [&](int key, int byte) {
      return key < count_ ? load(row(h_.values, key) + byte) : _mm512_setzero_si512();
    };
    for (int key = 0; key < steps_ * kStep; key += 2) {
      std::byte* to = s_.tiles + key / kStep * (h_.dim / 16) * kTileBytes + key % kStep / 2 * 64;
      for (int k = key; k < key + 2; ++k) {
        if (first_ + kKeys + k < h_.count + h_.behind) prefetch(row(h_.keys, kKeys + k), row_bytes());
      }
      if (h_.fp8) {
        for (int c = 0; c < h_.dim; c += 64, to += 4 * kTileBytes) {
          const Widened a = widen(tables_, _mm512_permutexvar_epi32(quarters, at(key, c)));
          const Widened b = widen(tables_, _mm512_permutexvar_epi32(quarters, at(key + 1, c)));
          const __m512i a_first = _mm512_unpacklo_epi8(a.low, a.high), a_second = _mm512_unpackhi_epi8(a.low, a.high);
          const __m512i b_first = _mm512_unpacklo_epi8(b.low, b.high), b_second = _mm512_unpackhi_epi8(b.low, b.high);
          _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a_first, b_first));
          _mm512_storeu_si512(to + kTileBytes, _mm512_unpackhi_epi16(a_first, b_first));
          _mm512_storeu_si512(to + 2 * kTileBytes, _mm512_unpacklo_epi16(a_second, b_second));
          _mm512_storeu_si512(to + 3 * kTileBytes, _mm512_unpackhi_epi16(a_second, b_second));
        }
      } else {
        for (int c = 0; c < h_.dim; c += 32, to += 2 * kTileBytes) {
          const __m512i a = _mm512_permutexvar_epi64(halves, at(key, 2 * c));
          const __m512i b = _mm512_permutexvar_epi64(halves, at(key + 1, 2 * c));
          _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, b));
          _mm512_storeu_si512(to + kTileBytes, _mm512_unpackhi_epi16(a, b));
        }
      }
    }
    written();
  }

  /// sums = shrink * sums + weights x values, 64 columns at a time.
  void multiply_values() {
    configure_sums(width);
    for (int c = 0; c < h_.dim; c += 64) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int step = 0; step < steps_; ++step) {
        const std::byte* values = s_.tiles + (step * (h_.dim / 16) + c / 16) * kTileBytes;
        for (int part = 0; part < 3; ++part) {  // four sums in turn: each waits for its own last one
          _tile_loadd(4, s_.weights[step][part], 64);
          _tile_loadd(5, values, 64);
          _tile_dpbf16ps(0, 4, 5);
          _tile_loadd(6, values + kTileBytes, 64);
          _tile_dpbf16ps(1, 4, 6);
          _tile_loadd(7, values + 2 * kTileBytes, 64);
          _tile_dpbf16ps(2, 4, 7);
          _tile_loadd(5, values + 3 * kTileBytes, 64);
          _tile_dpbf16ps(3, 4, 5);
        }
      }
      _tile_stored(0, s_.products[0], 64);
      _tile_stored(1, s_.products[1], 64);
      _tile_stored(2, s_.products[2], 64);
      _tile_stored(3, s_.products[3], 64);
      written();
      for (int r = 0; r < h_.rows; ++r) {
        const __m512 shrink = _mm512_set1_ps(shrink_[r]);
        for (int i = 0; i < 4; ++i) {
          float* to = h_.sums + r * h_.dim + c + 16 * i;
          _mm512_storeu_ps(to, _mm512_fmadd_ps(shrink, _mm512_loadu_ps(to), _mm512_loadu_ps(s_.products[i][r])));
        }
      }
    }
  }

  static constexpr Fp8Tables tables_{};  // no code of this file may run before main()
  const HeadKeys& h_;
  Scratch& s_;
  std::int64_t first_ = 0;
  int count_ = 0, steps_ = 0;
  alignas(64) float shrink_[16];
};

}  // namespace

void attend_amx(const HeadKeys& head) {
  alignas(64) Scratch scratch;
  if (head.rows <= 8) {
    Head<8>(head, scratch).run();
  } else {
    Head<16>(head, scratch).run();
  }
}

}  // namespace krasis::simd

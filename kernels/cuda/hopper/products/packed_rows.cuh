#pragma once

#include "kernels/cuda/hopper/instructions.cuh"
#include "kernels/cuda/operations/tensor_cores/fragments.cuh"

/// Packed weights of a step in shared memory, and from there in registers as the operand a of warpgroup products.
///
/// A step has 128 rows of weights and kStepColumns columns. Weights stay packed until a lane unpacks the numbers that
/// it multiplies: integers and E2M1 numbers are exact in BF16. Integer scales multiply FP32 sums, as in the reference;
/// MXFP4's are powers of two and go into the numbers, exactly (from 2^126 on the product can leave BF16's range, and
/// FP32's with it).
namespace krasis::cuda::hopper {

constexpr int kStepColumns = 128;
constexpr int kStepRows = 128;  ///< of weights, 64 for each of two warpgroups

/// kGroup: columns that share a scale, at most those of a step; a multiple of it for groups of 128 and more.
template <Element kElement, int kGroup>
struct PackedRows {
  static constexpr Element kFormat = kElement;
  static constexpr bool kNibbles = bits_of(kElement) == 4;
  static constexpr int kRowBytes = kStepColumns * bits_of(kElement) / 8;
  static constexpr int kBytes = kStepRows * kRowBytes;
  static constexpr int kRowChunks = kRowBytes / 16;
  /// Whether sums of a group are multiplied by its scale.
  static constexpr bool kScalesSums = kElement == Element::Int4 || kElement == Element::Int8;
  static constexpr int kScales = kElement == Element::Bf16 ? 0 : kStepColumns / kGroup;  ///< of a row in a step
  static constexpr int kScaleBytes = kScales * kStepRows * 2;                            ///< BF16, [kScales][rows]
  /// By how much a group of the matrix is larger than kGroup, as a power of two.
  __device__ static int scale_shift(const WeightShape& shape) {
    return kScales == 0 ? 0 : shape.group_shift - std::countr_zero(static_cast<unsigned>(kGroup));
  }
  /// Columns whose products are started together.
  static constexpr int kPart = kScalesSums && kGroup < 64 ? kGroup : 64;
  static constexpr int kParts = kStepColumns / kPart;
  static constexpr int kProducts = kPart / 16;
  using Fragments = std::uint32_t[kProducts][4];

  /// Where the 16 bytes `chunk` of a row lie, so that 8 rows read at once meet all banks.
  __device__ static constexpr int chunk_place(int row, int chunk) {
    return kRowChunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
  }

  /// Numbers of part kAt for the lane's rows `row` and row + 8 (of which row % 16 < 8).
  template <int kAt>
  __device__ static void unpack(Fragments& a, const std::uint8_t* weights, const std::uint16_t* scales, int row,
                                int lane) {
    if constexpr (kElement == Element::Bf16) {
      const int from = row - row % 8 + lane % 16;
#pragma unroll
      for (int p = 0; p < kProducts; ++p) {
        const int chunk = (kAt * kProducts + p) * 2 + lane / 16;
        load_fragment(a[p], weights + from * kRowBytes + chunk_place(from, chunk) * 16);
      }
    } else if constexpr (kElement == Element::Int8) {
#pragma unroll
      for (int i = 0; i < kProducts * 4; ++i) {
        const std::uint32_t two = two_bytes(weights, row + i % 2 * 8, lane, (kAt * kProducts + i / 4) * 2 + i % 4 / 2);
        a[i / 4][i % 4] =
            fma_pair(and_or(two, 0x00800080u, 0x43004300u), 0xbf80bf80u, and_or(two, 0x007f007fu, 0x43004300u));
      }
    } else if constexpr (kPart == 64) {
      // Two instructions have the low nibbles of 32 bytes, columns 0 to 31, two the high ones, columns 32 to 63.
      std::uint32_t low[2] = {}, high[2] = {};
      if constexpr (kElement == Element::Mxfp4) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          low[r] = both_halves(scales[kAt * 2 * kStepRows + row + r * 8]);
          high[r] = both_halves(scales[(kAt * 2 + 1) * kStepRows + row + r * 8]);
        }
      }
#pragma unroll
      for (int i = 0; i < kProducts * 2; ++i) {
        const std::uint32_t two = two_bytes(weights, row + i % 2 * 8, lane, kAt * 4 + i / 2);
        a[i / 4][i % 4] = number<false>(two, low[i % 2]);
        a[i / 4 + 2][i % 4] = number<true>(two, high[i % 2]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kProducts * 4; ++i) {
        const std::uint32_t two = two_bytes(weights, row + i % 2 * 8, lane, kAt / 2 * 4 + i / 4 * 2 + i % 4 / 2);
        a[i / 4][i % 4] = number<kAt % 2 == 1>(two, 0);
      }
    }
  }

 private:
  /// Bytes 2t and 2t + 1 of the 8 bytes `unit` of a row, in the lower bytes of both halves.
  __device__ static std::uint32_t two_bytes(const std::uint8_t* weights, int row, int lane, int unit) {
    const std::uint8_t* from =
        weights + row * kRowBytes + chunk_place(row, unit / 2) * 16 + unit % 2 * 8 + lane % 4 * 2;
    return __byte_perm(*reinterpret_cast<const std::uint16_t*>(from), 0, 0x4140);
  }
  /// (a & b) | c in one instruction, as in layout.h's bits of numbers.
  __device__ static std::uint32_t and_or(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    std::uint32_t d;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }
  __device__ static std::uint32_t both_halves(std::uint16_t bits) {
    return __byte_perm(bits, 0, 0x1010);
  }
  template <bool kHigh>
  __device__ static std::uint32_t number(std::uint32_t two, std::uint32_t scale) {
    if constexpr (kElement == Element::Int4) {
      return fma_pair(and_or(kHigh ? two >> 4 : two, 0x000f000fu, 0x43004300u), 0x3f803f80u, 0xc308c308u);
    } else {
      // First to the number, then to the scaled one: one factor alone would leave the range of BF16.
      const std::uint32_t plain =
          fma_pair(kHigh ? mxfp4_high_bits(two) : mxfp4_low_bits(two), 0x7e807e80u, 0x80008000u);
      return fma_pair(plain, scale, 0x80008000u);
    }
  }
};

}  // namespace krasis::cuda::hopper

#pragma once

#include <bit>
#include <cstdint>

#include "base/format.h"

/// Index arithmetic of the kernels, in plain constexpr functions, so that tests without a GPU hold it against the words
/// of base/format.h and of the PTX manual.
///
/// Which columns a tensor core instruction multiplies is free as long as both operands agree. mma.m16n8k16 gives lane l
/// (group g = l / 4, member t = l % 4) the columns 2t, 2t+1, 2t+8, 2t+9 of its 16. Here these are 4 *consecutive*
/// columns, and two instructions in a row take 8 (a piece): what a lane loads with one wide load, from weights and from
/// activations, is what it multiplies, without a shuffle and without ldmatrix.
namespace krasis::cuda {

/// Columns of a piece: 16 bytes of BF16.
constexpr int kPiece = 8;

/// How the 4 lanes of a group walk along a row of packed weights: each loads `load_bytes`, together a unit of `columns`
/// columns; a lane's load holds `pieces` pieces.
struct UnitShape {
  int load_bytes;
  int columns;
  int pieces;
  int scales;  ///< scales that a row has in a unit; 0 = none
};
/// `wide`: 16 bytes a lane, for groups that are multiples of 128 (INT4) or 64 (INT8); else all the lanes' columns of
/// one piece lie within the same 32, so that any group of 32 is met exactly.
constexpr UnitShape unit_shape(Element element, bool wide) {
  switch (element) {
    case Element::Int4:
      return wide ? UnitShape{16, 128, 4, 1} : UnitShape{8, 64, 2, 2};
    case Element::Mxfp4:
      return {8, 64, 2, 2};
    case Element::Int8:
      return wide ? UnitShape{16, 64, 2, 1} : UnitShape{8, 32, 1, 1};
    case Element::Bf16:
      break;
  }
  return {16, 32, 1, 0};
}
/// The first column, within the unit, of piece `piece` of lane member t. 4-bit pieces 0 .. pieces/2-1 are low nibbles,
/// the others high nibbles of the same bytes.
constexpr int piece_column(Element element, bool wide, int t, int piece) {
  if (bits_of(element) == 4) {
    const UnitShape unit = unit_shape(element, wide);
    const int byte = t * unit.load_bytes;  // of the unit; a block of 64 columns has 32 bytes
    const int half = unit.pieces / 2;
    return byte / 32 * 64 + byte % 32 + piece / half * 32 + piece % half * kPiece;
  }
  if (element == Element::Int8 && wide) return 16 * t + piece * kPiece;
  return kPiece * t;
}
/// Whether kernels that multiply by tensor cores know the format: groups are powers of two from 32 on.
constexpr bool tiles_support(const WeightFormat& format) {
  return format.element == Element::Bf16 ||
         (format.group_size >= 32 && std::has_single_bit(static_cast<unsigned>(format.group_size)));
}
constexpr bool is_wide(const WeightFormat& format) {
  return (format.element == Element::Int4 && format.group_size % 128 == 0) ||
         (format.element == Element::Int8 && format.group_size % 64 == 0);
}

/// Two bytes, one in the lower and one in the upper half of a word (bits 0-7 and 16-23), as the bits of two BF16
/// numbers.
///
/// INT4, stored as n = q + 8, of the low or the high nibbles: 128 + n, whose last place is 1; q is that minus 136.
constexpr std::uint32_t int4_low_bits(std::uint32_t two) {
  return (two & 0x000f000fu) | 0x43004300u;
}
constexpr std::uint32_t int4_high_bits(std::uint32_t two) {
  return ((two >> 4) & 0x000f000fu) | 0x43004300u;
}
/// MXFP4: the bits s eem become s 000000ee m000000, which is the E2M1 number times 2^-126.
constexpr std::uint32_t mxfp4_low_bits(std::uint32_t two) {
  return ((two << 6) & 0x01c001c0u) | ((two << 12) & 0x80008000u);
}
constexpr std::uint32_t mxfp4_high_bits(std::uint32_t two) {
  return ((two << 2) & 0x01c001c0u) | ((two << 8) & 0x80008000u);
}
/// INT8 in two's complement, s the sign bit and n the others: q is 128 + n (number) minus 128 or, with s, 256 (base).
constexpr std::uint32_t int8_number_bits(std::uint32_t two) {
  return (two & 0x007f007fu) | 0x43004300u;
}
constexpr std::uint32_t int8_base_bits(std::uint32_t two) {
  return (two & 0x00800080u) | 0x43004300u;
}
/// E4M3, here as the *upper* bytes of the halves: s eeee mmm becomes s 0000eeee mmm0000, the number times 2^-120. (NaN
/// becomes 480; kv_append stores none without a NaN in its input.)
constexpr std::uint32_t e4m3_bits(std::uint32_t two) {
  return ((two >> 4) & 0x07f007f0u) | (two & 0x80008000u);
}

/// Shared memory is 32 banks of 4 bytes; a 16-byte access of a warp runs in 4 phases of 8 lanes. Tiles have rows of 128
/// bytes (8 chunks of 16) or multiples of that; these say at which chunk of its row a chunk lies.
///
/// For lanes that read 2 rows of 4 chunks in a phase (pieces): odd rows use the other half of the banks.
constexpr int swizzle_pairs(int row, int chunk) {
  return chunk ^ ((row & 1) << 2);
}
/// For lanes that read the same chunk of 8 rows in a phase (ldmatrix).
constexpr int swizzle_eights(int row, int chunk) {
  return chunk ^ (row & 7);
}
/// For rows of 64 bytes read by 16 lanes, 8 bytes each, 32 bytes of 4 rows in a phase (INT8).
constexpr int swizzle_quads(int row, int chunk) {
  return chunk ^ (((row >> 1) & 1) << 1);
}

/// Part `index` of `count` of [0, total): contiguous, in order, sizes that differ by one at most.
struct Range {
  int begin, end;
};
constexpr Range part_of(int total, int index, int count) {
  return {static_cast<int>(static_cast<std::int64_t>(total) * index / count),
          static_cast<int>(static_cast<std::int64_t>(total) * (index + 1) / count)};
}

/// Tiles of `tile` rows that `pairs` rows of at most `experts` experts can make, whatever the router says.
constexpr std::int64_t most_tiles(std::int64_t pairs, std::int64_t experts, std::int64_t tile) {
  return pairs / tile + (pairs < experts ? pairs : experts);
}

}  // namespace krasis::cuda

#include "kernels/cuda/operations/tensor_cores/layout.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <random>
#include <set>
#include <vector>

#include "tests/kernels/operations/support.h"

/// Index arithmetic that kernels share with these tests. They need no GPU.
namespace krasis::cuda {
namespace {

struct Walk {
  Element element;
  bool wide;
};
const Walk kWalks[] = {{Element::Int4, true}, {Element::Int4, false}, {Element::Mxfp4, false},
                       {Element::Int8, true}, {Element::Int8, false}, {Element::Bf16, false}};

/// The column that a number has by the words of base/format.h: byte `byte` of a row and, of 4 bits, the nibble.
int column_at(Element element, int byte, bool high) {
  if (bits_of(element) == 4) return byte / 32 * 64 + byte % 32 + (high ? 32 : 0);
  return element == Element::Int8 ? byte : byte / 2;
}

TEST(RowWalk, PiecesAreTheColumnsThatTheirBytesHold) {
  for (const Walk& walk : kWalks) {
    const UnitShape unit = unit_shape(walk.element, walk.wide);
    EXPECT_EQ(unit.columns * bits_of(walk.element), 4 * unit.load_bytes * 8);
    std::set<int> columns;
    for (int t = 0; t < 4; ++t) {
      for (int piece = 0; piece < unit.pieces; ++piece) {
        for (int i = 0; i < kPiece; ++i) {
          const int column = piece_column(walk.element, walk.wide, t, piece) + i;
          columns.insert(column);
          int byte = t * unit.load_bytes;
          bool high = false;
          if (bits_of(walk.element) == 4) {
            high = piece >= unit.pieces / 2;  // the kernel unpacks low nibbles first
            byte += piece % (unit.pieces / 2) * kPiece + i;
          } else {
            byte += (piece * kPiece + i) * bits_of(walk.element) / 8;
          }
          EXPECT_EQ(column, column_at(walk.element, byte, high)) << name_of(walk.element) << " lane " << t;
        }
      }
    }
    EXPECT_EQ(static_cast<int>(columns.size()), unit.columns);
    EXPECT_EQ(*columns.rbegin(), unit.columns - 1);
  }
}

TEST(RowWalk, PartsOfAUnitShareOneScale) {
  for (const Walk& walk : kWalks) {
    const UnitShape unit = unit_shape(walk.element, walk.wide);
    if (unit.scales == 0) continue;
    const int smallest = walk.wide ? (walk.element == Element::Int4 ? 128 : 64) : 32;  // of the groups it is used for
    for (int t = 0; t < 4; ++t) {
      for (int piece = 0; piece < unit.pieces; ++piece) {
        const int part = piece / (unit.pieces / unit.scales);
        const int column = piece_column(walk.element, walk.wide, t, piece);
        EXPECT_EQ(column / smallest, part * (unit.columns / unit.scales) / smallest);
        EXPECT_EQ((column + kPiece - 1) / smallest, column / smallest);
      }
    }
  }
}

TEST(RowWalk, FormatsOfThePackedCacheAreSupported) {
  for (const int group : {32, 64, 128, 256}) EXPECT_TRUE(tiles_support({Element::Int4, group}));
  for (const int group : {0, 2, 4, 16, 48, 96, 192}) EXPECT_FALSE(tiles_support({Element::Int8, group}));
  EXPECT_TRUE(is_wide({Element::Int4, 128}));
  EXPECT_FALSE(is_wide({Element::Int4, 64}));
  EXPECT_TRUE(is_wide({Element::Int8, 64}));
  EXPECT_FALSE(is_wide({Element::Int8, 32}));
}

/// The fragments of mma.m16n8k16 by the PTX ISA's tables, and what the instruction computes.
struct Lane {
  std::array<std::array<double, 2>, 4> a;  ///< 4 registers of 2
  std::array<std::array<double, 2>, 2> b;
  std::array<double, 4> c{};
};
void mma(std::vector<Lane>& warp) {
  double a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, member = lane % 4;
    for (int r = 0; r < 4; ++r) {
      for (int i = 0; i < 2; ++i) a[group + (r % 2) * 8][member * 2 + i + (r / 2) * 8] = warp[lane].a[r][i];
    }
    for (int r = 0; r < 2; ++r) {
      for (int i = 0; i < 2; ++i) b[member * 2 + i + r * 8][group] = warp[lane].b[r][i];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = (lane >> 2) + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      for (int k = 0; k < 16; ++k) warp[lane].c[i] += a[row][k] * b[k][column];
    }
  }
}

TEST(TensorCore, APieceIsEightConsecutiveColumnsOfBothOperands) {
  // 16 rows and 8 columns of 32 numbers; lanes hold pieces as the kernels do (fragments.cuh, mma_piece).
  std::mt19937 engine(1);
  std::uniform_int_distribution<int> small(-9, 9);
  std::vector<std::array<double, 32>> rows(16), columns(8);
  for (auto& row : rows)
    for (double& v : row) v = small(engine);
  for (auto& column : columns)
    for (double& v : column) v = small(engine);
  std::vector<Lane> warp(32);
  for (int half = 0; half < 2; ++half) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4;
      const int begin = piece_column(Element::Bf16, false, lane % 4, 0) + half * 4;  // pairs 0, 1, then 2, 3
      for (int pair = 0; pair < 2; ++pair) {
        for (int i = 0; i < 2; ++i) {
          warp[lane].a[2 * pair][i] = rows[g][begin + 2 * pair + i];
          warp[lane].a[2 * pair + 1][i] = rows[g + 8][begin + 2 * pair + i];
          warp[lane].b[pair][i] = columns[g][begin + 2 * pair + i];
        }
      }
    }
    mma(warp);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = 0;
      for (int k = 0; k < 32; ++k) sum += rows[row][k] * columns[column][k];
      EXPECT_EQ(warp[lane].c[i], sum);
    }
  }
}

double half_of(std::uint32_t two, bool upper) {
  return static_cast<float>(bf16::from_bits(static_cast<std::uint16_t>(upper ? two >> 16 : two)));
}

TEST(Unpacking, EveryByteInEitherHalfGivesItsNumbers) {
  const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const auto e2m1 = [&](int code) { return (code < 8 ? 1 : -1) * magnitudes[code % 8]; };
  for (int byte = 0; byte < 256; ++byte) {
    const int other = byte * 37 % 256;  // what is in the other half does not matter
    for (const bool upper : {false, true}) {
      const auto two = static_cast<std::uint32_t>(upper ? byte << 16 | other : byte | other << 16);
      EXPECT_EQ(half_of(int4_low_bits(two), upper) - 136, byte % 16 - 8);
      EXPECT_EQ(half_of(int4_high_bits(two), upper) - 136, byte / 16 - 8);
      EXPECT_EQ(half_of(mxfp4_low_bits(two), upper) * 0x1p126, e2m1(byte % 16));
      EXPECT_EQ(half_of(mxfp4_high_bits(two), upper) * 0x1p126, e2m1(byte / 16));
      EXPECT_EQ(half_of(int8_number_bits(two), upper) - half_of(int8_base_bits(two), upper),
                static_cast<std::int8_t>(byte));
      if (byte % 128 == 127) continue;  // NaN
      EXPECT_EQ(half_of(e4m3_bits(two << 8), upper) * 0x1p120, test::e4m3_value(byte));
    }
  }
}

/// The bytes of one phase of a warp's access: no two in one bank.
void expect_no_conflict(const std::vector<int>& addresses, int bytes) {
  std::set<int> banks;
  for (const int address : addresses) {
    for (int b = 0; b < bytes; b += 4) banks.insert((address + b) / 4 % 32);
  }
  EXPECT_EQ(banks.size(), addresses.size() * static_cast<std::size_t>(bytes) / 4);
}

TEST(Swizzle, PiecesOfTwoRowsInAPhase) {
  for (const int row_bytes : {128, 256, 512}) {
    for (int row = 0; row < 16; row += 2) {
      for (int half = 0; half < row_bytes / 64; ++half) {
        std::vector<int> addresses;
        for (int lane = 0; lane < 8; ++lane) {
          const int r = row + lane / 4;
          addresses.push_back(r * row_bytes + swizzle_pairs(r, half * 4 + lane % 4) * 16);
        }
        expect_no_conflict(addresses, 16);
      }
    }
  }
}

TEST(Swizzle, TheSameChunkOfEightRowsInAPhase) {
  for (const int row_bytes : {128, 256, 512}) {
    for (int chunk = 0; chunk < row_bytes / 16; ++chunk) {
      std::vector<int> addresses;
      for (int row = 8; row < 16; ++row) addresses.push_back(row * row_bytes + swizzle_eights(row, chunk) * 16);
      expect_no_conflict(addresses, 16);
    }
  }
}

TEST(Swizzle, HalvesOfFourRowsInAPhase) {
  for (int row = 0; row < 16; row += 4) {
    for (int half = 0; half < 2; ++half) {
      std::vector<int> addresses;
      for (int lane = 0; lane < 16; ++lane) {
        const int r = row + lane / 4, t = lane % 4;
        addresses.push_back(r * 64 + swizzle_quads(r, half * 2 + t / 2) * 16 + t % 2 * 8);
      }
      expect_no_conflict(addresses, 8);
    }
  }
}

TEST(Swizzle, KeepsEveryChunkOfARow) {
  for (int row = 0; row < 16; ++row) {
    for (const int chunks : {8, 16, 32}) {
      std::set<int> pairs, eights;
      for (int c = 0; c < chunks; ++c) {
        pairs.insert(swizzle_pairs(row, c));
        eights.insert(swizzle_eights(row, c));
      }
      EXPECT_EQ(static_cast<int>(pairs.size()), chunks);
      EXPECT_EQ(static_cast<int>(eights.size()), chunks);
      EXPECT_LT(*pairs.rbegin(), chunks);
      EXPECT_LT(*eights.rbegin(), chunks);
    }
    std::set<int> quads;
    for (int c = 0; c < 4; ++c) quads.insert(swizzle_quads(row, c));
    EXPECT_EQ(quads, (std::set{0, 1, 2, 3}));
  }
}

TEST(Ranges, PartsCoverTheWholeInOrder) {
  for (int total = 0; total < 70; ++total) {
    for (int count = 1; count < 20; ++count) {
      int end = 0;
      for (int i = 0; i < count; ++i) {
        const Range part = part_of(total, i, count);
        EXPECT_EQ(part.begin, end);
        EXPECT_LE(part.end - part.begin, (total + count - 1) / count);
        end = part.end;
      }
      EXPECT_EQ(end, total);
    }
  }
}

TEST(Ranges, NoChoiceOfExpertsMakesMoreTilesThanExpected) {
  test::Random random;
  SCOPED_TRACE(random.seed());
  for (int round = 0; round < 2000; ++round) {
    const int experts = random.integer(1, 40), tile = random.integer(1, 64), pairs = random.integer(1, 500);
    std::vector<int> counts(static_cast<std::size_t>(experts), 0);
    for (int i = 0; i < pairs; ++i) ++counts[static_cast<std::size_t>(random.integer(0, experts - 1))];
    std::int64_t tiles = 0;
    for (const int n : counts) tiles += (n + tile - 1) / tile;
    EXPECT_LE(tiles, most_tiles(pairs, experts, tile));
    // What the lists of the workspace hold: a count, the tiles (two numbers each), the order.
    if (tile >= 32) {
      EXPECT_LE(2 + 2 * most_tiles(pairs, experts, tile) + pairs, 4 * pairs + 1024);
    }
  }
}

}  // namespace
}  // namespace krasis::cuda

#include <algorithm>
#include <bit>
#include <span>

#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

/// The nearest code, ties to even, by trying all of them.
int nearest_code(double value, double scale, int low, int high) {
  int best = low;
  for (int q = low; q <= high; ++q) {
    // The quotient that is rounded is the FP32 one.
    const double quotient = static_cast<double>(static_cast<float>(value) / static_cast<float>(scale));
    const double d = std::fabs(quotient - q);
    const double best_d = std::fabs(quotient - best);
    if (d < best_d || (d == best_d && q % 2 == 0)) best = q;
  }
  return best;
}

TEST(Pack, EveryNumberIsTheNearestCodeTimesItsScale) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  for (const Element element : {Element::Int8, Element::Int4}) {
    const std::int64_t rows = 3;
    const std::int64_t columns = 160;
    const int group = 32;
    const MatrixLayout layout{{element, group}, rows, columns};
    const auto values = random.floats(rows * columns);
    std::vector<std::byte> bytes(layout.bytes());
    pack_rows(values, layout, bytes.data());
    const Matrix matrix{layout, bytes.data()};
    for (std::int64_t begin = 0; begin < rows * columns; begin += group) {
      float largest = 0;
      for (std::int64_t i = begin; i < begin + group; ++i) {
        if (std::fabs(values[i]) > std::fabs(largest)) largest = values[i];
      }
      const bool int4 = element == Element::Int4;
      const auto scale =
          static_cast<double>(static_cast<float>(int4 ? bf16(largest / -8.0f) : bf16(std::fabs(largest) / 127.0f)));
      for (std::int64_t i = begin; i < begin + group; ++i) {
        const int q = nearest_code(values[i], scale, int4 ? -8 : -127, int4 ? 7 : 127);
        EXPECT_EQ(decode(matrix, i / columns, i % columns), q * scale) << name_of(element) << " number " << i;
      }
    }
  }
}

TEST(Pack, TiesGoToTheEvenCode) {
  // The largest number, -8, makes the scale 1.
  const std::vector<float> values = {-8.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 6.5f, 7.5f};
  const MatrixLayout layout{{Element::Int4, 8}, 1, 8};
  std::vector<std::byte> bytes(layout.bytes());
  pack_rows(values, layout, bytes.data());
  const std::vector<double> expected = {-8, 0, 2, 2, 0, -2, 6, 7};  // 7.5 would round to 8, which does not exist
  EXPECT_EQ(decode(Matrix{layout, bytes.data()}), expected);
}

TEST(Pack, TheLargestPositiveValueGetsMinusEightAndANegativeScale) {
  const std::vector<float> values = {4.0f, -4.0f, 1.0f, 0.0f};
  const MatrixLayout layout{{Element::Int4, 4}, 1, 4};
  std::vector<std::byte> bytes(layout.bytes());
  pack_rows(values, layout, bytes.data());
  EXPECT_EQ(decode(Matrix{layout, bytes.data()}), (std::vector<double>{4.0, -3.5, 1.0, 0.0}));
}

TEST(Pack, ZeroGroupsAndPaddingAreZeroCodes) {
  for (const Element element : {Element::Int8, Element::Int4, Element::Bf16}) {
    const MatrixLayout layout{fit_format(element, 32, 96), 2, 96};
    std::vector<std::byte> bytes(layout.bytes(), std::byte{0xee});
    pack_rows(std::vector<float>(192, 0.0f), layout, bytes.data());
    const auto rows_end = static_cast<std::ptrdiff_t>(2 * layout.row_bytes());
    const std::byte zero = element == Element::Int4 ? std::byte{0x88} : std::byte{0};
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.begin() + rows_end, [zero](std::byte b) { return b == zero; }));
    EXPECT_TRUE(std::all_of(bytes.begin() + rows_end, bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST(Pack, NotANumberIsNotHidden) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(64, 1.0f);
    values[40] = bad;
    const MatrixLayout layout{{Element::Int4, 32}, 1, 64};
    std::vector<std::byte> bytes(layout.bytes());
    pack_rows(values, layout, bytes.data());
    const Matrix matrix{layout, bytes.data()};
    EXPECT_EQ(decode(matrix, 0, 31), 1.0);
    EXPECT_TRUE(std::isnan(decode(matrix, 0, 40)));
  }
}

TEST(Pack, Bf16InputGivesWhatItsFloatsGive) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  const auto values = random.bf16s(2 * 96);
  std::vector<float> floats;
  for (const bf16 v : values) floats.push_back(static_cast<float>(v));
  for (const FormatCase& f : kFormats) {
    const MatrixLayout layout{fit_format(f.element, f.group_size, 96), 2, 96};
    std::vector<std::byte> from_bf16(layout.bytes()), from_float(layout.bytes());
    pack_rows(values, layout, from_bf16.data());
    pack_rows(floats, layout, from_float.data());
    EXPECT_EQ(from_bf16, from_float) << name_of(f.element);
  }
}

TEST(Pack, UnpackingGivesTheDecodedNumbers) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  for (const FormatCase& f : kFormats) {
    const int columns = f.fits(100) ? 100 : 96;
    const PackedMatrix packed = random_matrix(random, f.element, f.group_size, 5, columns);
    auto out = poisoned(2 * columns);
    unpack_rows(packed.matrix(), 2, 2, out.data());
    for (int i = 0; i < 2 * columns; ++i) {
      EXPECT_EQ(static_cast<double>(out[i]), decode(packed.matrix(), 2 + i / columns, i % columns))
          << name_of(f.element);
    }
  }
}

/// Columns around and between the widths of the kernels; 160 and 96 leave half a block of 64 as padding.
struct SimdCase {
  Element element;
  int group_size;
  std::int64_t columns;
};
constexpr SimdCase kSimdCases[] = {
    {Element::Int4, 32, 32},   {Element::Int4, 32, 160},   {Element::Int4, 64, 192},  {Element::Int4, 128, 384},
    {Element::Int4, 16, 80},   {Element::Int4, 2, 98},     {Element::Int4, 256, 512}, {Element::Int8, 32, 96},
    {Element::Int8, 64, 64},   {Element::Int8, 128, 128},  {Element::Int8, 4, 100},   {Element::Mxfp4, 32, 32},
    {Element::Mxfp4, 32, 160}, {Element::Mxfp4, 32, 2048}, {Element::Bf16, 0, 77},
};

/// Packs by both codes into poisoned memory.
template <class T>
void expect_same_bytes(const std::vector<T>& values, const MatrixLayout& layout, const std::string& what) {
  std::vector<std::byte> scalar(layout.bytes(), std::byte{0xee}), fastest(layout.bytes(), std::byte{0x11});
  pack_rows(std::span<const T>(values), layout, scalar.data(), PackCode::Scalar);
  pack_rows(std::span<const T>(values), layout, fastest.data());
  ASSERT_EQ(scalar, fastest) << what << ' ' << name_of(layout.format.element) << " group " << layout.format.group_size
                             << ", " << layout.columns << " columns";
}

/// Groups of every kind that a quantizer may trip over.
std::vector<float> awkward_floats(Random& random, std::size_t count) {
  std::vector<float> values(count);
  const float unit = std::ldexp(1.0f, random.integer(-149, 120));
  const int kind = random.integer(0, 7);
  for (float& value : values) {
    const int step = random.integer(-16, 16);
    switch (kind) {
      case 0:  // multiples of half a step: ties, and several values of the largest magnitude with both signs
        value = static_cast<float>(step) * 0.5f * unit;
        break;
      case 1:  // a lonely large value
        value = unit * (random.integer(0, 60) == 0 ? 1000.0f : 1.0f) * static_cast<float>(random.uniform(-1, 1));
        break;
      case 2:  // subnormal
        value = static_cast<float>(step) * 0x1p-149f;
        break;
      case 3:  // around the smallest scales
        value = static_cast<float>(random.uniform(-2, 2)) * 0x1p-130f;
        break;
      case 4:
        value = step % 2 == 0 ? 0.0f : -0.0f;
        break;
      case 5:  // the largest numbers
        value = static_cast<float>(random.uniform(-1, 1)) * 0x1.FEp127f;
        break;
      case 6:  // any bits, so also NaN and infinity
        value = std::bit_cast<float>(static_cast<std::uint32_t>(random.integer(0, 0xffff)) << 16 |
                                     static_cast<std::uint32_t>(random.integer(0, 0xffff)));
        break;
      default:
        value = static_cast<float>(random.uniform(-1, 1)) * unit;
    }
  }
  if (random.integer(0, 3) == 0) {
    const float bad[] = {std::nanf(""), -std::numeric_limits<float>::infinity()};
    values[static_cast<std::size_t>(random.integer(0, static_cast<int>(count) - 1))] = bad[random.integer(0, 1)];
  }
  return values;
}

class PackSimd : public testing::Test {
 protected:
  void SetUp() override {
    if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this CPU has no AVX2";
  }
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};

TEST_F(PackSimd, GivesTheBytesOfTheDefinition) {
  for (const SimdCase& c : kSimdCases) {
    for (int round = 0; round < 200; ++round) {
      const MatrixLayout layout{{c.element, c.group_size}, random_.integer(1, 5), c.columns};
      std::vector<float> values;
      while (values.size() < static_cast<std::size_t>(layout.rows * layout.columns)) {
        const auto piece =
            awkward_floats(random_, static_cast<std::size_t>(c.element == Element::Bf16 ? 7 : c.group_size));
        values.insert(values.end(), piece.begin(), piece.end());
      }
      values.resize(static_cast<std::size_t>(layout.rows * layout.columns));
      expect_same_bytes(values, layout, "float");
      std::vector<bf16> rounded;
      for (const float value : values) rounded.push_back(bf16(value));
      expect_same_bytes(rounded, layout, "BF16");
      if (HasFailure()) return;
    }
  }
}

TEST_F(PackSimd, GivesTheBytesOfTheDefinitionForEveryBf16) {
  // Each number of BF16, in groups whose largest magnitude is far above, near, and its own.
  std::vector<bf16> values;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if (bits % 32 == 0) values.push_back(bf16::from_bits(static_cast<std::uint16_t>((bits & 0x7fff) + 0x40)));
    if (bits % 32 != 31) values.push_back(bf16::from_bits(static_cast<std::uint16_t>(bits)));
  }
  for (std::uint32_t bits = 31; bits < 0x10000; bits += 32)
    values.push_back(bf16::from_bits(static_cast<std::uint16_t>(bits)));
  values.resize(values.size() / 128 * 128);
  for (const Element element : {Element::Int4, Element::Int8, Element::Mxfp4}) {
    for (const int group_size : {32, 64, 128}) {
      if (element == Element::Mxfp4 && group_size != 32) continue;
      const auto rows = static_cast<std::int64_t>(values.size()) / 128;
      expect_same_bytes(values, {{element, group_size}, rows, 128}, "every BF16");
    }
  }
}

TEST(Pack, RowsInPlaceAreThoseOfTheWholeAndNothingElseIsWritten) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  for (const SimdCase& c : kSimdCases) {
    const MatrixLayout layout{{c.element, c.group_size}, 7, c.columns};
    const auto values = random.bf16s(static_cast<std::size_t>(7 * c.columns));
    std::vector<std::byte> whole(layout.bytes()), pieces(layout.bytes(), std::byte{0xee});
    pack_rows(values, layout, whole.data());
    const std::span<const bf16> all(values);
    const auto rows = [&](int begin, int count) {
      return all.subspan(static_cast<std::size_t>(begin * c.columns), static_cast<std::size_t>(count * c.columns));
    };
    pack_rows_at(rows(2, 3), layout, 2, pieces.data());
    const std::size_t row_bytes = layout.row_bytes(), scale_bytes = layout.scale_row_bytes();
    for (std::size_t i = 0; i < layout.bytes(); ++i) {
      const std::size_t in_scales = i - layout.scales_offset();
      const bool inside = i < 7 * row_bytes ? i >= 2 * row_bytes && i < 5 * row_bytes
                                            : i >= layout.scales_offset() && in_scales >= 2 * scale_bytes &&
                                                  in_scales < 5 * scale_bytes;
      ASSERT_EQ(pieces[i], inside ? whole[i] : std::byte{0xee}) << name_of(c.element) << " byte " << i;
    }
    pack_rows_at(rows(0, 2), layout, 0, pieces.data());
    pack_rows_at(rows(5, 2), layout, 5, pieces.data());
    EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(7 * row_bytes), pieces.begin()));
  }
}

// MXFP4 ---------------------------------------------------------------------------------------------------------------

/// The numbers of E2M1 by the specification's table: sign, two bits of exponent (bias 1), one of mantissa.
constexpr double kE2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};

struct Mxfp4Block {
  int exponent = 0;
  std::vector<int> codes;
};

/// One block of 32 numbers, read from the bytes of a matrix [1, 32] by the words of base/format.h.
Mxfp4Block packed_block(const std::vector<float>& values, PackCode code) {
  const MatrixLayout layout{{Element::Mxfp4, 32}, 1, 32};
  std::vector<std::byte> bytes(layout.bytes(), std::byte{0xee});
  pack_rows(std::span<const float>(values), layout, bytes.data(), code);
  Mxfp4Block block{static_cast<int>(bytes[64]), {}};
  for (int i = 0; i < 32; ++i) {
    block.codes.push_back(static_cast<int>(bytes[static_cast<std::size_t>(i)]) & 15);
    EXPECT_EQ(static_cast<int>(bytes[static_cast<std::size_t>(i)]) >> 4, 0) << "padding";
  }
  return block;
}

class Mxfp4 : public testing::TestWithParam<PackCode> {};
INSTANTIATE_TEST_SUITE_P(Codes, Mxfp4, testing::Values(PackCode::Scalar, PackCode::Fastest), [](const auto& parameter) {
  return parameter.param == PackCode::Scalar ? "scalar" : "fastest";
});

TEST_P(Mxfp4, RoundsToTheNearestTiesToTheEvenMantissa) {
  const std::vector<std::pair<float, double>> expected = {
      {0.0f, 0},  {0.24f, 0},   {0.25f, 0},   {0.26f, 0.5}, {0.5f, 0.5}, {0.74f, 0.5}, {0.75f, 1}, {1.0f, 1},
      {1.25f, 1}, {1.26f, 1.5}, {1.74f, 1.5}, {1.75f, 2},   {2.0f, 2},   {2.5f, 2},    {2.51f, 3}, {3.0f, 3},
      {3.49f, 3}, {3.5f, 4},    {4.0f, 4},    {5.0f, 4},    {5.01f, 6},  {6.0f, 6},    {7.0f, 6},  {7.99f, 6}};
  for (const float sign : {1.0f, -1.0f}) {
    std::vector<float> values(32);
    for (std::size_t i = 0; i < expected.size(); ++i) values[i] = sign * expected[i].first;
    const auto block = packed_block(values, GetParam());
    EXPECT_EQ(block.exponent, 127);  // the largest lies in [4, 8)
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double decoded = kE2m1[block.codes[i]];
      EXPECT_EQ(decoded, sign * expected[i].second) << values[i];
      EXPECT_EQ(std::signbit(decoded), std::signbit(values[i])) << values[i];
    }
  }
}

TEST_P(Mxfp4, TheSharedExponentIsThatOfTheLargestLessTwo) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<float, int>> expected = {
      {1.0f, 125},     {1.99f, 125},       {2.0f, 126},          {4.0f, 127},      {7.99f, 127},   {8.0f, 128},
      {0x1p127f, 252}, {0x1.FEp127f, 252}, {0x1p-124f, 1},       {0x1.8p-125f, 0}, {0x1p-126f, 0}, {0x1p-130f, 0},
      {0x1p-149f, 0},  {0.0f, 0},          {std::nanf(""), 255}, {infinity, 255}};
  for (const auto& [largest, exponent] : expected) {
    for (const int place : {0, 9, 31}) {
      std::vector<float> values(32, std::isfinite(largest) ? largest / -3 : 1.0f);
      values[static_cast<std::size_t>(place)] = -largest;
      const auto block = packed_block(values, GetParam());
      EXPECT_EQ(block.exponent, exponent) << largest;
      if (exponent == 255) {
        EXPECT_EQ(block.codes, std::vector<int>(32, 0)) << largest;
      }
    }
  }
}

TEST_P(Mxfp4, EveryNumberIsTheNearestOfItsBlock) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  for (int round = 0; round < 200; ++round) {
    const auto values = random.floats(32, std::ldexp(1.0, random.integer(-120, 100)));
    const auto block = packed_block(values, GetParam());
    double largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(static_cast<double>(value)));
    const double scale = std::ldexp(1.0, block.exponent - 127);
    EXPECT_TRUE(largest >= 4 * scale && largest < 8 * scale) << largest << ' ' << scale;
    for (std::size_t i = 0; i < 32; ++i) {
      const double distance = std::fabs(kE2m1[block.codes[i]] * scale - static_cast<double>(values[i]));
      for (int other = 0; other < 16; ++other) {
        EXPECT_LE(distance, std::fabs(kE2m1[other] * scale - static_cast<double>(values[i]))) << values[i] / scale;
      }
    }
  }
}

/// A random matrix of codes and exponents, all bits of its own choice.
std::vector<std::byte> random_mxfp4(Random& random, const MatrixLayout& layout, int least, int most) {
  std::vector<std::byte> bytes(layout.bytes());
  for (std::int64_t r = 0; r < layout.rows; ++r) {
    for (std::int64_t c = 0; c < layout.columns; ++c) {
      std::byte& byte =
          bytes[static_cast<std::size_t>(r * static_cast<std::int64_t>(layout.row_bytes()) + c / 64 * 32 + c % 32)];
      byte |= static_cast<std::byte>(random.integer(0, 15) << (c % 64 < 32 ? 0 : 4));
    }
    for (std::int64_t b = 0; b < layout.columns / 32; ++b) {
      bytes[layout.scales_offset() + static_cast<std::size_t>(r * layout.columns / 32 + b)] =
          static_cast<std::byte>(random.integer(least, most));
    }
  }
  return bytes;
}

TEST(Mxfp4Unpack, GivesTheNumbersOfTheTable) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  const MatrixLayout layout{{Element::Mxfp4, 32}, 6, 160};
  auto bytes = random_mxfp4(random, layout, 0, 252);  // beyond, 6 is beyond a float
  bytes[layout.scales_offset()] = std::byte{255};
  bytes[layout.scales_offset() + 1] = std::byte{0};
  const Matrix matrix{layout, bytes.data()};
  auto out = poisoned(4 * 160);
  for (const std::int64_t begin : {0, 2}) {
    unpack_rows(matrix, begin, 4, out.data());
    for (std::int64_t i = 0; i < 4 * 160; ++i) {
      const std::int64_t row = begin + i / 160, column = i % 160, within = column % 64;
      const auto byte = static_cast<int>(bytes[static_cast<std::size_t>(row * 96 + column / 64 * 32 + within % 32)]);
      const auto e = static_cast<int>(bytes[layout.scales_offset() + static_cast<std::size_t>(row * 5 + column / 32)]);
      const double expected = kE2m1[within < 32 ? byte % 16 : byte / 16] * std::ldexp(1.0, e - 127);
      const float element = unpack_element(matrix, row, column);
      const float unpacked = out[static_cast<std::size_t>(i)];
      if (e == 255) {
        EXPECT_TRUE(std::isnan(unpacked) && std::isnan(element));
      } else {
        EXPECT_EQ(static_cast<double>(unpacked), expected);
        EXPECT_EQ(element, unpacked);
      }
    }
  }
}

TEST_P(Mxfp4, PackingWhatWasUnpackedChangesNothing) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  const MatrixLayout layout{{Element::Mxfp4, 32}, 9, 224};
  auto bytes = random_mxfp4(random, layout, 0, 252);
  for (std::size_t r = 0; r < 9; ++r) {  // the first number of each block fills its exponent
    for (std::size_t b = 0; b < 7; ++b) bytes[r * 128 + b / 2 * 32] |= b % 2 == 0 ? std::byte{0x06} : std::byte{0x60};
  }
  std::vector<float> values(9 * 224);
  unpack_rows({layout, bytes.data()}, 0, 9, values.data());
  std::vector<std::byte> again(layout.bytes(), std::byte{0xee});
  pack_rows(std::span<const float>(values), layout, again.data(), GetParam());
  EXPECT_EQ(again, bytes);
  std::vector<bf16> narrow;
  for (const float value : values) narrow.push_back(bf16(value));  // exact
  pack_rows(std::span<const bf16>(narrow), layout, again.data(), GetParam());
  EXPECT_EQ(again, bytes);
}

TEST(Fp8, EveryCodeHasItsValue) {
  for (int code = 0; code < 256; ++code) {
    fp8_e4m3 number;
    number.bits = static_cast<std::uint8_t>(code);
    const double value = static_cast<float>(number);
    if (std::isnan(e4m3_value(code))) {
      EXPECT_TRUE(std::isnan(value)) << code;
    } else {
      EXPECT_EQ(value, e4m3_value(code)) << code;
      EXPECT_EQ(fp8_e4m3(static_cast<float>(value)).bits, code);
    }
  }
}

TEST(Fp8, RoundsToTheNearestCodeTiesToEven) {
  for (int code = 0; code < 0x7e; ++code) {  // between each two neighbours
    const double low = e4m3_value(code);
    const double high = e4m3_value(code + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    EXPECT_EQ(fp8_e4m3(middle).bits, code % 2 == 0 ? code : code + 1) << "tie above " << low;
    EXPECT_EQ(fp8_e4m3(std::nextafter(middle, 0.0f)).bits, code) << "below the tie above " << low;
    EXPECT_EQ(fp8_e4m3(std::nextafter(middle, 1000.0f)).bits, code + 1) << "above the tie above " << low;
    EXPECT_EQ(fp8_e4m3(-std::nextafter(middle, 1000.0f)).bits, 128 + code + 1);
  }
  EXPECT_EQ(fp8_e4m3(1e30f).bits, 0x7e);
  EXPECT_EQ(fp8_e4m3(-449.0f).bits, 0xfe);
  EXPECT_TRUE(std::isnan(static_cast<float>(fp8_e4m3(std::nanf("")))));
}

}  // namespace
}  // namespace krasis::test

#include <algorithm>

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
    const PackedMatrix packed = random_matrix(random, f.element, f.group_size, 5, 100);
    auto out = poisoned(2 * 100);
    unpack_rows(packed.matrix(), 2, 2, out.data());
    for (int i = 0; i < 200; ++i) {
      EXPECT_EQ(static_cast<double>(out[i]), decode(packed.matrix(), 2 + i / 100, i % 100)) << name_of(f.element);
    }
  }
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

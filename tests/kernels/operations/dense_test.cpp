#include <cstring>

#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

using DenseTest = OperationTest;
KRASIS_ALL_ROW_SETS(DenseTest);

TEST_P(DenseTest, EmbeddingTakesRowsAndZerosForUnknownIds) {
  const PackedMatrix table = random_matrix(random_, Element::Bf16, 0, 10, 70);
  const std::vector<std::int32_t> ids = {3, -1, 9, 10, 0};
  auto out = poisoned(ids.size() * 70);
  op().run<EmbeddingArgs>({table.matrix(), view(ids), view(out)});
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int id = ids[i / 70];
    const double expected = id < 0 || id > 9 ? 0.0 : decode(table.matrix(), id, static_cast<std::int64_t>(i % 70));
    EXPECT_EQ(static_cast<double>(out[i]), expected) << "element " << i;
  }
}

/// Checks a row of RMSNorm. The sum of n squares and its mean err by gamma(n + 1), the root by half of it and u, the
/// quotient and the product by u each.
template <class T>
void check_norm(const T* x, const std::vector<bf16>& weight, double epsilon, const bf16* out) {
  const auto width = static_cast<std::int64_t>(weight.size());
  double squares = 0;
  for (std::int64_t i = 0; i < width; ++i) squares += std::pow(static_cast<double>(static_cast<float>(x[i])), 2);
  const double norm = std::sqrt(squares / static_cast<double>(width) + epsilon);
  for (std::int64_t i = 0; i < width; ++i) {
    const double value = static_cast<double>(static_cast<float>(x[i])) / norm * static_cast<float>(weight[i]);
    const double error = gamma(static_cast<double>(width) / 2 + 5) * std::fabs(value);
    ASSERT_NEAR(static_cast<float>(out[i]), value, bf16_bound(value, error)) << "element " << i << " of " << width;
  }
}

TEST_P(DenseTest, RmsNorm) {
  for (const int width : {2, 7, 64, 96, 257, 2880}) {
    const auto x = random_.floats(3 * width, 2.0);
    const auto weight = random_.bf16s(width);
    auto out = poisoned_bf16(x.size());
    op().run<RmsNormArgs>({view(x), view(weight), view(out), width, 1e-5f});
    for (int t = 0; t < 3; ++t) check_norm(x.data() + t * width, weight, static_cast<double>(1e-5f), &out[t * width]);
  }
}

TEST_P(DenseTest, RmsNormOfZerosIsZero) {
  const std::vector<float> x(96, 0.0f);
  const auto weight = random_.bf16s(96);
  auto out = poisoned_bf16(96);
  op().run<RmsNormArgs>({view(x), view(weight), view(out), 96, 1e-6f});
  for (const bf16 v : out) EXPECT_EQ(static_cast<float>(v), 0.0f);
}

TEST_P(DenseTest, HeadNormInPlace) {
  for (const int head_dim : {10, 64, 80, 128}) {
    const auto x = random_.bf16s(6 * head_dim);
    const auto weight = random_.bf16s(head_dim);
    auto out = x;
    op().run<HeadNormArgs>({view(out), view(weight), head_dim, 1e-6f});
    for (int row = 0; row < 6; ++row) {
      check_norm(x.data() + row * head_dim, weight, static_cast<double>(1e-6f), &out[row * head_dim]);
    }
  }
}

/// The two inner roundings may each fall to the other side of what a double gives, by one BF16 step of 2^-8.
TEST_P(DenseTest, GatedNorm) {
  for (const int width : {1, 10, 64, 100, 128}) {
    const int rows = 5;
    const auto x = random_.bf16s(static_cast<std::size_t>(rows * width), 3.0);
    auto gate = random_.bf16s(x.size(), 4.0);
    gate[0] = bf16(-60.0f);
    const auto weight = random_.bf16s(static_cast<std::size_t>(width));
    auto out = poisoned_bf16(x.size());
    op().run<GatedNormArgs>({view(x), view(std::as_const(gate)), view(weight), view(out), width, 1e-6f});
    std::size_t exact = 0;
    for (int r = 0; r < rows; ++r) {
      const auto at = static_cast<std::size_t>(r * width);
      double squares = 0;
      for (int i = 0; i < width; ++i) squares += std::pow(static_cast<double>(static_cast<float>(x[at + i])), 2);
      const double norm = std::sqrt(squares / width + static_cast<double>(1e-6f));
      for (int i = 0; i < width; ++i) {
        const bf16 normed(static_cast<float>(static_cast<float>(x[at + i]) / norm));
        const bf16 weighted(static_cast<float>(weight[static_cast<std::size_t>(i)]) * static_cast<float>(normed));
        const double g = static_cast<float>(gate[at + i]);
        const double value = g / (1 + std::exp(-g)) * static_cast<float>(weighted);
        const float got = static_cast<float>(out[at + i]);
        ASSERT_NEAR(got, value, bf16_bound(value, std::fabs(value) / 64 + 1e-25))
            << "width " << width << ", " << r << ", " << i;
        exact += std::fabs(got - value) <= bf16_bound(value, 16 * kU * std::fabs(value) + 1e-25) ? 1 : 0;
      }
    }
    EXPECT_GE(exact, x.size() * 9 / 10) << width;
  }
}

TEST_P(DenseTest, GatedNormInPlaceAndOfNoRows) {
  const auto x = random_.bf16s(3 * 48), gate = random_.bf16s(3 * 48), weight = random_.bf16s(48);
  auto apart = poisoned_bf16(x.size()), in_place = x;
  op().run<GatedNormArgs>({view(x), view(gate), view(weight), view(apart), 48, 1e-6f});
  if (!kOnDevice) {  // where the tests give each view a place of its own
    op().run<GatedNormArgs>({view(std::as_const(in_place)), view(gate), view(weight), view(in_place), 48, 1e-6f});
    EXPECT_EQ(std::memcmp(apart.data(), in_place.data(), apart.size() * 2), 0);
  }
  op().run<GatedNormArgs>({{}, {}, view(weight), {}, 48, 1e-6f});
}

/// Products: scale * q * x has at most 8 + 7 + 8 bits and is exact in FP32, so only the n additions err, in whatever
/// order; a scale that is multiplied in after the sum of its group adds two roundings.
void check_matmul(const HostOperations& op, Random& random, const FormatCase& f, int tokens, int rows, int columns) {
  if (!f.fits(columns)) return;
  SCOPED_TRACE(std::string(name_of(f.element)) + " group " + std::to_string(f.group_size) + ", " +
               std::to_string(tokens) + " tokens, [" + std::to_string(rows) + ", " + std::to_string(columns) + "]");
  const PackedMatrix packed = random_matrix(random, f.element, f.group_size, rows, columns);
  const std::vector<double> weight = decode(packed.matrix());
  const auto x = random.bf16s(static_cast<std::size_t>(tokens) * columns);
  const auto before = random.floats(static_cast<std::size_t>(tokens) * rows);
  auto f32 = poisoned(before.size());
  auto rounded = poisoned_bf16(before.size());
  auto accumulated = before;
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_f32 = view(f32), .tokens = tokens});
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_bf16 = view(rounded), .tokens = tokens});
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .accumulate = view(accumulated), .tokens = tokens});
  for (std::size_t i = 0; i < f32.size(); ++i) {
    const Dot y = dot(&x[i / rows * columns], &weight[i % rows * columns], columns);
    double error = gamma(columns + 2) * y.magnitude;
    if (&op != &scalar_operations()) {
      error += preparation_error(&x[i / rows * columns], &weight[i % rows * columns], columns, packed.layout.format);
    }
    ASSERT_NEAR(f32[i], y.sum, error) << "element " << i;
    ASSERT_NEAR(static_cast<float>(rounded[i]), y.sum, bf16_bound(y.sum, error)) << "element " << i;
    const double sum = static_cast<double>(before[i]) + y.sum;
    ASSERT_NEAR(accumulated[i], sum, error + kU * (std::fabs(sum) + error)) << "element " << i;
  }
}

TEST_P(DenseTest, MatmulInAllFormats) {
  for (const FormatCase& f : kFormats) {
    check_matmul(op(), random_, f, 1, 5, 256);
    check_matmul(op(), random_, f, 2, 49, 96);
    check_matmul(op(), random_, f, 7, 50, 192);
    check_matmul(op(), random_, f, 64, 3, 64);
  }
}

TEST_P(DenseTest, MatmulOfOddShapes) {
  for (const FormatCase& f : kFormats) {
    check_matmul(op(), random_, f, 1, 1, 2);
    check_matmul(op(), random_, f, 3, 98, 62);
    check_matmul(op(), random_, f, 1, 97, 130);
    check_matmul(op(), random_, f, 5, 4, 66);
    check_matmul(op(), random_, f, 16, 17, 32);
    check_matmul(op(), random_, f, 2, 33, 32 * random_.integer(1, 20));
    check_matmul(op(), random_, f, random_.integer(1, 64), random_.integer(1, 100), 2 * random_.integer(1, 150));
  }
}

TEST_P(DenseTest, MatmulBeyondOneTileOfColumnsAndOfTokens) {
  check_matmul(op(), random_, {Element::Int4, 128}, 2, 5, 1408);
  check_matmul(op(), random_, {Element::Int8, 64}, 131, 2, 576);
  check_matmul(op(), random_, {Element::Mxfp4, 32}, 3, 5, 2880);
  check_matmul(op(), random_, {Element::Mxfp4, 32}, 30, 50, 1440);
  check_matmul(op(), random_, {Element::Bf16, 0}, 1, 3, 70000);
  for (const int tokens : {1, 2, 6, 20}) {  // groups of several steps; more than 16 of them
    check_matmul(op(), random_, {Element::Int4, 256}, tokens, 35, 4864);
    check_matmul(op(), random_, {Element::Int8, 384}, tokens, 35, 1152);
  }
}

TEST_P(DenseTest, MatmulShowsNotANumber) {
  PackedMatrix packed = random_matrix(random_, Element::Int4, 32, 2, 64);
  auto* scales = reinterpret_cast<bf16*>(packed.bytes.data() + packed.layout.scales_offset());
  scales[1] = bf16(std::nanf(""));
  for (const int tokens : {1, 2}) {
    const auto x = random_.bf16s(tokens * 64);
    auto out = std::vector<float>(tokens * 2, 0.0f);
    op().run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_f32 = view(out), .tokens = tokens});
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_FALSE(std::isnan(out[1]));
  }
}

TEST_P(DenseTest, MatmulTakesEveryMxfp4CodeAndExponent) {
  // Row r has exponent r, and each code twice. x picks one column of each token, so the products are exact: but for
  // preparing x, whose one number is a power of two.
  PackedMatrix packed{{fit_format(Element::Mxfp4, 32, 32), 256, 32}, {}};
  packed.bytes.resize(packed.layout.bytes());
  for (int r = 0; r < 256; ++r) {
    for (int j = 0; j < 32; ++j) packed.bytes[32 * r + j] = static_cast<std::byte>(j % 16);
    packed.bytes[packed.layout.scales_offset() + r] = static_cast<std::byte>(r);
  }
  for (const int tokens : {1, 8, 20}) {  // 20: not by rows
    std::vector<bf16> x(tokens * 32, bf16(0.0f));
    std::vector<int> picked;
    for (int t = 0; t < tokens; ++t) picked.push_back(random_.integer(0, 31));
    for (int t = 0; t < tokens; ++t) x[t * 32 + picked[t]] = bf16(0.25f);
    auto out = poisoned(tokens * 256);
    op().run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_f32 = view(out), .tokens = tokens});
    for (int t = 0; t < tokens; ++t) {
      for (int e = 0; e <= 245; ++e) {  // beyond, numbers of the row or their sums overflow
        const double value = decode(packed.matrix(), e, picked[t]) / 4;
        // The step of x is rounded, the sum is of a biased number; what is not normal may count as zero.
        const double error = 40 * kU * std::ldexp(12.0, e - 127) + 0x1p-124;
        ASSERT_NEAR(out[t * 256 + e], value, error) << "exponent " << e << " code " << picked[t] % 16;
      }
      EXPECT_TRUE(std::isnan(out[t * 256 + 255]));
    }
  }
}

TEST_P(DenseTest, SwiGlu) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{13}, std::size_t{1000}}) {
    auto gate = random_.floats(n, 4.0);
    if (n > 5) {
      gate[0] = -60.0f;
      gate[1] = 200.0f;
      gate[2] = -200.0f;
      gate[3] = 0.0f;
    }
    const auto up = random_.floats(n);
    auto out = poisoned_bf16(n);
    op().run<SwiGluArgs>({view(gate), view(up), view(out)});
    for (std::size_t i = 0; i < n; ++i) {
      const double g = gate[i];
      const double value = g / (1 + std::exp(-g)) * up[i];
      // exp to 2 ulp (4 u), then three operations; exp(88) stands for all beyond.
      const double error = 8 * kU * std::fabs(value) + std::fabs(g * static_cast<double>(up[i])) * std::exp(-88.0);
      ASSERT_NEAR(static_cast<float>(out[i]), value, bf16_bound(value, error)) << "gate " << g;
    }
  }
}

TEST_P(DenseTest, ClampedSwiGlu) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{13}, std::size_t{1000}}) {
    auto gate = random_.floats(n, 5.0);  // beyond 7 at times
    auto up = random_.floats(n, 5.0);
    if (n > 5) {
      gate[0] = -60.0f;
      gate[1] = std::numeric_limits<float>::infinity();
      gate[2] = -200.0f;
      gate[3] = 7.0f;
      up[3] = std::numeric_limits<float>::infinity();
      up[4] = -std::numeric_limits<float>::infinity();
    }
    auto out = poisoned_bf16(n);
    op().run<SwiGluArgs>({view(gate), view(up), view(out), Glu::ClampedSwiGlu});
    for (std::size_t i = 0; i < n; ++i) {
      const double g = std::min(static_cast<double>(gate[i]), 7.0);
      const double u = std::clamp(static_cast<double>(up[i]), -7.0, 7.0);
      const double value = (u + 1) * g / (1 + std::exp(-1.702 * g));
      // exp to 2 ulp of an exponent that is off by 2 u (the constant, the product), then four operations.
      const double error =
          (9 + 2 * 1.702 * std::fabs(g)) * kU * std::fabs(value) + std::fabs(g * (u + 1)) * std::exp(-88.0);
      ASSERT_NEAR(static_cast<float>(out[i]), value, bf16_bound(value, error)) << "gate " << g << " up " << u;
    }
  }
}

TEST_P(DenseTest, SwiGluShowsNotANumber) {
  const std::vector<float> gate = {std::nanf(""), 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 1.0f, std::nanf("")};
  const std::vector<float> up = {1.0f, std::nanf(""), 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 1.0f, 2.0f};
  for (const Glu glu : {Glu::SwiGlu, Glu::ClampedSwiGlu}) {
    auto out = std::vector<bf16>(gate.size());
    op().run<SwiGluArgs>({view(gate), view(up), view(out), glu});
    for (const int i : {0, 1, 8}) EXPECT_TRUE(std::isnan(static_cast<float>(out[i]))) << i;
    for (int i = 2; i < 8; ++i) EXPECT_FALSE(std::isnan(static_cast<float>(out[i]))) << i;
  }
}

TEST_P(DenseTest, RotaryByPositionsOfTheBatch) {
  for (const int head_dim : {2, 64, 80, 128}) {
    const int heads = 3;
    const int half = head_dim / 2;
    const std::vector<std::int32_t> positions = {0, 1, 2, 4095, 7, 8};
    std::vector<float> frequency;
    for (int i = 0; i < half; ++i)
      frequency.push_back(static_cast<float>(std::pow(1e6, -static_cast<double>(i) / half)));
    const auto x = random_.bf16s(positions.size() * heads * head_dim);
    auto out = x;
    const std::vector<SequenceSpan> sequences = {{0, 4, 0}, {4, 2, 5000}};
    op().run<RotaryArgs>({view(out), view(frequency), {6, view(positions), view(sequences)}, heads, head_dim});
    for (std::size_t i = 0; i < x.size(); ++i) {
      const int d = static_cast<int>(i) % head_dim;
      const double angle =
          static_cast<double>(positions[i / (heads * head_dim)]) * static_cast<double>(frequency[d % half]);
      const std::size_t other = d < half ? i + half : i - half;
      const double a = static_cast<float>(x[i]);
      const double b = static_cast<float>(x[other]);
      const double value = a * std::cos(angle) + (d < half ? -b : b) * std::sin(angle);
      // The angle is rounded to FP32 (u of it), sine and cosine to 1 ulp, then two products and a sum.
      const double error = (std::fabs(a) + std::fabs(b)) * (kU * angle + 2 * kU + gamma(3));
      ASSERT_NEAR(static_cast<float>(out[i]), value, bf16_bound(value, error)) << "element " << i;
    }
  }
}

TEST_P(DenseTest, AddFillAdvanceAndCount) {
  const auto x = random_.floats(37);
  const auto before = random_.floats(37);
  auto out = before;
  op().run<AddArgs>({view(x), view(out)});
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(out[i], before[i] + x[i]);
  op().run<FillArgs>({view(out), -2.5f});
  EXPECT_EQ(out, std::vector<float>(37, -2.5f));

  const std::vector<std::int32_t> token = {42};
  std::vector<std::int32_t> id = {-7};
  std::vector<std::int32_t> position = {11};
  op().run<AdvanceArgs>({view(token), view(id), view(position)});
  EXPECT_EQ(id[0], 42);
  EXPECT_EQ(position[0], 12);

  const std::vector<std::int32_t> ids = {2, 0, 2, -1, 3, 2};
  std::vector<std::int64_t> counts = {10, 20, 30};
  op().run<CountExpertsArgs>({view(ids), view(counts)});
  EXPECT_EQ(counts, (std::vector<std::int64_t>{11, 20, 33}));
}

}  // namespace
}  // namespace krasis::test

// Attention of one token by AMX, with its instructions emulated, against the formula.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/host/operations/kv_layout.h"
#include "tests/kernels/operations/emulated_rows.h"
#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

struct Case {
  bool fp8;
  int dim, rows, count;
};

class AttendAmxTest : public testing::Test {
 protected:
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};

  /// Keys of head 1 of 2 from row 64 on; all else, and what lies behind the last key, is NaN.
  void check(const Case& c) {
    SCOPED_TRACE(testing::Message() << (c.fp8 ? "FP8" : "BF16") << ", " << c.rows << " rows of " << c.dim << ", "
                                    << c.count << " keys");
    KvCache cache{.element = c.fp8 ? KvElement::Fp8 : KvElement::Bf16,
                  .rows = 64 + c.count,
                  .heads = 2,
                  .head_dim = c.dim,
                  .layout = KvLayout::Tiles};
    const auto capacity = static_cast<std::size_t>(2 * kv_capacity(cache.rows));
    std::vector<std::byte> planes[2];
    std::vector<float> scales[2];
    std::vector<double> numbers[2];  ///< as the kernel takes them: denormal codes are zero
    for (const KvPart part : {KvPart::Keys, KvPart::Values}) {
      const int p = part == KvPart::Keys ? 0 : 1;
      KvPlane& plane = p == 0 ? cache.keys : cache.values;
      planes[p].assign(capacity * c.dim * kv_bytes(cache.element), std::byte{0x7f});
      scales[p].assign(capacity, std::numeric_limits<float>::quiet_NaN());
      plane = {view(planes[p]), view(scales[p])};
      const auto given = random_.bf16s(static_cast<std::size_t>(c.count) * c.dim);
      const auto some_scales = random_.floats(c.count);
      for (int k = 0; k < c.count; ++k) {
        const float scale = c.fp8 ? 0.01f * (1.0f + std::fabs(some_scales[k])) : 1.0f;
        scales[p][kv_scale(cache, 64 + k, 1)] = scale;
        for (int i = 0; i < c.dim; ++i) {
          std::byte* to = planes[p].data() + kv_offset(cache, part, 64 + k, 1, i);
          const bf16 value = given[static_cast<std::size_t>(k) * c.dim + i];
          if (c.fp8) {
            const fp8_e4m3 code(static_cast<float>(value) * 40.0f);
            *to = static_cast<std::byte>(code.bits);
            numbers[p].push_back((code.bits & 0x78) == 0 ? 0.0 : static_cast<double>(scale) * e4m3_value(code.bits));
          } else {
            std::memcpy(to, &value, 2);
            numbers[p].push_back(static_cast<float>(value));
          }
        }
      }
    }
    const int count = c.count;
    const auto q = random_.bf16s(c.rows * c.dim);
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.dim));
    std::vector<float> maximum = poisoned(c.rows), total = maximum, sums = poisoned(c.rows * c.dim);
    const std::byte* keys = planes[0].data() + kv_offset(cache, KvPart::Keys, 64, 1, 0);
    const simd::HeadKeys head{.q = q.data(),
                              .rows = c.rows,
                              .dim = c.dim,
                              .fp8 = c.fp8,
                              .keys = keys,
                              .values = planes[1].data() + kv_offset(cache, KvPart::Values, 64, 1, 0),
                              .key_scales = scales[0].data() + kv_scale(cache, 64, 1),
                              .value_scales = scales[1].data() + kv_scale(cache, 64, 1),
                              .count = c.count,
                              .asked = c.count % 2 == 0,
                              .next_keys = c.count % 2 == 0 ? keys : nullptr,
                              .next_values = c.count % 2 == 0 ? keys : nullptr,
                              .scale = scale,
                              .maximum = maximum.data(),
                              .total = total.data(),
                              .sums = sums.data()};
    simd::emulated_attend_amx(&head, 1);
    for (int r = 0; r < c.rows; ++r) {
      std::vector<double> weights;
      double score_error = 0, largest = -1e300, smallest = 1e300;
      for (int k = 0; k < count; ++k) {
        const Dot product = dot(q.data() + r * c.dim, numbers[0].data() + static_cast<std::size_t>(k) * c.dim, c.dim);
        weights.push_back(scale * product.sum);
        score_error = std::max(score_error, gamma(c.dim + 5) * static_cast<double>(scale) * product.magnitude);
        largest = std::max(largest, weights.back());
        smallest = std::min(smallest, weights.back());
      }
      ASSERT_NEAR(maximum[r], largest, score_error);
      // As in attention_test.cpp, with powers of two: factor, score and maximum are rounded once more each. The maximum
      // is the kernel's own. A weight is taken as two BF16 numbers for the sums.
      double exact_total = 0;
      for (double& w : weights) exact_total += w = std::exp(w - static_cast<double>(maximum[r]));
      const double relative = 2 * score_error + kU * (largest - smallest) + (6.0 * count + 4) * kU + gamma(count + 2);
      ASSERT_NEAR(total[r], exact_total, relative * exact_total);
      for (int i = 0; i < c.dim; ++i) {
        double value = 0, magnitude = 0;
        for (int k = 0; k < count; ++k) {
          const double term = weights[k] * numbers[1][static_cast<std::size_t>(k) * c.dim + i];
          value += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(sums[r * c.dim + i], value, (relative + 0x1p-16) * magnitude) << "row " << r << " element " << i;
      }
    }
  }
};

TEST_F(AttendAmxTest, AgreesWithTheFormula) {
  for (const bool fp8 : {false, true}) {
    for (const int dim : {64, 128, 192, 256}) {
      for (const int rows : {1, 7, 8, 9, 16}) check({fp8, dim, rows, 150});
    }
    for (const int count : {1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 255, 256}) check({fp8, 128, 8, count});
  }
}

/// Every FP8 code is the number that it stands for, denormals are zero: with one key, sums are its values.
TEST_F(AttendAmxTest, EveryCode) {
  KvCache cache{.element = KvElement::Fp8, .rows = 64, .heads = 1, .head_dim = 256, .layout = KvLayout::Tiles};
  const std::vector<std::byte> keys(64 * 256, std::byte{0x38});
  std::vector<std::byte> values(64 * 256);
  for (int i = 0; i < 256; ++i) values[kv_offset(cache, KvPart::Values, 0, 0, i)] = static_cast<std::byte>(i);
  const std::vector<bf16> q(256);
  const float one = 1.0f;
  float maximum = 0, total = 0;
  std::vector<float> sums(256);
  const simd::HeadKeys head{.q = q.data(),
                            .rows = 1,
                            .dim = 256,
                            .fp8 = true,
                            .keys = keys.data(),
                            .values = values.data(),
                            .key_scales = &one,
                            .value_scales = &one,
                            .count = 1,
                            .scale = 1.0f,
                            .maximum = &maximum,
                            .total = &total,
                            .sums = sums.data()};
  simd::emulated_attend_amx(&head, 1);
  for (int i = 0; i < 256; ++i) {
    if (i % 128 == 127) continue;  // NaN: such a head's scale is none
    EXPECT_EQ(sums[i], (i & 0x78) == 0 ? 0.0 : e4m3_value(i)) << i;
  }
}

}  // namespace
}  // namespace krasis::test

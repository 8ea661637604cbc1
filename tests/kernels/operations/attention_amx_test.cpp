// Attention of one token by AMX, with its instructions emulated, against the formula.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "kernels/host/operations/cache/kv_layout.h"
#include "kernels/host/operations/matmul/streamed_rows.h"
#include "tests/kernels/operations/emulated_rows.h"
#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

/// Keys and values of head 1 of 2 from row 64 on; all else, and what lies behind the last key, is NaN.
class Piece {
 public:
  Piece(Random& random, bool fp8, int dim, int rows, int count, const std::vector<bf16>& q)
      : cache_{.element = fp8 ? KvElement::Fp8 : KvElement::Bf16,
               .rows = 64 + count,
               .heads = 2,
               .head_dim = dim,
               .layout = KvLayout::Tiles},
        rows_(rows),
        count_(count),
        scale_(1.0f / std::sqrt(static_cast<float>(dim))),
        q_(q),
        maximum_(poisoned(rows)),
        total_(maximum_),
        sums_(poisoned(rows * dim)) {
    const auto capacity = static_cast<std::size_t>(2 * kv_capacity(cache_.rows));
    for (const KvPart part : {KvPart::Keys, KvPart::Values}) {
      const int p = part == KvPart::Keys ? 0 : 1;
      planes_[p].assign(capacity * dim * kv_bytes(cache_.element), std::byte{0x7f});
      scales_[p].assign(capacity, std::numeric_limits<float>::quiet_NaN());
      const auto given = random.bf16s(static_cast<std::size_t>(count) * dim);
      const auto some_scales = random.floats(count);
      for (int k = 0; k < count; ++k) {
        const float scale = fp8 ? 0.01f * (1.0f + std::fabs(some_scales[k])) : 1.0f;
        scales_[p][kv_scale(cache_, 64 + k, 1)] = scale;
        for (int i = 0; i < dim; ++i) {
          std::byte* to = planes_[p].data() + kv_offset(cache_, part, 64 + k, 1, i);
          const bf16 value = given[static_cast<std::size_t>(k) * dim + i];
          if (fp8) {
            const fp8_e4m3 code(static_cast<float>(value) * 40.0f);
            *to = static_cast<std::byte>(code.bits);
            numbers_[p].push_back((code.bits & 0x78) == 0 ? 0.0 : static_cast<double>(scale) * e4m3_value(code.bits));
          } else {
            std::memcpy(to, &value, 2);
            numbers_[p].push_back(static_cast<float>(value));
          }
        }
      }
    }
  }

  simd::HeadKeys keys(const Piece* next, bool asked) {
    const auto at = [](const Piece& piece, KvPart part) {
      return piece.planes_[part == KvPart::Keys ? 0 : 1].data() + kv_offset(piece.cache_, part, 64, 1, 0);
    };
    return {.q = q_.data(),
            .rows = rows_,
            .dim = cache_.head_dim,
            .fp8 = cache_.element == KvElement::Fp8,
            .keys = at(*this, KvPart::Keys),
            .values = at(*this, KvPart::Values),
            .key_scales = scales_[0].data() + kv_scale(cache_, 64, 1),
            .value_scales = scales_[1].data() + kv_scale(cache_, 64, 1),
            .count = count_,
            .asked = asked,
            .next_keys = next ? at(*next, KvPart::Keys) : nullptr,
            .next_values = next ? at(*next, KvPart::Values) : nullptr,
            .scale = scale_,
            .maximum = maximum_.data(),
            .total = total_.data(),
            .sums = sums_.data()};
  }

  void verify() const {
    for (int r = 0; r < rows_; ++r) {
      std::vector<double> weights;
      double score_error = 0, largest = -1e300, smallest = 1e300;
      for (int k = 0; k < count_; ++k) {
        const Dot product = dot(q_.data() + r * cache_.head_dim,
                                numbers_[0].data() + static_cast<std::size_t>(k) * cache_.head_dim, cache_.head_dim);
        weights.push_back(scale_ * product.sum);
        score_error =
            std::max(score_error, gamma(cache_.head_dim + 5) * static_cast<double>(scale_) * product.magnitude);
        largest = std::max(largest, weights.back());
        smallest = std::min(smallest, weights.back());
      }
      ASSERT_NEAR(maximum_[r], largest, score_error);
      // As in attention_test.cpp, with powers of two: factor, score and maximum are rounded once more each. The maximum
      // is the kernel's own. A weight is taken as two BF16 numbers for the sums.
      double exact_total = 0;
      for (double& w : weights) exact_total += w = std::exp(w - static_cast<double>(maximum_[r]));
      const double relative = 2 * score_error + kU * (largest - smallest) + (6.0 * count_ + 4) * kU + gamma(count_ + 2);
      ASSERT_NEAR(total_[r], exact_total, relative * exact_total);
      for (int i = 0; i < cache_.head_dim; ++i) {
        double value = 0, magnitude = 0;
        for (int k = 0; k < count_; ++k) {
          const double term = weights[k] * numbers_[1][static_cast<std::size_t>(k) * cache_.head_dim + i];
          value += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(sums_[r * cache_.head_dim + i], value, (relative + 0x1p-16) * magnitude)
            << "row " << r << " element " << i;
      }
    }
  }

 private:
  KvCache cache_;
  int rows_, count_;
  float scale_;
  const std::vector<bf16>& q_;
  std::vector<std::byte> planes_[2];
  std::vector<float> scales_[2];
  std::vector<double> numbers_[2];  ///< as the kernel takes them: denormal codes are zero
  std::vector<float> maximum_, total_, sums_;
};

class AttendAmxTest : public testing::Test {
 protected:
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};

  /// Several pieces in one call; the first two have the same queries.
  void check(bool fp8, int dim, int rows, const std::vector<int>& counts) {
    std::vector<std::vector<bf16>> queries;
    for (std::size_t i = 0; i < counts.size(); ++i) queries.push_back(random_.bf16s(rows * dim));
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      pieces.emplace_back(random_, fp8, dim, rows, counts[i], queries[i == 1 ? 0 : i]);
    }
    std::vector<simd::HeadKeys> keys;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      keys.push_back(pieces[i].keys(i + 1 < pieces.size() ? &pieces[i + 1] : nullptr, i > 0));
    }
    simd::emulated_attend_amx(keys.data(), static_cast<int>(keys.size()));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      SCOPED_TRACE(testing::Message() << (fp8 ? "FP8" : "BF16") << ", " << rows << " rows of " << dim << ", piece " << i
                                      << " of " << counts[i] << " keys");
      pieces[i].verify();
    }
  }
};

TEST_F(AttendAmxTest, AgreesWithTheFormula) {
  for (const bool fp8 : {false, true}) {
    for (const int dim : {64, 128, 192, 256}) {
      for (const int rows : {1, 7, 8, 9, 16}) check(fp8, dim, rows, {150});
    }
    for (const int count : {1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 255}) check(fp8, 128, 8, {count});
    for (const int rows : {3, 8, 12}) check(fp8, 64, rows, {256, 31, 100});
  }
}

/// Tiles stay configured: each kernel finds those of another one, or its own.
TEST_F(AttendAmxTest, ProductsInBetween) {
  const simd::RowKernels& k = simd::emulated_amx_rows();
  constexpr int kRows = 20, kTokens = 5, kColumns = 256;
  const auto values = random_.bf16s(kTokens * kColumns);
  const auto product = [&](const PackedMatrix& weight) {
    simd::PreparedTokens x;
    x.resize(weight.layout, kTokens);
    for (int t = 0; t < kTokens; ++t) x.prepare(k, values.data() + t * kColumns, t);
    simd::AlignedBytes interleaved;
    interleaved.resize(simd::interleaved_bytes(weight.layout, kTokens));
    x.interleave(k, nullptr, 0, kTokens, interleaved.data());
    const std::int32_t places[] = {0, 1, 2, 3, 4};
    auto out = poisoned(kTokens * kRows);
    simd::multiply_rows(k, weight.matrix(), 0, kRows, x, places, kTokens, out.data(), kRows, {}, interleaved.data());
    return out;
  };
  const PackedMatrix weights[] = {random_matrix(random_, Element::Int4, 32, kRows, kColumns),
                                  random_matrix(random_, Element::Int8, 128, kRows, kColumns),
                                  random_matrix(random_, Element::Bf16, 0, kRows, kColumns)};
  std::vector<std::vector<float>> alone;
  for (const PackedMatrix& weight : weights) {
    std::thread([&] { alone.push_back(product(weight)); }).join();  // a thread whose tiles nobody has used
  }
  for (const int rows : {8, 16, 16, 8}) {
    for (std::size_t i = 0; i < 3; ++i) {
      check(rows == 8, 128, rows, {40});
      EXPECT_EQ(product(weights[i]), alone[i]);
      EXPECT_EQ(product(weights[(i + 1) % 3]), alone[(i + 1) % 3]);
    }
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

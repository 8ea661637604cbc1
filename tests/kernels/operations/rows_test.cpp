#include <cstring>
#include <tuple>

#include "kernels/host/operations/matmul/streamed_rows.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "tests/kernels/operations/emulated_rows.h"
#include "tests/kernels/operations/support.h"

/// What each table of row kernels promises beyond right products: bits do not depend on how rows are cut into calls,
/// nor on a token's company, as long as that is as large as the same kernel takes.
namespace krasis::test {
namespace {

struct Table {
  const char* name;
  Set set;
  const simd::RowKernels& (*rows)();
};
const Table kTables[] = {{"avx2", Set::Avx2, simd::avx2_rows},
                         {"avx512", Set::Avx512, simd::avx512_rows},
                         {"amx", Set::Amx, simd::amx_rows},
                         {"emulated_avx512", Set::EmulatedAvx512, simd::emulated_avx512_rows},
                         {"emulated_amx", Set::EmulatedAmx, simd::emulated_amx_rows}};

class RowsTest : public testing::TestWithParam<Table> {
 protected:
  void SetUp() override {
    if (const std::string why = missing(GetParam().set); !why.empty()) GTEST_SKIP() << why;
  }
  /// Rows [row, row + rows) times tokens [first, first + tokens) of x, at their places in out [tokens, all rows].
  void multiply(const PackedMatrix& weight, const simd::PreparedTokens& x, int row, int rows, int first, int tokens,
                std::vector<float>& out) const {
    const std::int64_t stride = weight.layout.rows;
    std::vector<std::int32_t> places;
    for (int t = 0; t < tokens; ++t) places.push_back(first + t);
    const simd::RowKernels& k = GetParam().rows();
    simd::AlignedBytes interleaved;
    if (simd::interleaves(k, tokens)) {
      interleaved.resize(simd::interleaved_bytes(weight.layout, tokens));
      x.interleave(k, places.data(), 0, tokens, interleaved.data());
    }
    simd::multiply_rows(k, weight.matrix(), row, rows, x, places.data(), tokens, out.data() + first * stride + row,
                        stride, {}, interleaved.data());
  }
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};
std::string name_of_table(const testing::TestParamInfo<Table>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Host, RowsTest, testing::ValuesIn(kTables), name_of_table);

TEST_P(RowsTest, BitsDependNeitherOnTheCutNorOnTheCompany) {
  constexpr int kRows = 150;
  constexpr int kTokens = 37;
  const int few = std::min(kTokens, GetParam().rows().few_tokens);
  for (const FormatCase& f : kFormats) {
    const PackedMatrix weight = random_matrix(random_, f.element, f.group_size, kRows, 288);
    if (!simd::rows_support(weight.layout.format)) continue;
    SCOPED_TRACE(std::string(name_of(f.element)) + " group " + std::to_string(f.group_size));
    const auto values = random_.bf16s(kTokens * 288);
    simd::PreparedTokens x;
    x.resize(weight.layout, kTokens);
    for (int t = 0; t < kTokens; ++t) x.prepare(GetParam().rows(), values.data() + t * 288, t);
    auto whole = poisoned(kTokens * kRows);
    auto parts = whole;
    // The tokens of each kernel: all together, all rows at once, and in parts.
    const int least_of_more = std::max(few + 1, 5);
    for (const auto& [first, count, least] : {std::tuple{0, few, 2}, std::tuple{few, kTokens - few, least_of_more}}) {
      if (count == 0) continue;
      multiply(weight, x, 0, kRows, first, count, whole);
      for (int row = 0; row < kRows; row += 49) {
        for (int done = 0, size = least; done < count; size = 2 * size + 1) {
          const int tokens = count - done - size >= least ? size : count - done;
          multiply(weight, x, row, std::min(49, kRows - row), first + done, tokens, parts);
          done += tokens;
        }
      }
    }
    EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)), 0);
  }
}

/// More rows at once than a tile has, the last tile not whole, and more groups in a row than are loaded at once:
/// against the formula.
TEST_P(RowsTest, ManyRowsOfManyGroups) {
  const simd::RowKernels& k = GetParam().rows();
  const struct {
    Element element;
    int group_size, columns;
  } cases[] = {{Element::Int4, 32, 1152},  {Element::Int8, 32, 1152},  {Element::Int4, 64, 1408},
               {Element::Int4, 128, 2304}, {Element::Int8, 128, 2304}, {Element::Int4, 32, 992},
               {Element::Mxfp4, 32, 992}};
  for (const auto& c : cases) {
    for (const int rows : {17, 31, 35, 49}) {
      const PackedMatrix packed = random_matrix(random_, c.element, c.group_size, rows, c.columns);
      const std::vector<double> weight = decode(packed.matrix());
      for (const int tokens : {1, 2, 3, 4, 5, 9}) {
        SCOPED_TRACE(std::string(name_of(c.element)) + " group " + std::to_string(c.group_size) + ", " +
                     std::to_string(tokens) + " tokens, " + std::to_string(rows) + " rows");
        const auto values = random_.bf16s(tokens * c.columns);
        simd::PreparedTokens x;
        x.resize(packed.layout, tokens);
        for (int t = 0; t < tokens; ++t) x.prepare(k, values.data() + t * c.columns, t);
        auto out = poisoned(tokens * rows);
        multiply(packed, x, 0, rows, 0, tokens, out);
        for (int i = 0; i < tokens * rows; ++i) {
          const bf16* token = &values[i / rows * c.columns];
          const double* row = &weight[i % rows * c.columns];
          const Dot y = dot(token, row, c.columns);
          const double error = gamma(c.columns + 2) * y.magnitude;
          ASSERT_NEAR(out[i], y.sum, error + preparation_error(token, row, c.columns, packed.layout.format)) << i;
        }
      }
    }
  }
}

/// q, k and v (or gate and up) as one operation: the bits of each product by itself, whatever kind of output it has,
/// on one thread and on several, also where formats differ or the tokens are too many for rows.
TEST_P(RowsTest, ProductsTogetherHaveTheBitsOfEachAlone) {
  const HostOperations& op = operations(GetParam().set);
  ThreadTeam team(3);
  for (const FormatCase& f : kFormats) {
    for (const bool same_format : {true, false}) {
      const FormatCase other = same_format ? f : FormatCase{Element::Int8, 16};
      const PackedMatrix weights[] = {random_matrix(random_, f.element, f.group_size, 1031, 384),
                                      random_matrix(random_, other.element, other.group_size, 130, 384),
                                      random_matrix(random_, f.element, f.group_size, 3, 384)};
      for (const int tokens : {1, 2, 33, 150}) {
        SCOPED_TRACE(std::string(name_of(f.element)) + " group " + std::to_string(f.group_size) + ", " +
                     std::to_string(tokens) + " tokens, " + (same_format ? "one format" : "two formats"));
        const auto x = random_.bf16s(tokens * 384);
        struct Outputs {
          std::vector<bf16> narrow;
          std::vector<float> plain, sum;
        };
        const auto run = [&](bool together) {
          Outputs out{poisoned_bf16(tokens * 1031), poisoned(tokens * 130), std::vector<float>(tokens * 3, 1.5f)};
          const MatmulsArgs products{
              {{{.x = view(x), .weight = weights[0].matrix(), .out_bf16 = view(out.narrow), .tokens = tokens},
                {.x = view(x), .weight = weights[1].matrix(), .out_f32 = view(out.plain), .tokens = tokens},
                {.x = view(x), .weight = weights[2].matrix(), .accumulate = view(out.sum), .tokens = tokens}}},
              3};
          if (together) {
            op.run(products);
          } else {
            for (const MatmulArgs& product : products.all()) op.run(product);
          }
          return out;
        };
        const Outputs alone = run(false);
        for (ThreadTeam* shared : {static_cast<ThreadTeam*>(nullptr), &team}) {
          const ThreadTeam::Scope scope(shared);
          const Outputs together = run(true);
          EXPECT_EQ(std::memcmp(alone.narrow.data(), together.narrow.data(), alone.narrow.size() * 2), 0);
          EXPECT_EQ(std::memcmp(alone.plain.data(), together.plain.data(), alone.plain.size() * 4), 0);
          EXPECT_EQ(std::memcmp(alone.sum.data(), together.sum.data(), alone.sum.size() * 4), 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace krasis::test

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "kernels/host/operations/cache/kv_layout.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

using AttentionTest = OperationTest;
KRASIS_ALL_SETS(AttentionTest);

/// Layouts that the operations under test read, for heads of so many numbers. As tiles, some sequences begin where
/// tiles do and some do not.
std::vector<KvLayout> layouts(int head_dim) {
  if (kOnDevice || head_dim % 64 != 0) return {KvLayout::Rows};
  return {KvLayout::Rows, KvLayout::Tiles};
}

/// A cache with its memory, poisoned with NaN.
struct Cache {
  Cache(KvElement element, int rows, int heads, int head_dim, KvLayout layout = KvLayout::Rows)
      : size(static_cast<std::size_t>(kv_capacity(rows)) * heads * head_dim * kv_bytes(element)),
        keys(size, std::byte{0x7f}),
        values(size, std::byte{0x7f}),
        key_scales(poisoned(static_cast<std::size_t>(kv_capacity(rows)) * heads)),
        value_scales(key_scales) {
    cache = {element, rows, heads, head_dim, {view(keys), {}}, {view(values), {}}, layout};
    if (element == KvElement::Fp8) {
      cache.keys.scales = view(key_scales);
      cache.values.scales = view(value_scales);
    }
  }
  /// The byte where a number begins, by the words of kernels/tensor.h and kv_layout.h.
  std::size_t at(KvPart part, std::int64_t row, int head, int i) const {
    const int bytes = cache.element == KvElement::Bf16 ? 2 : 1;
    if (cache.layout == KvLayout::Rows) {
      return static_cast<std::size_t>((row * cache.heads + head) * cache.head_dim + i) * bytes;
    }
    // Of each head 64 rows after another; of these lines of 64 bytes, 4 for each of 16.
    const std::int64_t block = head * (kv_capacity(cache.rows) / 64) + row / 64;
    const auto in_block = static_cast<int>(row % 64);
    const int lines = cache.head_dim * bytes, many = 4 / bytes;  // many: numbers in 4 bytes
    int line = 0, which = 0, place = 0;                          // place: in the 4 bytes
    if (part == KvPart::Keys) {  // 16 rows after another, each line `many` numbers of them
      line = in_block / 16 * (cache.head_dim / many) + i / many;
      which = in_block % 16;
      place = i % many;
    } else {  // 16 * many rows after another, 16 numbers after another, each line rows j, j + 16, ...
      const int rows_together = 16 * many;
      line = in_block / rows_together * cache.head_dim + i / 16 * 16 + in_block % 16;
      which = i % 16;
      place = in_block % rows_together / 16;
    }
    return static_cast<std::size_t>((block * lines + line) * 64 + which * 4 + place * bytes);
  }
  float scale(KvPart part, std::int64_t row, int head) const {
    const KvPlane& plane = part == KvPart::Keys ? cache.keys : cache.values;
    const bool rows = cache.layout == KvLayout::Rows;
    return plane.scales.data[rows ? row * cache.heads + head : head * kv_capacity(cache.rows) + row];
  }
  int code(KvPart part, std::int64_t row, int head, int i) const {
    return static_cast<int>((part == KvPart::Keys ? keys : values)[at(part, row, head, i)]);
  }
  double read(KvPart part, std::int64_t row, int head, int i) const {
    if (cache.element == KvElement::Bf16) {
      bf16 number;
      std::memcpy(&number, (part == KvPart::Keys ? keys : values).data() + at(part, row, head, i), 2);
      return static_cast<float>(number);
    }
    return static_cast<double>(scale(part, row, head)) * e4m3_value(code(part, row, head, i));
  }
  /// What a kernel that takes denormal codes for zero makes of the stored number, at most.
  double flushed(KvPart part, std::int64_t row, int head, int i) const {
    const bool denormal = cache.element == KvElement::Fp8 && (code(part, row, head, i) & 0x78) == 0;
    return denormal ? std::fabs(read(part, row, head, i)) : 0.0;
  }
  std::size_t size;
  std::vector<std::byte> keys, values;
  std::vector<float> key_scales, value_scales;
  KvCache cache;
};

/// Three sequences in one batch: one in its middle, one of a single token, one from its start with 17 tokens.
struct Sequences {
  std::vector<std::int32_t> positions;
  std::vector<SequenceSpan> spans = {{0, 3, 10}, {3, 1, 100}, {4, 17, 192}};
  Sequences() : positions({60, 61, 62, 35}) {
    for (int i = 0; i < 17; ++i) positions.push_back(i);
  }
  Batch batch() const { return {static_cast<int>(positions.size()), view(positions), view(spans)}; }
  static constexpr int kRows = 210;
};

TEST_P(AttentionTest, AppendWritesTheRowsOfItsTokensAndNoOther) {
  const Sequences s;
  const int heads = 3;
  for (const int head_dim : {20, 64}) {
    for (const KvLayout layout : layouts(head_dim)) {
      Cache c(KvElement::Bf16, Sequences::kRows, heads, head_dim, layout);
      const auto k = random_.bf16s(s.positions.size() * heads * head_dim);
      const auto v = random_.bf16s(k.size());
      op().run<KvAppendArgs>({view(k), view(v), c.cache, s.batch()});
      std::vector<bool> written[2] = {std::vector<bool>(c.size), std::vector<bool>(c.size)};
      for (const SequenceSpan& span : s.spans) {
        for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
          const int row = span.first_slot + s.positions[t];
          for (int i = 0; i < heads * head_dim; ++i) {
            const int head = i / head_dim, n = i % head_dim;
            EXPECT_EQ(c.read(KvPart::Keys, row, head, n), static_cast<float>(k[t * heads * head_dim + i]));
            EXPECT_EQ(c.read(KvPart::Values, row, head, n), static_cast<float>(v[t * heads * head_dim + i]));
            for (int byte = 0; byte < 2; ++byte) {
              written[0][c.at(KvPart::Keys, row, head, n) + byte] = true;
              written[1][c.at(KvPart::Values, row, head, n) + byte] = true;
            }
          }
        }
      }
      for (const auto& bytes : written) {
        EXPECT_EQ(std::count(bytes.begin(), bytes.end(), true), 21 * heads * head_dim * 2) << "places are not distinct";
      }
      for (std::size_t i = 0; i < c.size; ++i) {
        EXPECT_TRUE(written[0][i] || c.keys[i] == std::byte{0x7f});
        EXPECT_TRUE(written[1][i] || c.values[i] == std::byte{0x7f});
      }
    }
  }
}

TEST_P(AttentionTest, AppendQuantizesToTheNearestFp8OfEachHead) {
  const int head_dim = 24;
  Cache c(KvElement::Fp8, 4, 2, head_dim);
  auto k = random_.bf16s(2 * head_dim, 3.0);
  const auto v = random_.bf16s(2 * head_dim, 1e-3);
  std::fill(k.begin(), k.begin() + head_dim, bf16(0.0f));
  const std::vector<std::int32_t> positions = {2};
  const std::vector<SequenceSpan> spans = {{0, 1, 1}};
  op().run<KvAppendArgs>({view(k), view(v), c.cache, {1, view(positions), view(spans)}});
  EXPECT_EQ(c.key_scales[3 * 2], 1.0f) << "a head of zeros";
  for (int head = 0; head < 2; ++head) {
    float largest = 0;
    for (int i = 0; i < head_dim; ++i)
      largest = std::max(largest, std::fabs(static_cast<float>(v[head * head_dim + i])));
    EXPECT_FLOAT_EQ(c.value_scales[3 * 2 + head], largest / 448.0f);
    for (int i = 0; i < head_dim; ++i) {
      const double exact = static_cast<float>(v[head * head_dim + i]);
      double nearest = 1e9;
      for (int code = 0; code < 256; ++code) {
        if (code % 128 == 127) continue;
        nearest =
            std::min(nearest, std::fabs(e4m3_value(code) * static_cast<double>(c.value_scales[6 + head]) - exact));
      }
      // The quotient is rounded to FP32 before it is rounded to FP8.
      EXPECT_NEAR(std::fabs(c.read(KvPart::Values, 3, head, i) - exact), nearest, 2 * kU * std::fabs(exact));
    }
  }
}

/// Every set writes the reference's bits: all magnitudes, numbers that are not finite, heads of any width.
TEST_P(AttentionTest, AppendedFp8HasTheReferencesBits) {
  if (kOnDevice) GTEST_SKIP() << "a device may round a quotient otherwise";
  const std::vector<std::int32_t> positions = {0};
  const std::vector<SequenceSpan> spans = {{0, 1, 0}};
  const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-39f, -3e38f};
  for (const int head_dim : {1, 7, 8, 64, 129}) {
    for (int round = 0; round < 40; ++round) {
      auto k = random_.bf16s(4 * head_dim, 1.0);
      const auto magnitudes = random_.floats(k.size());
      for (std::size_t i = 0; i < k.size(); ++i) k[i] = bf16(static_cast<float>(k[i]) * std::exp(4.0f * magnitudes[i]));
      if (round % 4 == 3) k[static_cast<std::size_t>(round) % k.size()] = bf16(special[round / 4 % 7]);
      const auto v = random_.bf16s(k.size(), 1e-3);
      for (const KvLayout layout : layouts(head_dim)) {
        Cache c(KvElement::Fp8, 1, 4, head_dim, layout), expected(KvElement::Fp8, 1, 4, head_dim, layout);
        op().run<KvAppendArgs>({view(k), view(v), c.cache, {1, view(positions), view(spans)}});
        scalar_operations().run<KvAppendArgs>({view(k), view(v), expected.cache, {1, view(positions), view(spans)}});
        ASSERT_EQ(c.keys, expected.keys);
        ASSERT_EQ(c.values, expected.values);
        for (int head = 0; head < 4; ++head) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(c.scale(KvPart::Keys, 0, head)),
                    std::bit_cast<std::uint32_t>(expected.scale(KvPart::Keys, 0, head)));
        }
      }
    }
  }
}

/// So every reader sees that it is no number, also one that does not look at each code.
TEST_P(AttentionTest, AHeadThatIsNotFiniteHasNoScale) {
  if (kOnDevice) GTEST_SKIP() << "a device keeps NaN in the codes";
  const std::vector<std::int32_t> positions = {0};
  const std::vector<SequenceSpan> spans = {{0, 1, 0}};
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    auto k = random_.bf16s(2 * 20);
    k[33] = bf16(bad);
    Cache c(KvElement::Fp8, 1, 2, 20);
    op().run<KvAppendArgs>({view(k), view(k), c.cache, {1, view(positions), view(spans)}});
    EXPECT_TRUE(std::isfinite(c.key_scales[0]));
    EXPECT_TRUE(std::isnan(c.key_scales[1]));
    EXPECT_TRUE(std::isnan(c.value_scales[1]));
  }
}

TEST_P(AttentionTest, AppendRefusesARowBeyondTheCache) {
  if (kOnDevice) GTEST_SKIP() << "a kernel cannot throw: it skips the row";
  Cache c(KvElement::Bf16, 4, 1, 8);
  const auto k = random_.bf16s(8);
  const std::vector<std::int32_t> positions = {3};
  const std::vector<SequenceSpan> spans = {{0, 1, 1}};
  EXPECT_THROW(op().run<KvAppendArgs>({view(k), view(k), c.cache, {1, view(positions), view(spans)}}),
               std::out_of_range);
}

/// Fills the rows that the sequences see; all others stay NaN, so that a key too many shows.
void fill_cache(Random& random, const Sequences& s, Cache& c) {
  for (const SequenceSpan& span : s.spans) {
    const int length = s.positions[span.query_begin + span.query_count - 1] + 1;
    std::vector<std::int32_t> positions;
    for (int p = 0; p < length; ++p) positions.push_back(p);
    const std::vector<SequenceSpan> one = {{0, length, span.first_slot}};
    const auto k = random.bf16s(static_cast<std::size_t>(length) * c.cache.heads * c.cache.head_dim, 2.0);
    const auto v = random.bf16s(k.size());
    scalar_operations().run<KvAppendArgs>({view(k), view(v), c.cache, {length, view(positions), view(one)}});
  }
}

/// One query head against the formula.
///
/// Errors: a score by gamma(d + 2) sum|scale q k| (one rounding for a dequantized key, one for the scale); the
/// difference to the maximum by u of it; exp by 4 u. Each of n keys can raise the maximum and so multiply earlier sums
/// by another rounded exp (6 u). A softmax weight's relative error is at most the sum of these, twice: once for the
/// numerator, once for the denominator. The sum over n values adds gamma(n + 2). By AMX a score is rounded three times
/// more, a weight for the sum is two BF16 numbers: 2^-16, and FP8 numbers below 2^-6 of a scale are zero.
void check_head(const Cache& c, const AttentionArgs& args, const SequenceSpan& span, int t, int head) {
  const int d = c.cache.head_dim;
  const int kv_head = head / (args.heads / c.cache.heads);
  const int n = args.batch.positions.data[t] + 1;
  const std::int64_t at = (static_cast<std::int64_t>(t) * args.heads + head) * d;
  std::vector<double> scores;
  double score_error = 0;
  for (int p = 0; p < n; ++p) {
    std::vector<double> key;
    for (int i = 0; i < d; ++i) key.push_back(c.read(KvPart::Keys, span.first_slot + p, kv_head, i));
    const Dot product = dot(args.q.data + at, key.data(), d);
    double flushed = 0;
    for (int i = 0; i < d; ++i) {
      const double q = static_cast<float>(args.q.data[at + i]);
      flushed += std::fabs(q) * c.flushed(KvPart::Keys, span.first_slot + p, kv_head, i);
    }
    scores.push_back(static_cast<double>(args.scale) * product.sum);
    score_error = std::max(score_error, static_cast<double>(args.scale) * (gamma(d + 5) * product.magnitude + flushed));
  }
  const auto [lowest, highest] = std::minmax_element(scores.begin(), scores.end());
  const double range = *highest - *lowest;
  const double top = *highest;
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - top);
  const double relative = 2 * (2 * score_error + kU * range + (6.0 * n + 4) * kU) + gamma(n + 2) + 0x1p-16;
  for (int i = 0; i < d; ++i) {
    double value = 0;
    double magnitude = 0;
    double flushed = 0;
    for (int p = 0; p < n; ++p) {
      const double term = scores[p] / total * c.read(KvPart::Values, span.first_slot + p, kv_head, i);
      value += term;
      magnitude += std::fabs(term);
      flushed += scores[p] / total * c.flushed(KvPart::Values, span.first_slot + p, kv_head, i);
    }
    ASSERT_NEAR(static_cast<float>(args.out.data[at + i]), value, bf16_bound(value, relative * magnitude + flushed))
        << "token " << t << " head " << head << " element " << i;
  }
}

/// All heads of all tokens.
void check_all(const Cache& c, const AttentionArgs& args) {
  for (std::size_t s = 0; s < args.batch.sequences.size; ++s) {
    const SequenceSpan& span = args.batch.sequences.data[s];
    for (int t = span.query_begin; t < span.query_begin + span.query_count; ++t) {
      for (int head = 0; head < args.heads; ++head) check_head(c, args, span, t, head);
    }
  }
}

TEST_P(AttentionTest, SeveralSequencesGroupedHeadsOddSizes) {
  struct Shape {
    int heads, kv_heads, head_dim;
  };
  const Sequences s;
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Shape shape : {Shape{1, 1, 64}, Shape{6, 2, 80}, Shape{4, 4, 18}, Shape{7, 1, 128}, Shape{10, 1, 192},
                              Shape{20, 1, 64}, Shape{2, 1, 320}}) {
      for (const KvLayout layout : layouts(shape.head_dim)) {
        SCOPED_TRACE(std::to_string(shape.heads) + " heads of " + std::to_string(shape.head_dim) +
                     (layout == KvLayout::Tiles ? " in tiles" : ""));
        Cache c(element, Sequences::kRows, shape.kv_heads, shape.head_dim, layout);
        fill_cache(random_, s, c);
        const auto q = random_.bf16s(s.positions.size() * shape.heads * shape.head_dim);
        auto out = poisoned_bf16(q.size());
        const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
        const AttentionArgs args{view(q), c.cache, s.batch(), view(out), shape.heads, scale};
        op().run<AttentionArgs>(args);
        check_all(c, args);
      }
    }
  }
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  Cache c(KvElement::Bf16, 40, 1, 16);
  std::vector<std::int32_t> positions;
  for (int p = 0; p < 40; ++p) positions.push_back(p);
  const std::vector<SequenceSpan> spans = {{0, 40, 0}};
  const Batch batch{40, view(positions), view(spans)};
  const auto k = random_.bf16s(40 * 16, 50.0);
  const auto v = random_.bf16s(40 * 16);
  op().run<KvAppendArgs>({view(k), view(v), c.cache, batch});
  const auto q = random_.bf16s(40 * 16, 50.0);
  auto out = poisoned_bf16(q.size());
  const AttentionArgs args{view(q), c.cache, batch, view(out), 1, 1.0f};
  op().run<AttentionArgs>(args);
  for (int t = 0; t < 40; ++t) check_head(c, args, spans[0], t, 0);
}

/// Up to 16 tokens, whose contexts are shared out: sequences of one token that end around the places where that is
/// done, and of several, some of which see nothing of the last keys.
TEST_P(AttentionTest, LongContextsOfFewTokens) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const int dim : {72, 64, 128}) {
      for (const KvLayout layout : layouts(dim)) {
        SCOPED_TRACE(std::to_string(dim) + (layout == KvLayout::Tiles ? " in tiles" : ""));
        Sequences s;
        s.positions.clear();
        s.spans.clear();
        std::int32_t slot = layout == KvLayout::Tiles ? 64 : 3;
        for (const auto& [first, count] :
             {std::pair{3700, 1}, {1022, 1}, {1023, 1}, {1024, 1}, {0, 1}, {250, 9}, {63, 2}}) {
          s.spans.push_back({static_cast<std::int32_t>(s.positions.size()), count, slot});
          for (int i = 0; i < count; ++i) s.positions.push_back(first + i);
          slot += first + count;
          if (layout == KvLayout::Tiles) slot = static_cast<std::int32_t>(kv_capacity(slot));
        }
        Cache c(element, slot, 2, dim, layout);
        fill_cache(random_, s, c);
        const auto q = random_.bf16s(s.positions.size() * 6 * dim);
        auto out = poisoned_bf16(q.size());
        const AttentionArgs args{view(q), c.cache, s.batch(), view(out), 6, 1.0f / std::sqrt(static_cast<float>(dim))};
        op().run<AttentionArgs>(args);
        check_all(c, args);
      }
    }
  }
}

/// So many keys of so many heads that all threads merge what they found; the bits are one thread's.
TEST_P(AttentionTest, AVeryLongContext) {
  constexpr int kLast = 16500, kDim = 64, kHeads = 16, kKvHeads = 2;
  ThreadTeam team(3);
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const KvLayout layout : layouts(kDim)) {
      Sequences s;
      s.positions = {kLast};
      s.spans = {{0, 1, 0}};
      Cache c(element, kLast + 1, kKvHeads, kDim, layout);
      fill_cache(random_, s, c);
      const auto q = random_.bf16s(kHeads * kDim);
      auto out = poisoned_bf16(q.size()), alone = out;
      op().run<AttentionArgs>({view(q), c.cache, s.batch(), view(alone), kHeads, 0.125f});
      const ThreadTeam::Scope scope(&team);
      const AttentionArgs args{view(q), c.cache, s.batch(), view(out), kHeads, 0.125f};
      op().run<AttentionArgs>(args);
      for (const int head : {0, 15}) check_head(c, args, s.spans[0], 0, head);
      if (kOnDevice) continue;
      for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i].bits, alone[i].bits) << "element " << i;
    }
  }
}

/// However many tokens come at once, and whoever shares out the work: contexts of few splits and of many.
TEST_P(AttentionTest, ATokensBitsDoNotDependOnItsBatch) {
  if (kOnDevice) GTEST_SKIP() << "parts of a context depend on the number of tokens; equal calls give equal bits";
  constexpr std::size_t kTokens = 40, kHeads = 4, kDim = 64, kToken = kHeads * kDim;
  ThreadTeam team(3);
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const int last : {81, 300, 1279, 2100}) {
      Cache c(element, last + 1, 2, kDim, op().kv_layout(kHeads, 2, kDim));
      Sequences s;
      s.positions.clear();
      for (int p = last - static_cast<int>(kTokens) + 1; p <= last; ++p) s.positions.push_back(p);
      s.spans = {{0, kTokens, 0}};
      fill_cache(random_, s, c);
      const auto q = random_.bf16s(kTokens * kToken);
      auto together = poisoned_bf16(q.size());
      op().run<AttentionArgs>({view(q), c.cache, s.batch(), view(together), kHeads, 0.125f});
      const ThreadTeam::Scope scope(&team);
      for (const std::size_t size : {std::size_t{1}, std::size_t{5}, std::size_t{16}}) {
        auto parts = poisoned_bf16(q.size());
        for (std::size_t t = 0; t < kTokens; t += size) {
          const std::size_t count = std::min(size, kTokens - t);
          const std::vector<SequenceSpan> one = {{0, static_cast<std::int32_t>(count), 0}};
          op().run<AttentionArgs>({view(q).sub(t * kToken, count * kToken),
                                   c.cache,
                                   {static_cast<int>(count), view(std::as_const(s.positions)).sub(t, count), view(one)},
                                   view(parts).sub(t * kToken, count * kToken),
                                   kHeads,
                                   0.125f});
        }
        for (std::size_t i = 0; i < together.size(); ++i) {
          ASSERT_EQ(parts[i].bits, together[i].bits)
              << "element " << i << " of contexts up to " << last << ", " << size << " at once";
        }
      }
    }
  }
}

}  // namespace
}  // namespace krasis::test

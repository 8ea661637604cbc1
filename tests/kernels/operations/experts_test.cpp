#include <algorithm>
#include <numeric>

#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

using ExpertsTest = OperationTest;
KRASIS_ALL_ROW_SETS(ExpertsTest);

/// Softmax and ranking as the words say. Relative error of a weight: exponents by u of the range, exp by 4 u, the sum
/// of all by gamma(experts), quotients.
void check_router(const RouterArgs& args, std::size_t t) {
  const float* logits = args.logits.data + t * args.experts;
  std::vector<int> ranked(args.experts);
  std::iota(ranked.begin(), ranked.end(), 0);
  std::stable_sort(ranked.begin(), ranked.end(), [logits](int a, int b) { return logits[a] > logits[b]; });
  const double top = logits[ranked.front()];
  const double range = top - logits[ranked.back()];
  double total = 0;
  for (int e = 0; e < args.experts; ++e) total += std::exp(logits[e] - top);
  double kept = 0;
  for (int j = 0; j < args.top_k; ++j) kept += std::exp(logits[ranked[j]] - top) / total;
  for (int j = 0; j < args.top_k; ++j) {
    EXPECT_EQ(args.ids.data[t * args.top_k + j], ranked[j]);
    const double weight = std::exp(logits[ranked[j]] - top) / total / (args.renormalize ? kept : 1.0);
    const double error = weight * (gamma(args.experts + 12) + 4 * kU * range);
    EXPECT_NEAR(args.weights.data[t * args.top_k + j], weight, error);
  }
}

TEST_P(ExpertsTest, RouterTakesTheLargestInOrder) {
  for (const bool renormalize : {true, false}) {
    for (const auto& [count, top_k] : {std::pair{16, 4}, std::pair{13, 13}, std::pair{128, 8}, std::pair{5, 1}}) {
      const auto logits = random_.floats(9 * count, 3.0);
      std::vector<std::int32_t> ids(9 * top_k, -99);
      auto weights = poisoned(ids.size());
      const RouterArgs args{view(logits), view(ids), view(weights), count, top_k, renormalize};
      op().run<RouterArgs>(args);
      for (std::size_t t = 0; t < 9; ++t) check_router(args, t);
    }
  }
}

TEST_P(ExpertsTest, RouterTiesGoToTheSmallerIndexAndNaNLast) {
  const std::vector<float> logits = {1.0f, 2.0f, 2.0f, 2.0f, 1.0f, 2.0f, 1.0f, std::nanf(""), -3.0f, 9.0f};
  std::vector<std::int32_t> ids(6, -99);
  auto weights = poisoned(6);
  op().run<RouterArgs>({view(logits), view(ids), view(weights), 5, 3, true});
  EXPECT_EQ(ids, (std::vector<std::int32_t>{1, 2, 3, 4, 0, 1}));
  EXPECT_FLOAT_EQ(weights[0], 1.0f / 3.0f);
  EXPECT_TRUE(std::isnan(weights[3]));
}

/// Experts 0..count-1; those in `here` have blocks, in shuffled order with gaps between them.
struct Pool {
  Pool(Random& random, const ExpertLayout& given, int count, std::vector<int> here) : layout(given) {
    offsets.assign(count, -1);
    random.shuffle(here);
    for (const int e : here) {
      bytes.resize(bytes.size() + 64, std::byte{0xff});
      offsets[e] = static_cast<std::int64_t>(bytes.size());
      for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
        const std::size_t at = bytes.size();
        bytes.resize(at + m.bytes());
        pack_rows(random.floats(m.rows * m.columns, 0.1), m, bytes.data() + at);
      }
    }
  }
  Matrix matrix(int expert, const MatrixLayout& m, std::size_t offset) const {
    return {m, bytes.data() + offsets[expert] + offset};
  }
  ExpertLayout layout;
  std::vector<std::int64_t> offsets;
  std::vector<std::byte> bytes;
};

struct Bounded {
  double value = 0;
  double error = 0;
  double magnitude = 0;  ///< of a sum: that of its terms
};

/// glu(gate(x), up(x)) rounded to BF16, with the error that an FP32 evaluation may add: where value +- error round to
/// the same BF16 there is none.
std::vector<Bounded> activated(const Pool& pool, int expert, const bf16* x, bool prepared, Glu glu) {
  const std::int64_t hidden = pool.layout.hidden();
  const auto gate = decode(pool.matrix(expert, pool.layout.gate, pool.layout.gate_offset()));
  const auto up = decode(pool.matrix(expert, pool.layout.up, pool.layout.up_offset()));
  std::vector<Bounded> result;
  for (std::int64_t o = 0; o < pool.layout.width(); ++o) {
    const Dot g = dot(x, &gate[o * hidden], hidden);
    const Dot u = dot(x, &up[o * hidden], hidden);
    const bool plain = glu == Glu::SwiGlu;
    const double gate_value = plain ? g.sum : std::min(g.sum, 7.0);
    const double up_value = plain ? u.sum : std::clamp(u.sum, -7.0, 7.0) + 1;
    const double silu = gate_value / (1 + std::exp((plain ? -1 : -1.702) * gate_value));
    const double value = silu * up_value;
    double gate_error = gamma(static_cast<double>(hidden) + 2) * g.magnitude;
    double up_error = gamma(static_cast<double>(hidden) + 2) * u.magnitude;
    if (prepared) {
      gate_error += preparation_error(x, &gate[o * hidden], hidden, pool.layout.gate.format);
      up_error += preparation_error(x, &up[o * hidden], hidden, pool.layout.up.format);
    }
    // |silu'| <= 1.1, whatever the factor in its exponent; exp and three operations: 8 u; the exponent's own rounding;
    // clamping only shrinks errors; u + 1 is rounded once more.
    const double exponent_error = plain ? 0 : 2 * 1.702 * kU * std::fabs(gate_value);
    const double silu_error = 1.1 * gate_error + (8 * kU + exponent_error) * std::fabs(silu);
    const double error = silu_error * (std::fabs(up_value) + up_error) + std::fabs(silu) * up_error +
                         (plain ? 1 : 2) * kU * std::fabs(value);
    const double low = static_cast<float>(bf16(static_cast<float>(value - error)));
    const double high = static_cast<float>(bf16(static_cast<float>(value + error)));
    const double rounded = static_cast<float>(bf16(static_cast<float>(value)));
    result.push_back({rounded, high - low, 0});
  }
  return result;
}

/// sum_j weight_j * expert_j(x)[o] for one token, for all o; empty if none of its experts is here.
std::vector<Bounded> expected(const ExpertsArgs& args, const Pool& pool, std::int64_t t, bool prepared) {
  const std::int64_t hidden = pool.layout.hidden();
  const std::int64_t width = pool.layout.width();
  std::vector<Bounded> sums;
  for (std::int64_t j = t * args.top_k; j < (t + 1) * args.top_k; ++j) {
    const std::int32_t id = args.ids.data[j];
    if (id < 0 || id >= static_cast<int>(pool.offsets.size()) || pool.offsets[id] < 0) continue;
    sums.resize(hidden);
    const auto h = activated(pool, id, args.x.data + t * hidden, prepared, args.glu);
    const auto down = decode(pool.matrix(id, pool.layout.down, pool.layout.down_offset()));
    for (std::int64_t o = 0; o < hidden; ++o) {
      double y = 0;
      double error = 0;
      double magnitude = 0;
      for (std::int64_t i = 0; i < width; ++i) {
        y += down[o * width + i] * h[i].value;
        magnitude += std::fabs(down[o * width + i] * h[i].value);
        error += std::fabs(down[o * width + i]) * h[i].error;
      }
      error += gamma(static_cast<double>(width) + 2) * (magnitude + error);
      if (prepared) {
        std::vector<bf16> largest;  // what was prepared is within its error of these values
        for (const Bounded& value : h)
          largest.push_back(bf16(static_cast<float>((std::fabs(value.value) + value.error) * 1.01)));
        error += preparation_error(largest.data(), &down[o * width], width, pool.layout.down.format);
      }
      const double weight = args.weights.data[j];
      sums[o].value += weight * y;
      sums[o].magnitude += std::fabs(weight * y) + std::fabs(weight) * error;
      // The product, and the addition to a sum of at most top_k such terms (bounded below by the caller).
      sums[o].error += std::fabs(weight) * (error + kU * (std::fabs(y) + error));
    }
  }
  return sums;
}

void check_experts(const HostOperations& op, Random& random, const ExpertLayout& layout, int tokens, int top_k,
                   Glu glu = Glu::SwiGlu) {
  SCOPED_TRACE(std::string(name_of(layout.gate.format.element)) + " hidden " + std::to_string(layout.hidden()) +
               " width " + std::to_string(layout.width()) + ", " + std::to_string(tokens) + " tokens");
  const int count = 7;
  const Pool pool(random, layout, count, {0, 2, 3, 6});
  const auto x = random.bf16s(tokens * layout.hidden(), glu == Glu::SwiGlu ? 1.0 : 8.0);  // so that limits are reached
  std::vector<std::int32_t> ids;
  for (int t = 0; t < tokens; ++t) {
    // From -1 to `count`: the ends are no experts; 1, 4 and 5 are elsewhere.
    std::vector<std::int32_t> all(count + 2);
    std::iota(all.begin(), all.end(), -1);
    random.shuffle(all);
    ids.insert(ids.end(), all.begin(), all.begin() + top_k);
  }
  auto weights = poisoned(ids.size());
  for (float& w : weights) w = static_cast<float>(random.uniform(0.05, 1.0));
  const auto before = random.floats(tokens * layout.hidden());
  auto out = before;
  std::vector<std::byte> workspace(experts_workspace_bytes(tokens, top_k, layout), std::byte{0xff});
  const ExpertsArgs args{view(x), view(ids), view(weights), view(pool.bytes), view(pool.offsets),
                         layout,  top_k,     view(out),     view(workspace),  glu};
  op.run<ExpertsArgs>(args);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto sums = expected(args, pool, t, &op != &scalar_operations());
    for (std::int64_t o = 0; o < layout.hidden(); ++o) {
      const std::int64_t i = t * layout.hidden() + o;
      if (sums.empty()) {
        ASSERT_EQ(out[i], before[i]) << "token " << t << " has no expert here";
        continue;
      }
      const double value = before[i] + sums[o].value;
      const double partial = std::fabs(before[i]) + sums[o].magnitude;  // no partial sum is larger
      ASSERT_NEAR(out[i], value, sums[o].error + gamma(top_k) * partial) << "token " << t << " element " << o;
    }
  }
}

TEST_P(ExpertsTest, SomeHereSomeElsewhereInAllFormats) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 2, 19, 64}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 64, 96), tokens, 3);
    }
    if (f.fits(130) && f.fits(50)) check_experts(op(), random_, expert_layout(f.element, f.group_size, 130, 50), 5, 1);
    check_experts(op(), random_, expert_layout(f.element, f.group_size, 160, 288), 12, 2);
  }
}

TEST_P(ExpertsTest, GptOssActivation) {
  for (const FormatCase& f :
       {FormatCase{Element::Mxfp4, 32}, FormatCase{Element::Int8, 64}, FormatCase{Element::Bf16, 0}}) {
    for (const int tokens : {1, 5, 40}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 160, 96), tokens, 2, Glu::ClampedSwiGlu);
    }
  }
}

TEST_P(ExpertsTest, ATokenWithoutExpertsIsNeitherReadNorWritten) {
  const ExpertLayout layout = expert_layout(Element::Int8, 32, 64, 32);
  const Pool pool(random_, layout, 4, {1});
  std::vector<bf16> x = poisoned_bf16(2 * 64);
  const auto good = random_.bf16s(64);
  std::copy(good.begin(), good.end(), x.begin() + 64);
  const std::vector<std::int32_t> ids = {0, 3, 1, -1};
  const std::vector<float> weights = {std::nanf(""), 1.0f, 0.5f, std::nanf("")};
  std::vector<float> out = poisoned(2 * 64);
  std::fill(out.begin() + 64, out.end(), 0.0f);
  const std::uint32_t mark = 0x7fc12345u;  // a NaN that no arithmetic makes
  for (int i = 0; i < 64; ++i) out[i] = std::bit_cast<float>(mark);
  std::vector<std::byte> workspace(experts_workspace_bytes(2, 2, layout), std::byte{0xff});
  op().run<ExpertsArgs>(
      {view(x), view(ids), view(weights), view(pool.bytes), view(pool.offsets), layout, 2, view(out), view(workspace)});
  for (int i = 0; i < 64; ++i) EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), mark);
  for (int i = 64; i < 128; ++i) EXPECT_TRUE(std::isfinite(out[i]));
  EXPECT_NE(out[64], 0.0f);
}

TEST_P(ExpertsTest, GatherCopiesEachPickedBlockThatHasAPlaceOnce) {
  for (const auto& [experts, picks, block_bytes] : {std::tuple{5, 3, 64}, std::tuple{40, 9, 33 * 64}, std::tuple{130, 700, 40 * 1024 + 64}}) {
    const auto block = static_cast<std::size_t>(block_bytes);
    std::vector<std::byte> from(experts * block);
    for (std::byte& b : from) b = static_cast<std::byte>(random_.integer(0, 255));
    std::vector<std::int64_t> offsets(experts, -1);
    std::vector<int> places(experts);
    std::iota(places.begin(), places.end(), 0);
    random_.shuffle(places);
    for (int e = 0; e < experts; ++e) {
      if (random_.integer(0, 3) > 0) offsets[e] = static_cast<std::int64_t>(places[e] * block);
    }
    std::vector<std::int32_t> ids(picks);
    for (std::int32_t& id : ids) id = random_.integer(-1, experts);  // -1 and `experts` are nobody
    std::vector<std::byte> to(experts * block, std::byte{0xff});
    std::vector<std::byte> expected = to;
    std::vector<std::int64_t> copied = {7};
    std::int64_t count = 7;
    for (int e = 0; e < experts; ++e) {
      if (offsets[e] < 0 || std::find(ids.begin(), ids.end(), e) == ids.end()) continue;
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(e * block), block, expected.begin() + offsets[e]);
      ++count;
    }
    op().run<GatherExpertsArgs>({view(ids), view(offsets), view(from), view(to), block, view(copied)});
    EXPECT_EQ(copied[0], count);
    EXPECT_TRUE(to == expected) << experts << " experts of " << block << " bytes";
  }
}

}  // namespace
}  // namespace krasis::test

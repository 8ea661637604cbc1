#include <algorithm>
#include <map>
#include <set>

#include "kernels/host/operations/sampling/sampling.h"
#include "tests/kernels/operations/support.h"

namespace krasis::test {
namespace {

using SampleTest = OperationTest;
KRASIS_ALL_SETS(SampleTest);

const float kNaN = std::nanf("");
const float kInfinity = std::numeric_limits<float>::infinity();

/// One choice; `history` is what the sequence holds.
std::int32_t choose(const HostOperations& op, const std::vector<float>& logits, SamplingState state,
                    std::vector<std::int32_t> history = {}) {
  state.length = std::max(state.length, static_cast<std::int32_t>(history.size()));
  history.resize(static_cast<std::size_t>(state.length) + 1, -5);
  const std::int32_t length = state.length;
  std::int32_t token = -1;
  op.run<SampleArgs>({view(logits), {&state, 1}, view(history), {&token, 1}});
  EXPECT_EQ(history.back(), token);
  EXPECT_EQ(state.length, length + 1);
  return token;
}

/// How often each token comes, over `draws` different seeds.
std::map<int, int> draw_many(const HostOperations& op, const std::vector<float>& logits, SamplingState state,
                             int draws) {
  std::map<int, int> counts;
  for (int i = 0; i < draws; ++i) {
    state.length = i % 50;
    ++counts[choose(op, logits, state)];
    if (i % 50 == 49) ++state.seed;
  }
  return counts;
}

std::set<int> tokens_of(const std::map<int, int>& counts) {
  std::set<int> tokens;
  for (const auto& [token, count] : counts) tokens.insert(token);
  return tokens;
}

/// Logits whose softmax is `probabilities`.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3.0));
  return logits;
}

TEST_P(SampleTest, GreedyTakesTheLargestAndTheSmallerIdOfEquals) {
  EXPECT_EQ(choose(op(), {0.0f, 3.0f, 1.0f, 3.0f}, {}), 1);
  EXPECT_EQ(choose(op(), {0.0f, 3.0f, 1.0f, 4.0f}, {.temperature = 2.0f, .top_k = 1}), 3);
  EXPECT_EQ(choose(op(), {-5.0f, -3.0f}, {.temperature = -1.0f}), 1);
}

TEST_P(SampleTest, GreedyFindsTheLargestAnywhereInAVocabulary) {
  Random random;
  SCOPED_TRACE("KRASIS_TEST_SEED=" + std::to_string(random.seed()));
  for (const int size : {1, 15, 16, 17, 50, 1000}) {
    for (int at = 0; at < size; at += 1 + size / 17) {
      auto logits = random.floats(static_cast<std::size_t>(size));
      const float largest = *std::max_element(logits.begin(), logits.end());
      logits[static_cast<std::size_t>(at)] = largest + 1.0f;
      if (at + 1 < size) logits.back() = largest + 1.0f;  // equal, but behind
      if (at > 0) logits.front() = kNaN;
      EXPECT_EQ(choose(op(), logits, {}), at) << size;
      std::fill(logits.begin(), logits.end(), kNaN);
      logits[static_cast<std::size_t>(at)] = -kInfinity;
      EXPECT_EQ(choose(op(), logits, {}), at) << size;
    }
  }
}

TEST_P(SampleTest, NotANumberNeverWins) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplingState state{.temperature = temperature, .seed = random_.seed()};
    EXPECT_EQ(choose(op(), {kNaN, -1.0f, kNaN}, state), 1);
    EXPECT_EQ(choose(op(), {kNaN, -kInfinity, kNaN}, state), 1);
    EXPECT_EQ(choose(op(), {kNaN, kNaN, kNaN}, state), 0);
    EXPECT_EQ(choose(op(), {1.0f, kNaN, kInfinity, 5.0f}, state), 2);
  }
}

/// 5 tokens, so 4 degrees of freedom: P(chi^2 > x) = exp(-x / 2) (1 + x / 2); a sound sampler fails once in a million.
TEST_P(SampleTest, DrawsFollowTheSoftmaxAtTheTemperature) {
  const std::vector<double> at_one = {0.4, 0.05, 0.3, 0.15, 0.1};
  for (const double temperature : {0.7, 1.0, 1.6}) {
    std::vector<double> p;
    double total = 0;
    for (const double v : at_one) total += p.emplace_back(std::pow(v, 1 / temperature));
    const int draws = 20000;
    const SamplingState state{.temperature = static_cast<float>(temperature), .seed = random_.seed()};
    auto counts = draw_many(op(), logits_of(at_one), state, draws);
    double chi_squared = 0;
    for (int i = 0; i < 5; ++i) {
      const double expected = draws * p[i] / total;
      chi_squared += std::pow(counts[i] - expected, 2) / expected;
    }
    EXPECT_GT(std::exp(-chi_squared / 2) * (1 + chi_squared / 2), 1e-6) << "temperature " << temperature;
  }
}

/// Every token that may come has at least 5 %, so that 2000 draws miss none (0.95^2000 < 1e-44).
TEST_P(SampleTest, TopKTopPAndMinPKeepExactlyTheirSets) {
  const auto logits = logits_of({0.10, 0.40, 0.05, 0.25, 0.20});
  const SamplingState base{.temperature = 1.0f, .seed = random_.seed()};
  const auto kept = [&](int top_k, float top_p, float min_p) {
    SamplingState state = base;
    state.top_k = top_k;
    state.top_p = top_p;
    state.min_p = min_p;
    return tokens_of(draw_many(op(), logits, state, 2000));
  };
  EXPECT_EQ(kept(0, 1.0f, 0.0f), (std::set{0, 1, 2, 3, 4}));
  EXPECT_EQ(kept(2, 1.0f, 0.0f), (std::set{1, 3}));
  EXPECT_EQ(kept(9, 1.0f, 0.0f), (std::set{0, 1, 2, 3, 4}));
  EXPECT_EQ(kept(0, 0.39f, 0.0f), (std::set{1}));
  EXPECT_EQ(kept(0, 0.41f, 0.0f), (std::set{1, 3}));
  EXPECT_EQ(kept(0, 0.80f, 0.0f), (std::set{1, 3, 4}));
  EXPECT_EQ(kept(0, 0.90f, 0.0f), (std::set{0, 1, 3, 4}));
  EXPECT_EQ(kept(0, 0.0f, 0.0f), (std::set{1}));
  EXPECT_EQ(kept(0, 1.0f, 0.3f), (std::set{1, 3, 4}));
  EXPECT_EQ(kept(0, 1.0f, 1.0f), (std::set{1}));
  // top_p is of what top_k left: 0.40 / 0.85 = 0.47, 0.65 / 0.85 = 0.76.
  EXPECT_EQ(kept(3, 0.70f, 0.0f), (std::set{1, 3}));
  EXPECT_EQ(kept(3, 0.80f, 0.55f), (std::set{1, 3}));
}

TEST_P(SampleTest, ANucleusOfThousandsOfTokens) {
  std::vector<float> logits(3000, 0.0f);
  for (int i = 1500; i < 3000; ++i) logits[i] = -1.0f;
  // The first half holds 1 / (1 + 1/e) = 73 %: 700 tokens of it are 34 %.
  const float top_p = static_cast<float>(700.5 / (1500.0 * (1 + std::exp(-1.0))));
  const auto tokens = tokens_of(draw_many(op(), logits, {.temperature = 1.0f, .top_p = top_p, .seed = 1}, 3000));
  EXPECT_EQ(*tokens.rbegin() <= 700, true) << *tokens.rbegin();
  EXPECT_GT(tokens.size(), 600u);  // 3000 draws of 701: 1.4 % are missed on average
}

TEST_P(SampleTest, RepetitionPenaltyOncePerTokenTowardsLess) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f};
  EXPECT_EQ(choose(op(), logits, {.repetition_penalty = 1.2f}, {0}), 0) << "2.0 / 1.2 > 1.5";
  EXPECT_EQ(choose(op(), logits, {.repetition_penalty = 1.2f}, {0, 0, 0}), 0) << "not once for each time";
  EXPECT_EQ(choose(op(), logits, {.repetition_penalty = 1.5f}, {0}), 1) << "2.0 / 1.5 < 1.5";
  EXPECT_EQ(choose(op(), {-1.0f, -1.5f}, {.repetition_penalty = 2.0f}, {0}), 1) << "-1 * 2 < -1.5";
  EXPECT_EQ(choose(op(), logits, {.repetition_penalty = 5.0f}, {-1, 3, 1000000}), 0) << "unknown ids";
}

TEST_P(SampleTest, OnlyHistoryWithinTheLengthCounts) {
  const std::vector<float> logits = {2.0f, 1.5f};
  SamplingState state{.repetition_penalty = 4.0f, .length = 1};
  std::vector<std::int32_t> history = {1, 0, 0};
  std::int32_t token = -1;
  op().run<SampleArgs>({view(logits), {&state, 1}, view(history), {&token, 1}});
  EXPECT_EQ(token, 0);
  EXPECT_EQ(history, (std::vector<std::int32_t>{1, 0, 0}));
}

TEST_P(SampleTest, EqualSeedsGiveEqualTextAndOthersDoNot) {
  const auto logits = random_.floats(50);
  const auto text = [&](std::uint64_t seed) {
    SamplingState state{.temperature = 1.0f, .seed = seed};
    std::vector<std::int32_t> history(40, -1);
    for (int i = 0; i < 40; ++i) {
      std::int32_t token = -1;
      op().run<SampleArgs>({view(logits), {&state, 1}, view(history), {&token, 1}});
    }
    return history;
  };
  EXPECT_EQ(text(7), text(7));
  EXPECT_NE(text(7), text(8));
}

TEST_P(SampleTest, TheDrawIsTheOneDocumented) {
  const std::vector<double> p = {0.2, 0.3, 0.5};
  for (int length = 0; length < 200; ++length) {
    const double u = uniform_draw(99, length);
    const int expected = u < 0.2 ? 0 : u < 0.5 ? 1 : 2;
    if (std::fabs(u - 0.2) < 1e-5 || std::fabs(u - 0.5) < 1e-5) continue;
    EXPECT_EQ(choose(op(), logits_of(p), {.temperature = 1.0f, .seed = 99, .length = length}), expected);
  }
}

TEST(UniformDraw, IsUniformOverCountersAndOverSeeds) {
  // 16 cells, 15 degrees of freedom: P(chi^2 > 60) < 1e-6.
  for (const bool by_seed : {false, true}) {
    std::vector<int> cells(16, 0);
    for (std::uint64_t i = 0; i < 16000; ++i)
      ++cells[static_cast<int>(16 * (by_seed ? uniform_draw(i, 3) : uniform_draw(3, i)))];
    double chi_squared = 0;
    for (const int n : cells) chi_squared += std::pow(n - 1000.0, 2) / 1000.0;
    EXPECT_LT(chi_squared, 60.0);
  }
}

TEST(UniformDraw, MixesAsSplitMix64Does) {
  // The first outputs of the published generator for the state 1234567 (Vigna's splitmix64.c).
  std::uint64_t state = 1234567;
  const std::uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u};
  for (const std::uint64_t value : expected) EXPECT_EQ(splitmix64_mix(state += 0x9e3779b97f4a7c15u), value);
}

}  // namespace
}  // namespace krasis::test

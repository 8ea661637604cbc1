// The engine against transformers (tests/goldens/README.md), through every path that a run can take.
//
// Tolerances: the RMS error of the logits may be twice that of transformers' own BF16 run against its FP32 run; the
// argmax must agree, but where the golden's top-1 margin is below the error (at most 2 % of the positions). Routing is
// discontinuous: a near tie that falls the other way changes a token's every later layer. So argmax and picks are judged
// with the golden's picks forced on every layer before; a router's own pick must then be the golden's, but for near ties
// that BF16 activations can move (at most 2 % of the picks).
#include <cmath>
#include <numeric>

#include "engine/weights/safetensors.h"
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

struct Golden {
  SafetensorsFile file;
  std::vector<std::int32_t> tokens, positions;
  std::size_t vocabulary = 0;

  static Golden load(const std::string& name) {
    const std::string path = std::string(KRASIS_SOURCE_DIR) + "/tests/goldens/" + name + ".safetensors";
    auto file = SafetensorsFile::open(path);
    if (!file) throw std::runtime_error(file.error().message());
    Golden g{std::move(*file), {}, {}, 0};
    g.tokens = g.vector<std::int32_t>("input_ids");
    g.positions = g.vector<std::int32_t>("positions");
    g.vocabulary = g.vector<float>("logits").size() / g.positions.size();
    return g;
  }
  template <class T>
  std::vector<T> vector(const std::string& tensor) const {
    const auto values = file.values<T>(tensor);
    if (!values) throw std::runtime_error(values.error().message());
    return {values->begin(), values->end()};
  }
  double scalar(const std::string& tensor) const { return vector<float>(tensor).at(0); }
  /// The router's, in a long golden as U8, and as U16 in units of 1/65535: 2^-17 beside the 2^-9 of the BF16 that follows.
  RouterPicks picks() const {
    if (!is_long()) return {vector<std::int32_t>("router_ids"), vector<float>("router_weights")};
    return {elements<std::uint8_t, std::int32_t>("router_ids", 1), elements<std::uint16_t, float>("router_weights", 1.0f / 65535)};
  }
  std::vector<float> margins() const {
    return is_long() ? elements<std::uint16_t, float>("router_margin", 1.0f / 65535) : vector<float>("router_margin");
  }
  bool is_long() const { return tokens.size() > 4096; }

 private:
  template <class Stored, class T>
  std::vector<T> elements(const std::string& tensor, T unit) const {
    const SafetensorsTensor* found = file.find(tensor);
    if (found == nullptr || found->dtype != "U" + std::to_string(8 * sizeof(Stored))) throw std::runtime_error("No such " + tensor);
    const auto* first = reinterpret_cast<const Stored*>(found->bytes.data());  // aligned, says SafetensorsFile::open
    std::vector<T> result(found->bytes.size() / sizeof(Stored));
    std::transform(first, first + result.size(), result.begin(), [unit](Stored x) { return static_cast<T>(x) * unit; });
    return result;
  }
};

double rms_error(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<double> log_softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - top);
  std::vector<double> result;
  for (const float x : logits) result.push_back(x - top - std::log(sum));
  return result;
}

/// KL(a || b) in nats, mean over rows.
double mean_kl(const std::vector<float>& a, const std::vector<float>& b, std::size_t columns) {
  double sum = 0;
  for (std::size_t row = 0; row < a.size(); row += columns) {
    const auto p = log_softmax({a.data() + row, columns}), q = log_softmax({b.data() + row, columns});
    for (std::size_t i = 0; i < columns; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return sum / static_cast<double>(a.size() / columns);
}

void expect_same_choice(const Golden& golden, const std::vector<float>& logits, double error) {
  const auto expected = golden.vector<float>("logits");
  std::size_t excluded = 0;
  for (std::size_t row = 0; row < golden.positions.size(); ++row) {
    const std::span<const float> e(expected.data() + row * golden.vocabulary, golden.vocabulary);
    const std::span<const float> a(logits.data() + row * golden.vocabulary, golden.vocabulary);
    const auto best = std::max_element(e.begin(), e.end()) - e.begin();
    const auto ours = std::max_element(a.begin(), a.end()) - a.begin();
    if (ours == best) continue;
    std::vector<float> sorted(e.begin(), e.end());
    std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
    EXPECT_LT(sorted[0] - sorted[1], error) << "at position " << golden.positions[row] << " token " << ours << " instead of " << best;
    ++excluded;
  }
  EXPECT_LE(static_cast<double>(excluded), std::max(1.0, 0.02 * static_cast<double>(golden.positions.size())));  // 31 positions
}

struct Path {
  std::string name;
  std::string model;
  int lgs, devices;
  HotCache hcs;
  int chunk;
  int prefill;  ///< tokens; 0 = all
  std::string operations = "simd";
  std::string prefill_path = "stream";
  double hcs_share = 0.5;
  std::string hcs_policy = "static";
  std::string attention = "resident";
  bool free = true;  ///< with the router's own picks, too, not only with the golden's
};

RunConfiguration configuration_of(const Path& path, const Golden& golden) {
  RunConfiguration c = test::exact_configuration();
  c.lgs = path.lgs;
  c.device_count = path.devices;
  c.hcs = path.hcs;
  c.chunk_tokens = path.chunk;
  c.max_context = static_cast<int>(golden.tokens.size());
  c.vram_budget_mib = golden.is_long() ? 256 : 128;  // 8,192 tokens in one chunk: the experts' workspace alone is 75 MB
  c.operations = path.operations;
  c.prefill_path = path.prefill_path;
  c.hcs_share = path.hcs_share;
  c.hcs_policy = path.hcs_policy;
  c.attention = path.attention;
  return c;
}

void PrintTo(const Path& path, std::ostream* out) { *out << path.model << " " << path.name; }

class GoldenPath : public testing::TestWithParam<Path> {};

TEST_P(GoldenPath, AgreesWithTransformers) {
  const Path& path = GetParam();
  const Golden golden = Golden::load(path.model);
  auto t = test::make_engine({.model = path.model, .configuration = configuration_of(path, golden), .check_order = false});
  const int prefill = path.prefill > 0 ? path.prefill : static_cast<int>(golden.tokens.size());
  const auto expected = golden.vector<float>("logits");
  const double tolerance = 2 * golden.scalar("rms_bf16");

  std::string free_figure = "not taken";
  if (path.free) {
    auto free = t.engine->evaluate(golden.tokens, {.prefill_tokens = prefill, .positions = golden.positions});
    ASSERT_TRUE(free) << free.error().message();
    ASSERT_EQ(free->logits.size(), expected.size());
    const double free_error = rms_error(free->logits, expected);
    EXPECT_LE(free_error, tolerance);
    free_figure = std::to_string(free_error);
    RecordProperty("rms_error", free_figure);
  }

  const RouterPicks picks = golden.picks();
  auto forced = t.engine->evaluate(golden.tokens, {.prefill_tokens = prefill, .positions = golden.positions,
                                                   .forced_picks = &picks, .record_picks = true});
  ASSERT_TRUE(forced) << forced.error().message();
  ASSERT_EQ(forced->logits.size(), expected.size());
  const double forced_error = rms_error(forced->logits, expected);
  EXPECT_LE(forced_error, tolerance);
  expect_same_choice(golden, forced->logits, forced_error);

  // Softmax probabilities move by at most p(1-p) <= 1/4 of the router logits' error. BF16 inputs and weights, and what the
  // blocks before have rounded, bound that by about 2^-7 of their size (here of order 4): each probability by 2^-7, and
  // two that move against each other by twice that. Most differ by a tenth of it (the figures say the widest).
  constexpr float kMargin = 1.0f / 64;
  const auto margins = golden.margins();
  const std::size_t top_k = picks.ids.size() / margins.size();
  std::size_t excluded = 0, wrong = 0;
  float widest = 0;
  for (std::size_t i = 0; i < margins.size(); ++i) {
    std::vector<std::int32_t> ours(forced->picks.ids.begin() + i * top_k, forced->picks.ids.begin() + (i + 1) * top_k);
    std::vector<std::int32_t> theirs(picks.ids.begin() + i * top_k, picks.ids.begin() + (i + 1) * top_k);
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    if (ours == theirs) continue;
    ++(margins[i] < kMargin ? excluded : wrong);
    widest = std::max(widest, margins[i]);
  }
  EXPECT_EQ(wrong, 0u) << "router picks differ beyond what BF16 explains";
  EXPECT_LE(static_cast<double>(excluded), 0.02 * static_cast<double>(margins.size()));
  std::printf("[ figures  ] rms error %s, with the golden's picks %.5f, transformers' BF16 %.5f; %zu of %zu picks near ties, the widest %.5f\n",
              free_figure.c_str(), forced_error, golden.scalar("rms_bf16"), excluded, margins.size(), static_cast<double>(widest));
}

INSTANTIATE_TEST_SUITE_P(
    TinyA, GoldenPath,
    testing::Values(Path{"one_chunk", "tiny-a", 3, 1, HotCache::Off, 4096, 0},
                    Path{"scalar", "tiny-a", 2, 1, HotCache::Off, 64, 100, "scalar"},
                    Path{"chunks_lgs1", "tiny-a", 1, 1, HotCache::Off, 48, 0},
                    Path{"chunks_lgs2", "tiny-a", 2, 1, HotCache::Off, 48, 0},
                    Path{"hcs_on", "tiny-a", 2, 1, HotCache::On, 64, 20},
                    Path{"hcs_on_two_devices", "tiny-a", 1, 2, HotCache::On, 64, 20},
                    Path{"hcs_multi", "tiny-a", 1, 2, HotCache::Multi, 64, 20},
                    Path{"hcs_10_percent", "tiny-a", 1, 1, HotCache::On, 64, 60, "simd", "stream", 0.1},
                    Path{"hcs_100_percent", "tiny-a", 1, 1, HotCache::On, 64, 60, "simd", "stream", 1.0},
                    Path{"hcs_100_percent_short_prompt", "tiny-a", 1, 1, HotCache::On, 64, 60, "simd", "cpu", 1.0},
                    Path{"hcs_adaptive", "tiny-a", 1, 1, HotCache::On, 64, 20, "simd", "stream", 0.25, "adaptive"},
                    Path{"short_prompt_on_cpu", "tiny-a", 2, 1, HotCache::Off, 64, 61, "simd", "cpu"},
                    Path{"short_prompt_on_both", "tiny-a", 1, 2, HotCache::Multi, 64, 61, "simd", "cpu"},
                    Path{"picked", "tiny-a", 3, 1, HotCache::Off, 4096, 0, "simd", "picked"},
                    Path{"picked_scalar_lgs1", "tiny-a", 1, 1, HotCache::Off, 100, 100, "scalar", "picked"},
                    Path{"picked_lgs2", "tiny-a", 2, 1, HotCache::Off, 64, 61, "simd", "picked"},
                    Path{"picked_two_devices", "tiny-a", 1, 2, HotCache::Multi, 64, 61, "simd", "picked"},
                    Path{"picked_hcs_100_percent", "tiny-a", 1, 1, HotCache::On, 64, 60, "simd", "picked", 1.0},
                    Path{"token_by_token", "tiny-a", 3, 1, HotCache::Off, 64, 1}),
    [](const auto& test) { return test.param.name; });
/// Streamed attention: one chunk, several, every LGS, decode, caches, devices, each path.
Path streamed(std::string name, std::string model, int lgs, int devices, HotCache hcs, int chunk, int prefill, std::string path = "stream",
              double share = 0.5) {
  return {std::move(name), std::move(model), lgs, devices, hcs, chunk, prefill, "simd", std::move(path), share, "static", "streamed"};
}
INSTANTIATE_TEST_SUITE_P(
    StreamedAttention, GoldenPath,
    testing::Values(streamed("one_chunk", "tiny-a", 2, 1, HotCache::Off, 4096, 0), streamed("chunks_lgs1", "tiny-a", 1, 1, HotCache::Off, 48, 0),
                    streamed("chunks_lgs2", "tiny-a", 2, 1, HotCache::Off, 48, 0), streamed("chunks_lgs3", "tiny-a", 3, 1, HotCache::Off, 48, 0),
                    streamed("hcs_50_percent", "tiny-a", 1, 1, HotCache::On, 64, 20),
                    streamed("hcs_100_percent_three_devices", "tiny-a", 1, 3, HotCache::Multi, 64, 60, "stream", 1.0),
                    streamed("token_by_token", "tiny-a", 1, 1, HotCache::Off, 64, 1), streamed("on_cpu", "tiny-a", 2, 1, HotCache::Off, 64, 61, "cpu"),
                    streamed("picked", "tiny-a", 1, 1, HotCache::Off, 64, 61, "picked"),
                    streamed("tiny_b_chunks", "tiny-b", 1, 1, HotCache::On, 37, 100), streamed("tiny_b_three_devices", "tiny-b", 1, 3, HotCache::Multi, 64, 20),
                    streamed("embedded_lgs1", "embedded", 1, 1, HotCache::Off, 100, 300), streamed("embedded_lgs2", "embedded", 2, 1, HotCache::On, 100, 300),
                    streamed("embedded_lgs4", "embedded", 4, 1, HotCache::Off, 256, 300),
                    streamed("embedded_three_devices", "embedded", 1, 3, HotCache::Multi, 100, 300)),
    [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(
    TinyB, GoldenPath,
    testing::Values(Path{"one_chunk", "tiny-b", 3, 1, HotCache::Off, 4096, 0},
                    Path{"scalar", "tiny-b", 2, 1, HotCache::Off, 64, 100, "scalar"},
                    Path{"chunks_lgs1", "tiny-b", 1, 1, HotCache::Off, 37, 0},
                    Path{"hcs_on", "tiny-b", 2, 1, HotCache::On, 64, 20},
                    Path{"hcs_adaptive", "tiny-b", 1, 2, HotCache::Multi, 64, 20, "simd", "stream", 0.25, "adaptive"},
                    Path{"hcs_multi", "tiny-b", 1, 3, HotCache::Multi, 64, 20},
                    Path{"picked", "tiny-b", 2, 1, HotCache::On, 64, 20, "simd", "picked"},
                    Path{"picked_three_devices", "tiny-b", 1, 3, HotCache::Multi, 64, 64, "simd", "picked"},
                    Path{"token_by_token", "tiny-b", 3, 1, HotCache::Off, 64, 1}),
    [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(
    Embedded, GoldenPath,
    testing::Values(Path{"one_chunk", "embedded", 5, 1, HotCache::Off, 4096, 0},
                    Path{"chunks_lgs1", "embedded", 1, 1, HotCache::Off, 100, 0},
                    Path{"chunks_lgs2", "embedded", 2, 1, HotCache::Off, 100, 0},
                    Path{"chunks_lgs3", "embedded", 3, 1, HotCache::Off, 100, 0},
                    Path{"chunks_lgs4", "embedded", 4, 1, HotCache::Off, 100, 0},
                    Path{"hcs_on", "embedded", 2, 1, HotCache::On, 256, 300},
                    Path{"hcs_multi", "embedded", 1, 2, HotCache::Multi, 256, 300},
                    Path{"hcs_adaptive", "embedded", 2, 1, HotCache::On, 256, 100, "simd", "stream", 0.25, "adaptive"},
                    Path{"hcs_100_percent", "embedded", 2, 2, HotCache::Multi, 256, 300, "simd", "stream", 1.0},
                    Path{"short_prompt_on_both", "embedded", 1, 1, HotCache::On, 64, 40, "simd", "cpu"},
                    Path{"picked", "embedded", 2, 1, HotCache::Off, 256, 200, "simd", "picked"},
                    Path{"picked_on_both", "embedded", 1, 2, HotCache::On, 64, 40, "simd", "picked"},
                    Path{"token_by_token", "embedded", 5, 1, HotCache::Off, 256, 1}),
    [](const auto& test) { return test.param.name; });

// The embedded model's whole context, 8,192 tokens. The bounds are those of the shorter texts, with this text's rms_bf16:
// what length may add, rounding of larger rotary angles and of sums over more keys, transformers' BF16 run has, too. Of its
// 0.051, position 5930 is most, where the last router's near tie falls otherwise (0.023 without it). A run takes seconds
// here, most of them attention's, so a path serves several purposes, and one of them runs with its own picks, too.
// Simulated GPUs, whose operations are the host's, have one path.
Path forced(Path path) {
  path.free = false;
  return path;
}
#ifndef KRASIS_TEST_SIMULATED
INSTANTIATE_TEST_SUITE_P(
    WholeContext, GoldenPath,
    testing::Values(forced({"one_chunk", "embedded-8k", 5, 1, HotCache::Off, 8192, 0}),
                    forced(streamed("streamed_chunks_lgs1_hcs_on", "embedded-8k", 1, 1, HotCache::On, 1500, 8160)),
                    Path{"chunks_lgs2_two_devices", "embedded-8k", 2, 2, HotCache::Multi, 2500, 8160}),
    [](const auto& test) { return test.param.name; });
#else
INSTANTIATE_TEST_SUITE_P(WholeContext, GoldenPath,
                         testing::Values(forced(streamed("streamed_chunks_lgs2_two_devices", "embedded-8k", 2, 2, HotCache::Multi, 2500, 8160))),
                         [](const auto& test) { return test.param.name; });
#endif

class GoldenQuantized : public testing::TestWithParam<std::string> {};

TEST_P(GoldenQuantized, CostsWhatTheFormatCosts) {
  const Golden golden = Golden::load(GetParam());
  const auto exact = golden.vector<float>("logits");
  for (const std::string suffix : {"int8", "int4"}) {
    RunConfiguration c = configuration_of({"", GetParam(), 2, 1, HotCache::On, 100, 0}, golden);
    c.gpu_format = c.cpu_format = suffix;
    auto t = test::make_engine({.model = GetParam(), .configuration = c, .check_order = false});
    // Half through prefill, half through decode, with experts on both sides.
    auto result = t.engine->evaluate(golden.tokens, {.prefill_tokens = static_cast<int>(golden.tokens.size() / 2),
                                                     .positions = golden.positions});
    ASSERT_TRUE(result) << result.error().message();
    const double format_kl = golden.scalar("kl_" + suffix);
    const double kl = mean_kl(exact, result->logits, golden.vocabulary);
    const double error = rms_error(result->logits, golden.vector<float>("logits_" + suffix));
    EXPECT_LE(kl, std::max(suffix == "int8" ? 0.005 : 0.1, 1.1 * format_kl)) << suffix;
    EXPECT_LE(error, 2 * golden.scalar("rms_bf16")) << suffix;
    std::printf("[ figures  ] %s: KL %.6f nats (NumPy quantizer %.6f), rms error against it %.5f\n", suffix.c_str(), kl,
                format_kl, error);
  }
}

class GoldenFp8Kv : public testing::TestWithParam<std::string> {};

TEST_P(GoldenFp8Kv, AgreesWithARoundedCache) {
  const Golden golden = Golden::load(GetParam());
  RunConfiguration c = configuration_of({"", GetParam(), 2, 1, HotCache::Off, golden.is_long() ? 2000 : 100, 0}, golden);
  c.kv_cache = "fp8";
  auto t = test::make_engine({.model = GetParam(), .configuration = c, .check_order = false});
  // Half through prefill, half through decode; of a long text the last 32 tokens.
  const std::size_t prefill = golden.is_long() ? golden.tokens.size() - 32 : golden.tokens.size() / 2;
  auto result = t.engine->evaluate(golden.tokens, {.prefill_tokens = static_cast<int>(prefill), .positions = golden.positions});
  ASSERT_TRUE(result) << result.error().message();
  const auto rounded = golden.vector<float>("logits_fp8kv");
  const double effect = rms_error(golden.vector<float>("logits"), rounded);
  const double error = rms_error(result->logits, rounded);
  // BF16 keys that fall on the other side of an E4M3 rounding boundary move by a whole step, so a part of the format's
  // own effect comes back as a difference; it must stay below that effect.
  EXPECT_LE(error, std::max(2 * golden.scalar("rms_bf16"), effect));
  const double kl = mean_kl(golden.vector<float>("logits"), result->logits, golden.vocabulary);
  EXPECT_LE(kl, std::max(0.005, 1.5 * golden.scalar("kl_fp8kv")));
  std::printf("[ figures  ] fp8 kv: rms error %.5f against the rounded cache, whose own effect is %.5f; KL %.6f (%.6f)\n", error,
              effect, kl, golden.scalar("kl_fp8kv"));
}

std::string test_name(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Golden, GoldenQuantized, testing::Values("tiny-a", "tiny-b", "embedded"), test_name);
INSTANTIATE_TEST_SUITE_P(Golden, GoldenFp8Kv, testing::Values("tiny-a", "tiny-b", "embedded"), test_name);
#ifndef KRASIS_TEST_SIMULATED
INSTANTIATE_TEST_SUITE_P(WholeContext, GoldenFp8Kv, testing::Values("embedded-8k"), test_name);
#endif

TEST(GoldenText, GreedyDecodingContinuesAsTransformersDoes) {
  for (const char* name : {"tiny-a", "tiny-b", "embedded"}) {
    const Golden golden = Golden::load(name);
    const auto expected = golden.vector<std::int32_t>("greedy_ids");
    const auto margins = golden.vector<float>("greedy_margin");
    const auto prompt = static_cast<std::size_t>(golden.vector<std::int32_t>("greedy_prompt_tokens").at(0));
    RunConfiguration c = configuration_of({"", name, 2, 1, HotCache::On, 50, 0}, golden);
    auto t = test::make_engine({.model = name, .configuration = c, .check_order = false});
    auto result = t.engine->generate(std::span(golden.tokens).first(prompt),
                                     {.max_new_tokens = static_cast<int>(expected.size()), .ignore_end_of_text = true}, {});
    ASSERT_TRUE(result) << result.error().message();
    std::size_t equal = 0;
    while (equal < expected.size() && result->tokens[equal] == expected[equal]) ++equal;
    // A near tie may send the two texts apart, nothing else.
    if (equal < expected.size()) {
      EXPECT_LT(margins[equal], 4 * golden.scalar("rms_bf16")) << name << " token " << equal;
    }
    EXPECT_GE(equal, 1u) << name;
    std::printf("[ figures  ] %s: %zu of %zu greedy tokens equal\n", name, equal, expected.size());
  }
}

/// Mean of -ln p(token | all before) over tokens 1 .. T-1, in nats, through prefill.
double perplexity_nats(HybridEngine& engine, std::span<const std::int32_t> tokens) {
  EvaluationOptions options{.prefill_tokens = static_cast<int>(tokens.size())};
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) options.positions.push_back(static_cast<std::int32_t>(i));
  const auto result = engine.evaluate(tokens, options);
  if (!result) throw std::runtime_error(result.error().message());
  const auto vocabulary = static_cast<std::size_t>(engine.model().spec.vocabulary);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    sum -= log_softmax({result->logits.data() + i * vocabulary, vocabulary})[static_cast<std::size_t>(tokens[i + 1])];
  }
  return sum / static_cast<double>(tokens.size() - 1);
}

// The held-out text through each precision. The golden's perplexity is over 4,096 tokens; its input_ids are the first of them.
TEST(GoldenText, PerplexityOfEachPrecision) {
  const Golden golden = Golden::load("embedded");
  const auto expected = golden.vector<float>("logits");
  struct Precision {
    const char* name;
    const char *experts, *dense, *kv;
  };
  double exact = 0;
  for (const auto& [name, experts, dense, kv] :
       {Precision{"BF16", "bf16", "bf16", "bf16"}, Precision{"FP8 KV", "bf16", "bf16", "fp8"},
        Precision{"INT8 experts", "int8", "bf16", "bf16"}, Precision{"INT4 experts", "int4", "bf16", "bf16"},
        Precision{"INT4 experts, INT8 dense, FP8 KV", "int4", "int8", "fp8"}}) {
    RunConfiguration c = configuration_of({"", "embedded", 2, 1, HotCache::Off, 256, 0}, golden);
    c.gpu_format = c.cpu_format = experts;
    c.attention_format = c.lm_head_format = dense;
    c.kv_cache = kv;
    auto t = test::make_engine({.model = "embedded", .configuration = c, .check_order = false});
    const double nats = perplexity_nats(*t.engine, golden.tokens);
    if (exact == 0) exact = nats;
    EXPECT_LT(nats, 2.2) << name;
    EXPECT_LT(std::abs(nats - exact), 0.05) << name;
    std::printf("[ figures  ] %-34s %.6f nats per token, perplexity %.4f\n", name, nats, std::exp(nats));
  }
}

}  // namespace
}  // namespace krasis

// Synthetic weights: reproducible, of sane scale, routed as promised.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "engine/runtime/reference.h"
#include "engine/weights/synthetic_source.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using testing::Contains;
using testing::HasSubstr;

std::string config_text(int layers, int hidden, int experts, int top_k, bool tied) {
  return R"({"model_type": "qwen3_moe", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
 "moe_intermediate_size": 64, "intermediate_size": 96, "mlp_only_layers": [0], "norm_topk_prob": true,
 "vocab_size": 2000, "num_hidden_layers": )" +
         std::to_string(layers) + ", \"hidden_size\": " + std::to_string(hidden) +
         ", \"num_experts\": " + std::to_string(experts) + ", \"num_experts_per_tok\": " + std::to_string(top_k) +
         ", \"tie_word_embeddings\": " + (tied ? "true" : "false") + "}";
}

/// A source of some configuration together with what it refers to.
class Drawn {
 public:
  explicit Drawn(const std::string& config, std::int64_t seed = 1, double skew = 0)
      : config_(parse_model_spec(config).value()),
        parts_(packed_parts(config_, Precision{})),
        source_(SyntheticSource::create(config_, parts_, seed, skew).value()) {}
  Drawn(const Drawn&) = delete;
  Drawn& operator=(const Drawn&) = delete;

  const ModelSpec& config() const { return config_; }
  const PackedPart& part(std::string_view slot, int layer = -1, int expert = -1) const {
    return parts_[index(slot, layer, expert)];
  }
  std::vector<float> rows(std::string_view slot, int layer = -1, int expert = -1, std::int64_t begin = 0,
                          std::int64_t count = -1) const {
    const std::size_t at = index(slot, layer, expert);
    if (count < 0) count = parts_[at].slot.rows;
    std::vector<float> values(static_cast<std::size_t>(count * parts_[at].slot.columns), std::nanf(""));
    EXPECT_TRUE(source_.read_rows(at, begin, count, values.data()));
    return values;
  }

 private:
  std::size_t index(std::string_view slot, int layer, int expert) const {
    const auto at = std::find_if(parts_.begin(), parts_.end(), [&](const PackedPart& part) {
      return part.slot.name == slot && part.layer == layer && part.expert == expert;
    });
    return static_cast<std::size_t>(at - parts_.begin());
  }
  ModelSpec config_;
  std::vector<PackedPart> parts_;
  SyntheticSource source_;
};

double deviation(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(Synthetic, EachNumberDependsOnItsPlaceAlone) {
  const std::string config = config_text(3, 128, 4, 2, false);
  const Drawn drawn(config);
  const auto whole = drawn.rows("expert.up_proj", 2, 3);
  for (const std::int64_t begin : {0, 1, 17, 63}) {
    const auto row = drawn.rows("expert.up_proj", 2, 3, begin, 1);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.begin() + begin * 128));
  }
  EXPECT_EQ(Drawn(config).rows("expert.up_proj", 2, 3), whole);
  EXPECT_NE(Drawn(config, 2).rows("expert.up_proj", 2, 3), whole);
  EXPECT_NE(drawn.rows("expert.up_proj", 2, 2), whole);
  EXPECT_NE(drawn.rows("expert.up_proj", 1, 3), whole);
  EXPECT_NE(drawn.rows("expert.gate_proj", 2, 3), whole);
}

TEST(Synthetic, RowsAreGaussianOfTheStatedDeviation) {
  const Drawn drawn(config_text(2, 512, 4, 2, false));
  auto values = drawn.rows("attention.q_proj", 1);  // 128 x 512
  const double expected = 1 / std::sqrt(512.0);
  // The standard error of a deviation from n draws is 1 / sqrt(2 n) of it: 0.3 %; five of them are allowed.
  EXPECT_NEAR(deviation(values) / expected, 1.0, 0.015);
  std::sort(values.begin(), values.end());
  for (const double p : {0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999}) {
    const auto below =
        std::lower_bound(values.begin(), values.end(), static_cast<float>(normal_quantile(p) * expected));
    const double share = static_cast<double>(below - values.begin()) / static_cast<double>(values.size());
    EXPECT_NEAR(share, p, 5 * std::sqrt(p * (1 - p) / static_cast<double>(values.size()))) << "quantile " << p;
  }
  const auto down = drawn.rows("expert.down_proj", 1, 0);  // 512 x 64, 2 layers
  EXPECT_NEAR(deviation(down) * std::sqrt(64.0 * 2 * 2), 1.0, 0.02);
  EXPECT_EQ(std::count(down.begin(), down.begin() + 64, 0.0f), 64);
  EXPECT_NEAR(deviation(drawn.rows("attention.norm", 0)), std::sqrt(1.01), 0.03);
}

TEST(Synthetic, QuantilesAreThoseOfTheErrorFunction) {
  for (const double p : {1e-6, 0.001, 0.02, 0.024, 0.025, 0.3, 0.5, 0.7, 0.99, 0.9999}) {
    EXPECT_NEAR(0.5 * std::erfc(-normal_quantile(p) / std::sqrt(2.0)) / p, 1.0, 1e-7) << p;
  }
}

TEST(Synthetic, PickProbabilitiesFollowThePowerLaw) {
  const auto uniform = pick_probabilities(64, 8, 0.0);
  for (const double p : uniform) EXPECT_NEAR(p, 8.0 / 64, 1e-9);
  const auto zipf = pick_probabilities(512, 2, 1.0);  // no expert reaches the cap
  EXPECT_NEAR(std::accumulate(zipf.begin(), zipf.end(), 0.0), 2.0, 1e-9);
  for (std::size_t rank = 1; rank <= 512; ++rank) {
    EXPECT_NEAR(zipf[rank - 1] * static_cast<double>(rank) / zipf[0], 1.0, 1e-9);
  }
  const auto capped = pick_probabilities(16, 8, 2.0);
  EXPECT_NEAR(std::accumulate(capped.begin(), capped.end(), 0.0), 8.0, 1e-9);
  EXPECT_EQ(capped[0], 0.98);
  EXPECT_LT(capped[15], capped[14]);
  for (const double p : pick_probabilities(4, 4, 1.0)) EXPECT_EQ(p, 0.98);
}

/// How often each expert of a layer is among the top k of router(rms_norm(embedding)), over all tokens of the
/// vocabulary; the most frequent one first.
std::vector<double> measured_picks(const Drawn& drawn, int layer) {
  const auto hidden = static_cast<std::size_t>(drawn.config().hidden);
  const auto embedding = drawn.rows("embedding");
  const auto norm = drawn.rows("feed_forward.norm", layer);
  const auto router = drawn.rows("router", layer);
  const auto experts = static_cast<std::size_t>(drawn.config().experts());
  const std::size_t tokens = embedding.size() / hidden;
  std::vector<double> picks(experts, 0.0);
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::vector<float> row(embedding.begin() + static_cast<std::ptrdiff_t>(t * hidden),
                                 embedding.begin() + static_cast<std::ptrdiff_t>((t + 1) * hidden));
    const double rms = deviation(row);
    std::vector<std::pair<double, std::size_t>> logits;
    for (std::size_t e = 0; e < experts; ++e) {
      double logit = 0;
      for (std::size_t i = 0; i < hidden; ++i) {
        logit += static_cast<double>(row[i]) / rms * static_cast<double>(norm[i]) *
                 static_cast<double>(router[e * hidden + i]);
      }
      logits.emplace_back(-logit, e);
    }
    std::sort(logits.begin(), logits.end());
    for (int k = 0; k < drawn.config().top_k(); ++k)
      picks[logits[static_cast<std::size_t>(k)].second] += 1.0 / static_cast<double>(tokens);
  }
  std::sort(picks.rbegin(), picks.rend());
  return picks;
}

TEST(Synthetic, ExpertsArePickedAsTheSkewSays) {
  for (const double skew : {0.0, 0.5, 1.0}) {
    const Drawn drawn(config_text(2, 256, 64, 8, false), 1, skew);
    const auto expected = pick_probabilities(64, 8, skew);
    const auto measured = measured_picks(drawn, 1);
    double distance = 0;  // share of all picks that went elsewhere than expected
    for (std::size_t rank = 0; rank < 64; ++rank) distance += std::fabs(measured[rank] - expected[rank]) / 2 / 8;
    std::printf("skew %.1f: picked %.3f %.3f %.3f ... %.4f, asked for %.3f %.3f %.3f ... %.4f, distance %.3f\n", skew,
                measured[0], measured[1], measured[7], measured[63], expected[0], expected[1], expected[7],
                expected[63], distance);
    EXPECT_LT(distance, 0.06) << "skew " << skew;
  }
}

TEST(Synthetic, EachLayerHasItsOwnFavourites) {
  const Drawn drawn(config_text(3, 64, 32, 4, false), 1, 1.0);
  const auto favourite = [&](int layer) {
    const auto router = drawn.rows("router", layer);
    std::vector<float> bias;
    for (std::size_t e = 0; e < 32; ++e) bias.push_back(router[e * 64]);
    return std::max_element(bias.begin(), bias.end()) - bias.begin();
  };
  EXPECT_NE(favourite(1), favourite(2));
}

TEST(Synthetic, ImpossibleSkewsAreRefused) {
  const auto config = parse_model_spec(config_text(2, 64, 4, 2, false)).value();
  const auto parts = packed_parts(config, Precision{});
  for (const double skew : {-0.1, 4.1, std::nan(""), HUGE_VAL}) {
    const auto source = SyntheticSource::create(config, parts, 1, skew);
    ASSERT_FALSE(source);
    EXPECT_EQ(source.error().code, ErrorCode::InvalidArgument);
    EXPECT_THAT(source.error().message(), HasSubstr("The routing skew "));
  }
}

class SyntheticModel : public testing::Test {
 protected:
  Expected<PackedModel> load(const std::string& config, const LoadOptions& options = {},
                             Element element = Element::Int4) {
    test::write_file(directory_.path() / "config.json", config);
    return load_packed_model("synthetic:" + (directory_.path() / "config.json").string(),
                             {element, element, element, element, element, 128}, options);
  }
  test::TemporaryDirectory directory_;
};

class SyntheticHead : public SyntheticModel, public testing::WithParamInterface<bool> {};

TEST_P(SyntheticHead, LogitsStaySaneThroughManyLayers) {
  const auto model = load(config_text(24, 128, 8, 2, GetParam()));
  ASSERT_TRUE(model) << model.error().message();
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> positions;
  for (std::int32_t i = 0; i < 32; ++i) {
    tokens.push_back(i * 61 % 2000);
    positions.push_back(i);
  }
  const auto logits = reference_logits(*model, KvElement::Bf16, tokens, positions, [](int, int, int) { return true; });
  ASSERT_TRUE(logits) << logits.error().message();
  for (const float logit : *logits) ASSERT_TRUE(std::isfinite(logit));
  EXPECT_GT(deviation(*logits), 0.7);
  EXPECT_LT(deviation(*logits), 1.4);
  // Neither one answer for all, nor each token its own echo.
  std::set<std::ptrdiff_t> answers;
  int echoes = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const auto row = logits->begin() + static_cast<std::ptrdiff_t>(i * 2000);
    const auto best = std::max_element(row, row + 2000) - row;
    answers.insert(best);
    echoes += best == tokens[i];
  }
  EXPECT_GT(answers.size(), 16u);
  EXPECT_LT(echoes, 4);
}
INSTANTIATE_TEST_SUITE_P(Heads, SyntheticHead, testing::Bool(),
                         [](const auto& parameter) { return parameter.param ? "Tied" : "Untied"; });

TEST_F(SyntheticModel, IsLabelledAndNeverWrittenToDisk) {
  const test::TemporaryDirectory cache;
  LoadOptions options;
  options.cache_directory = cache.path();
  const auto model = load(config_text(2, 64, 4, 2, false), options);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_TRUE(model->spec.synthetic);
  EXPECT_EQ(model->spec.name, directory_.path().filename().string() + " (synthetic)");
  EXPECT_THAT(model->notes, Contains(HasSubstr("The weights are synthetic")));
  EXPECT_TRUE(std::filesystem::is_empty(cache.path()));
}

TEST_F(SyntheticModel, FingerprintsTellSeedSkewAndShapeApart) {
  std::set<std::string> fingerprints;
  const std::string config = config_text(2, 64, 4, 2, false);
  LoadOptions seeded, skewed;
  seeded.synthetic_seed = 2;
  skewed.synthetic_skew = 1.0;
  for (const auto& [text, options] : {std::pair(config, LoadOptions{}),
                                      {config, seeded},
                                      {config, skewed},
                                      {config_text(3, 64, 4, 2, false), LoadOptions{}}}) {
    const auto model = load(text, options);
    ASSERT_TRUE(model) << model.error().message();
    fingerprints.insert(model->fingerprint);
  }
  EXPECT_EQ(fingerprints.size(), 4u);
  EXPECT_EQ(load(config)->fingerprint, load(config)->fingerprint);
}

TEST_F(SyntheticModel, AMissingConfigurationIsSaid) {
  const auto model = load_packed_model("synthetic:/no/such/config.json", {}, {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::NotFound);
  EXPECT_THAT(model.error().message(), HasSubstr("/no/such/config.json"));
}

}  // namespace
}  // namespace krasis

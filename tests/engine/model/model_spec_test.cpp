#include "engine/model/architecture.h"

#include <gmock/gmock.h>

#include <cmath>

#include "engine/layers/model_weights.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The published config.json of Qwen/Qwen3-235B-A22B.
constexpr const char* kQwen3_235B = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
  "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
  "initializer_range": 0.02, "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 94,
  "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 1536, "norm_topk_prob": true,
  "num_attention_heads": 64, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 94,
  "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_scaling": null,
  "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true, "vocab_size": 151936,
  "use_sliding_window": false})";

/// The configuration above with one key set to other JSON text, or removed when the text is empty.
std::string with(const std::string& key, const std::string& value, std::string json = kQwen3_235B) {
  const auto begin = json.find("\"" + key + "\":");
  if (begin == std::string::npos) return "{\"" + key + "\": " + value + ", " + json.substr(1);
  auto end = begin;
  for (int brackets = 0; brackets > 0 || (json[end] != ',' && json[end] != '}'); ++end) {
    brackets += json[end] == '[' ? 1 : json[end] == ']' ? -1 : 0;
  }
  if (!value.empty()) return json.replace(begin, end - begin, "\"" + key + "\": " + value);
  return json.erase(begin, end - begin + (json[end] == ',' ? 1 : 0));
}

void expect_error(const std::string& json, ErrorCode code, const std::string& part) {
  const auto config = parse_model_spec(json);
  ASSERT_FALSE(config) << "accepted: " << part;
  EXPECT_EQ(config.error().code, code) << config.error().message();
  EXPECT_THAT(config.error().message(), HasSubstr(part));
  EXPECT_THAT(config.error().remedy, testing::Not(IsEmpty()));
}

void expect_theta(const ModelSpec& spec, double theta) {
  const auto& frequencies = rotary_of(spec.layers.front())->inverse_frequencies;
  const auto dims = 2.0 * static_cast<double>(frequencies.size());
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    EXPECT_FLOAT_EQ(frequencies[i], static_cast<float>(std::pow(theta, -2.0 * static_cast<double>(i) / dims)));
  }
}

TEST(ModelSpec, ReadsThePublishedOne) {
  const auto config = parse_model_spec(kQwen3_235B);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->layer_count(), 94);
  EXPECT_EQ(config->hidden, 4096);
  EXPECT_EQ(config->vocabulary, 151936);
  EXPECT_EQ(config->max_position, 40960);
  const auto& attention = std::get<GroupedAttention>(config->layers.front().mixer);
  EXPECT_EQ(attention.heads, 64);
  EXPECT_EQ(attention.kv_heads, 4);
  EXPECT_EQ(attention.head_dim, 128);
  EXPECT_TRUE(attention.qk_norm);
  EXPECT_EQ(config->experts(), 128);
  EXPECT_EQ(config->top_k(), 8);
  EXPECT_EQ(config->routed().width, 1536);
  EXPECT_TRUE(config->routed().router.renormalize);
  EXPECT_FALSE(config->tied_embeddings);
  expect_theta(*config, 1e6);
  EXPECT_FLOAT_EQ(config->norm.epsilon, 1e-6f);
  EXPECT_THAT(config->eos_tokens, ElementsAre(151645));
  EXPECT_THAT(config->unknown_keys, IsEmpty());
  EXPECT_EQ(config->expert_layers(), 94);
}

TEST(ModelSpec, CountsParametersAsItsPublisherDoes) {
  // The model's card: 235 B in total, 22 B activated (with the 0.6 B of the embedding, which a token only looks up in),
  // 234 B without embeddings.
  const auto config = parse_model_spec(kQwen3_235B);
  ASSERT_TRUE(config);
  EXPECT_NEAR(static_cast<double>(parameter_count(*config)), 235e9, 0.5e9);
  EXPECT_NEAR(static_cast<double>(active_parameter_count(*config) + config->vocabulary * config->hidden), 22e9, 0.5e9);
  EXPECT_NEAR(static_cast<double>(parameter_count(*config) - 2 * config->vocabulary * config->hidden), 234e9, 0.5e9);
  EXPECT_THAT(model_summary(*config),
              HasSubstr("94 layers, hidden 4096, 128 experts, top-8, 235.1 B parameters (21.6 B active)"));
}

TEST(ModelSpec, ReportsKeysThatNothingReads) {
  const auto config = parse_model_spec(with("attention_sinks", "true"));
  ASSERT_TRUE(config);
  EXPECT_THAT(config->unknown_keys, ElementsAre("attention_sinks"));
}

TEST(ModelSpec, ReadsWhatTransformers5Writes) {
  auto json = with("rope_parameters", R"({"rope_type": "default", "rope_theta": 5000000.0})", with("rope_theta", ""));
  json = with("num_local_experts", "128", with("num_experts", "", json));
  const auto config = parse_model_spec(json);
  ASSERT_TRUE(config) << config.error().message();
  expect_theta(*config, 5e6);
  EXPECT_EQ(config->experts(), 128);
  EXPECT_THAT(config->unknown_keys, IsEmpty());
}

TEST(ModelSpec, TakesTransformersDefaultsForAbsentKeys) {
  auto json = with("norm_topk_prob", "", with("rope_theta", "", with("tie_word_embeddings", "")));
  json = with("head_dim", "null", json);
  const auto config = parse_model_spec(json);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_FALSE(config->routed().router.renormalize);
  EXPECT_FALSE(config->tied_embeddings);
  expect_theta(*config, 1e4);
  EXPECT_EQ(std::get<GroupedAttention>(config->layers.front().mixer).head_dim, 64);
}

TEST(ModelSpec, KnowsWhichLayersHaveExperts) {
  // transformers: experts iff layer not in mlp_only_layers and (layer + 1) % decoder_sparse_step == 0.
  const auto config = parse_model_spec(
      with("num_hidden_layers", "6", with("mlp_only_layers", "[3]", with("decoder_sparse_step", "2"))));
  ASSERT_TRUE(config) << config.error().message();
  const bool expected[] = {false, true, false, false, false, true};
  for (std::int64_t layer = 0; layer < 6; ++layer) EXPECT_EQ(config->has_experts(layer), expected[layer]) << layer;
  EXPECT_EQ(config->expert_layers(), 2);
  EXPECT_EQ(std::get<DenseMlp>(config->layers.front().feed_forward).width, 12288);
}

TEST(ModelSpec, RefusesOtherArchitectures) {
  expect_error(with("model_type", "\"llama\""), ErrorCode::Unsupported, "model_type \"llama\" is not supported");
  expect_error(with("model_type", ""), ErrorCode::Unsupported, "model_type \"\" is not supported");
}

TEST(ModelSpec, RefusesFeaturesThatAreNotBuilt) {
  expect_error(with("attention_bias", "true"), ErrorCode::Unsupported, "attention_bias is true");
  expect_error(with("use_sliding_window", "true"), ErrorCode::Unsupported, "use_sliding_window is true");
  expect_error(with("hidden_act", "\"gelu\""), ErrorCode::Unsupported, "hidden_act is \"gelu\"");
  expect_error(with("rope_scaling", R"({"rope_type": "yarn"})"), ErrorCode::Unsupported, "rope_scaling.rope_type");
  expect_error(with("rope_scaling", R"({"type": "linear"})"), ErrorCode::Unsupported,
               "rope_scaling.type is \"linear\"");
  expect_error(with("rope_parameters", R"({"rope_type": "yarn"})"), ErrorCode::Unsupported,
               "rope_parameters.rope_type");
  expect_error(with("rope_parameters", R"({"partial_rotary_factor": 0.5})"), ErrorCode::Unsupported,
               "partial_rotary_factor");
  expect_error(with("quantization_config", R"({"quant_method": "fp8"})"), ErrorCode::Unsupported, "quantized already");
  expect_error(with("layer_types", R"(["sliding_attention"])"), ErrorCode::Unsupported, "layer_types");
}

TEST(ModelSpec, NamesEachRequiredKeyThatIsMissing) {
  for (const char* key : {"num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads",
                          "num_key_value_heads", "num_experts", "num_experts_per_tok", "moe_intermediate_size"}) {
    expect_error(with(key, ""), ErrorCode::InvalidArgument, std::string(key) + " is missing");
  }
}

TEST(ModelSpec, RefusesAbsurdNumbers) {
  for (const char* key :
       {"num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads", "num_key_value_heads", "num_experts",
        "num_experts_per_tok", "moe_intermediate_size", "head_dim", "max_position_embeddings", "decoder_sparse_step"}) {
    for (const char* value :
         {"-1", "9223372036854775807", "18446744073709551615", "1e300", "\"64\"", "0.5", "[]", "true"}) {
      expect_error(with(key, value), ErrorCode::InvalidArgument, key);
    }
  }
  expect_error(with("num_hidden_layers", "0"), ErrorCode::InvalidArgument, "num_hidden_layers is 0, outside 1 to 1024");
  expect_error(with("num_experts_per_tok", "129"), ErrorCode::InvalidArgument, "num_experts_per_tok is 129");
  expect_error(with("num_key_value_heads", "5"), ErrorCode::InvalidArgument, "not a multiple of num_key_value_heads");
  expect_error(with("head_dim", "127"), ErrorCode::InvalidArgument, "head_dim is 127, but must be even");
  expect_error(with("hidden_size", "4095"), ErrorCode::InvalidArgument, "hidden_size is 4095, but must be even");
  expect_error(with("moe_intermediate_size", "1535"), ErrorCode::InvalidArgument, "must be even");
  expect_error(with("rms_norm_eps", "0"), ErrorCode::InvalidArgument, "rms_norm_eps");
  expect_error(with("rope_theta", "-5"), ErrorCode::InvalidArgument, "rope_theta");
  expect_error(with("mlp_only_layers", "[94]"), ErrorCode::InvalidArgument, "mlp_only_layers is 94");
  expect_error(with("eos_token_id", "[1, -2]"), ErrorCode::InvalidArgument, "eos_token_id is -2");
  expect_error(with("tie_word_embeddings", "1"), ErrorCode::InvalidArgument, "tie_word_embeddings is 1");
  expect_error(with("rope_parameters", R"({"rope_theta": 7.0})"), ErrorCode::InvalidArgument, "given twice");
  expect_error(with("decoder_sparse_step", "95"), ErrorCode::Unsupported, "no layer of this model has experts");
}

TEST(ModelSpec, LargestNumbersDoNotOverflow) {
  std::string json = kQwen3_235B;
  for (const auto& [key, value] : {std::pair{"num_hidden_layers", "1024"},
                                   {"hidden_size", "65536"},
                                   {"vocab_size", "16777216"},
                                   {"num_experts", "4096"},
                                   {"num_experts_per_tok", "4096"},
                                   {"moe_intermediate_size", "1048576"}}) {
    json = with(key, value, json);
  }
  const auto config = parse_model_spec(json);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_GT(static_cast<double>(parameter_count(*config)), 8e17);  // and the sanitizer saw no overflow
}

TEST(ModelSpec, RefusesWhatIsNoJson) {
  expect_error("", ErrorCode::Corrupt, "config.json is not valid JSON");
  expect_error("{\"model_type\": ", ErrorCode::Corrupt, "config.json is not valid JSON");
  expect_error("[1, 2]", ErrorCode::Corrupt, "config.json is not a JSON object");
  expect_error(std::string(100000, '['), ErrorCode::Corrupt, "config.json is not valid JSON");
}

TEST(ModelFolder, JoinsEndTokensAndNamesTheModel) {
  const test::TemporaryDirectory directory;
  const auto model = directory.path() / "Some-MoE";
  std::filesystem::create_directory(model);
  test::write_file(model / "config.json", kQwen3_235B);
  test::write_file(model / "generation_config.json", R"({"eos_token_id": [151645, 151643], "temperature": 0.6})");
  for (const auto& path : {model, model / "", model / "config.json"}) {
    const auto config = load_model_spec(path);
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_EQ(config->name, "Some-MoE") << path;
    EXPECT_THAT(config->eos_tokens, ElementsAre(151645, 151643));
    EXPECT_FALSE(config->synthetic);
  }
  const auto synthetic = model_spec_of("synthetic:" + (model / "config.json").string());
  ASSERT_TRUE(synthetic);
  EXPECT_EQ(synthetic->name, "Some-MoE (synthetic)");
  EXPECT_TRUE(synthetic->synthetic);
}

TEST(ModelFolder, SaysWhatIsMissingOrBroken) {
  const test::TemporaryDirectory directory;
  const auto missing = load_model_spec(directory.path());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::NotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("config.json cannot be read"));
  test::write_file(directory.path() / "config.json", kQwen3_235B);
  test::write_file(directory.path() / "generation_config.json", "{");
  const auto broken = load_model_spec(directory.path());
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message(), HasSubstr("generation_config.json is not valid JSON"));
}

}  // namespace
}  // namespace krasis

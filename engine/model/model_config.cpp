#include "engine/model/model_config.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

#include "engine/model/config_reader.h"

namespace krasis {
namespace {

using Json = nlohmann::json;

// Products of these bounds stay below 2^61, so no byte count of a model overflows.
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxHidden = 1 << 16;
constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxVocabulary = 1 << 24;
constexpr std::int64_t kMaxPosition = 1 << 28;
constexpr std::int64_t kMaxHeads = 1024;
constexpr std::int64_t kMaxHeadDim = 1024;
constexpr std::int64_t kMaxExperts = 4096;
constexpr std::uintmax_t kMaxFileBytes = 16 << 20;

tl::unexpected<Error> unsupported(const std::string& key, const std::string& what) {
  return fail(ErrorCode::Unsupported, "config.json: " + key + " " + what + ", which is not supported for qwen3_moe.",
              "Use a checkpoint without it.");
}
tl::unexpected<Error> absurd(const std::string& what) {
  return fail(ErrorCode::InvalidArgument, "config.json: " + what + ".",
              "Check the model's config.json against the one that its publisher provides.");
}

/// Reads rope_theta, alone or within transformers 5's rope_parameters, and refuses every rotary scaling.
Expected<double> read_rope_theta(ConfigReader& reader, std::vector<std::string>& unknown_keys) {
  KRASIS_TRY(std::optional<double> theta, reader.number("rope_theta", 1.0, 1e12));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* object = reader.value(key);
    if (object == nullptr) continue;
    if (!object->is_object()) return absurd(std::string(key) + " is not an object");
    ConfigReader inner(*object, std::string(key) + ".");
    for (const char* type_key : {"rope_type", "type"}) {
      KRASIS_TRY(const std::string type, inner.text(type_key, "default"));
      if (type != "default") return unsupported(std::string(key) + "." + type_key, "is \"" + type + "\"");
    }
    KRASIS_TRY(const std::optional<double> partial, inner.number("partial_rotary_factor", 0.0, 1.0));
    if (partial.value_or(1.0) != 1.0) return unsupported(std::string(key) + ".partial_rotary_factor", "is not 1");
    KRASIS_TRY(const std::optional<double> inner_theta, inner.number("rope_theta", 1.0, 1e12));
    if (theta && inner_theta && *theta != *inner_theta) return absurd("rope_theta is given twice, with two values");
    if (inner_theta) theta = inner_theta;
    for (auto& name : inner.unread()) unknown_keys.push_back(std::move(name));
  }
  return theta.value_or(10000.0);
}

/// Keys that change the forward pass in ways that are not built here: refused unless they say "none of it".
Expected<void> refuse_unsupported_features(ConfigReader& reader) {
  KRASIS_TRY(const bool attention_bias, reader.boolean("attention_bias", false));
  if (attention_bias) return unsupported("attention_bias", "is true");
  KRASIS_TRY(const bool sliding, reader.boolean("use_sliding_window", false));
  if (sliding) return unsupported("use_sliding_window", "is true");
  KRASIS_TRY(const std::string activation, reader.text("hidden_act", "silu"));
  if (activation != "silu") return unsupported("hidden_act", "is \"" + activation + "\"");
  if (const Json* quantization = reader.value("quantization_config"); quantization != nullptr) {
    return fail(ErrorCode::Unsupported,
                "config.json: quantization_config says that this checkpoint is quantized already.",
                "Use the BF16 checkpoint of the model; it is quantized while loading.");
  }
  if (const Json* types = reader.value("layer_types"); types != nullptr) {
    const auto full = [](const Json& type) { return type == "full_attention"; };
    if (!types->is_array() || !std::all_of(types->begin(), types->end(), full)) {
      return unsupported("layer_types", "has other entries than \"full_attention\"");
    }
  }
  return {};
}

/// Which layers have experts, as in transformers' Qwen3MoeDecoderLayer.
Expected<std::vector<bool>> read_expert_layers(ConfigReader& reader, std::int64_t layers, std::int64_t experts) {
  KRASIS_TRY(const std::int64_t step, reader.integer("decoder_sparse_step", 1, kMaxLayers, 1));
  KRASIS_TRY(const auto dense_layers, reader.integers("mlp_only_layers", 0, layers - 1));
  std::vector<bool> has_experts(static_cast<std::size_t>(layers));
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const bool dense = std::find(dense_layers.begin(), dense_layers.end(), layer) != dense_layers.end();
    has_experts[static_cast<std::size_t>(layer)] = !dense && experts > 0 && (layer + 1) % step == 0;
  }
  return has_experts;
}

Expected<void> read_attention(ConfigReader& reader, ModelConfig& config) {
  KRASIS_TRY(const auto heads, reader.integer("num_attention_heads", 1, kMaxHeads));
  KRASIS_TRY(const auto kv_heads, reader.integer("num_key_value_heads", 1, kMaxHeads));
  if (heads % kv_heads != 0) {
    return absurd("num_attention_heads " + std::to_string(heads) + " is not a multiple of num_key_value_heads " +
                  std::to_string(kv_heads));
  }
  if (reader.value("head_dim") == nullptr && config.hidden % heads != 0) {
    return absurd("head_dim is missing and hidden_size is not a multiple of num_attention_heads");
  }
  KRASIS_TRY(const auto head_dim, reader.integer("head_dim", 2, kMaxHeadDim, config.hidden / heads));
  if (head_dim % 2 != 0 || head_dim < 2 || head_dim > kMaxHeadDim) {
    return absurd("head_dim is " + std::to_string(head_dim) + ", but must be even, 2 to " +
                  std::to_string(kMaxHeadDim));
  }
  config.heads = static_cast<int>(heads);
  config.kv_heads = static_cast<int>(kv_heads);
  config.head_dim = static_cast<int>(head_dim);
  return {};
}

Expected<void> read_experts(ConfigReader& reader, ModelConfig& config) {
  // transformers 5 writes num_local_experts for the same thing.
  const bool local = reader.value("num_local_experts") != nullptr;
  const bool plain = reader.value("num_experts") != nullptr;
  KRASIS_TRY(const auto experts, reader.integer(local && !plain ? "num_local_experts" : "num_experts", 0, kMaxExperts));
  if (local && plain) {
    KRASIS_TRY(const auto again, reader.integer("num_local_experts", 0, kMaxExperts));
    if (again != experts) return absurd("num_experts and num_local_experts differ");
  }
  config.experts = static_cast<int>(experts);
  KRASIS_TRY(config.has_experts, read_expert_layers(reader, config.layers, experts));
  if (config.expert_layers() == 0) {
    return fail(ErrorCode::Unsupported, "config.json: no layer of this model has experts.",
                "Choose a mixture-of-experts model.");
  }
  KRASIS_TRY(const auto top_k, reader.integer("num_experts_per_tok", 1, experts));
  config.top_k = static_cast<int>(top_k);
  KRASIS_TRY(config.expert_width, reader.integer("moe_intermediate_size", 2, kMaxWidth));
  KRASIS_TRY(config.renormalize, reader.boolean("norm_topk_prob", false));
  if (config.expert_layers() < config.layers) {
    KRASIS_TRY(config.dense_width, reader.integer("intermediate_size", 2, kMaxWidth));
  } else {
    KRASIS_TRY(config.dense_width, reader.integer("intermediate_size", 0, kMaxWidth, 0));
  }
  for (const std::int64_t width : {config.expert_width, config.dense_width}) {
    if (width % 2 != 0) return absurd("moe_intermediate_size and intermediate_size must be even");
  }
  return {};
}

/// Keys of training and bookkeeping; the forward pass is the same whatever they say.
void ignore_keys_without_effect(ConfigReader& reader) {
  for (const char* key : {"architectures",
                          "torch_dtype",
                          "dtype",
                          "transformers_version",
                          "use_cache",
                          "initializer_range",
                          "attention_dropout",
                          "router_aux_loss_coef",
                          "output_router_logits",
                          "bos_token_id",
                          "pad_token_id",
                          "max_window_layers",
                          "sliding_window",
                          "_name_or_path",
                          "return_dict",
                          "output_attentions",
                          "output_hidden_states",
                          "chunk_size_feed_forward",
                          "is_encoder_decoder",
                          "id2label",
                          "label2id",
                          "problem_type",
                          "_attn_implementation_autoset"}) {
    reader.ignore(key);
  }
}

void add_tokens(std::vector<std::int32_t>& tokens, const std::vector<std::int64_t>& more) {
  for (const std::int64_t token : more) {
    const auto id = static_cast<std::int32_t>(token);
    if (std::find(tokens.begin(), tokens.end(), id) == tokens.end()) tokens.push_back(id);
  }
}

Expected<std::string> read_small_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) {
    return fail(ErrorCode::NotFound, path.string() + " cannot be read: " + error.message() + ".",
                "Choose a folder in Hugging Face layout, with config.json in it.");
  }
  if (size > kMaxFileBytes) {
    return fail(ErrorCode::Corrupt, path.string() + " is larger than a configuration can be.", "Download it again.");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return fail(ErrorCode::Io, path.string() + " cannot be read.", "Check the file's permissions.");
  return text;
}

std::int64_t attention_parameters(const ModelConfig& c) {
  return 2 * c.hidden * c.head_dim * (c.heads + c.kv_heads) + 2 * c.head_dim;
}

/// Parameters of all layers, counting `experts_counted` experts in each layer that has some.
std::int64_t layer_parameters(const ModelConfig& c, std::int64_t experts_counted) {
  std::int64_t sum = c.layers * (attention_parameters(c) + 2 * c.hidden);
  sum += c.expert_layers() * (c.experts * c.hidden + experts_counted * 3 * c.hidden * c.expert_width);
  return sum + (c.layers - c.expert_layers()) * 3 * c.hidden * c.dense_width;
}

std::string with_unit(std::int64_t count) {
  const char* unit = count >= 1000000000 ? "B" : count >= 1000000 ? "M" : "K";
  const double divisor = count >= 1000000000 ? 1e9 : count >= 1000000 ? 1e6 : 1e3;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", static_cast<double>(count) / divisor, unit);
  return text;
}

}  // namespace

std::int64_t ModelConfig::expert_layers() const {
  return std::count(has_experts.begin(), has_experts.end(), true);
}

std::int64_t ModelConfig::parameters() const {
  return layer_parameters(*this, experts) + hidden + vocabulary * hidden * (tied_embeddings ? 1 : 2);
}

std::int64_t ModelConfig::active_parameters() const {
  return layer_parameters(*this, top_k) + hidden + vocabulary * hidden;
}

std::string ModelConfig::summary() const {
  return std::to_string(layers) + " layers, hidden " + std::to_string(hidden) + ", " + std::to_string(experts) +
         " experts, top-" + std::to_string(top_k) + ", " + with_unit(parameters()) + " parameters (" +
         with_unit(active_parameters()) + " active)";
}

Expected<ModelConfig> parse_model_config(std::string_view json_text) {
  KRASIS_TRY(const Json json, parse_json_object(json_text, "config.json"));
  ConfigReader reader(json);
  ModelConfig config;
  KRASIS_TRY(config.model_type, reader.text("model_type", ""));
  if (config.model_type != "qwen3_moe") {
    return fail(ErrorCode::Unsupported, "config.json: model_type \"" + config.model_type + "\" is not supported.",
                "Choose a model of type qwen3_moe.");
  }
  KRASIS_CHECK(refuse_unsupported_features(reader));
  KRASIS_TRY(config.layers, reader.integer("num_hidden_layers", 1, kMaxLayers));
  KRASIS_TRY(config.hidden, reader.integer("hidden_size", 2, kMaxHidden));
  if (config.hidden % 2 != 0) return absurd("hidden_size is " + std::to_string(config.hidden) + ", but must be even");
  KRASIS_TRY(config.vocabulary, reader.integer("vocab_size", 1, kMaxVocabulary));
  KRASIS_TRY(config.max_position, reader.integer("max_position_embeddings", 1, kMaxPosition, 32768));
  KRASIS_TRY(config.tied_embeddings, reader.boolean("tie_word_embeddings", false));
  KRASIS_TRY(const auto epsilon, reader.number("rms_norm_eps", 1e-30, 1.0));
  config.rms_norm_epsilon = static_cast<float>(epsilon.value_or(1e-6));
  KRASIS_CHECK(read_attention(reader, config));
  KRASIS_CHECK(read_experts(reader, config));
  KRASIS_TRY(config.rope_theta, read_rope_theta(reader, config.unknown_keys));
  KRASIS_TRY(const auto eos, reader.integers("eos_token_id", 0, INT32_MAX));
  add_tokens(config.eos_tokens, eos);
  ignore_keys_without_effect(reader);
  for (auto& key : reader.unread()) config.unknown_keys.push_back(std::move(key));
  return config;
}

Expected<ModelConfig> load_model_config(const std::filesystem::path& path) {
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(path, error);
  const auto config_path = is_file ? path : path / "config.json";
  KRASIS_TRY(const std::string text, read_small_file(config_path));
  KRASIS_TRY(ModelConfig config, parse_model_config(text));
  auto full_path = std::filesystem::absolute(config_path, error).lexically_normal();
  config.name =
      (full_path.filename() == "config.json" ? full_path.parent_path().filename() : full_path.stem()).string();

  const auto generation_path = config_path.parent_path() / "generation_config.json";
  if (std::filesystem::exists(generation_path, error)) {
    KRASIS_TRY(const std::string generation_text, read_small_file(generation_path));
    KRASIS_TRY(const Json generation, parse_json_object(generation_text, "generation_config.json"));
    ConfigReader reader(generation, {}, "generation_config.json");
    KRASIS_TRY(const auto eos, reader.integers("eos_token_id", 0, INT32_MAX));
    add_tokens(config.eos_tokens, eos);
  }
  return config;
}

Expected<ModelConfig> model_config_of(const std::string& model) {
  if (!model.starts_with(kSyntheticPrefix)) return load_model_config(model);
  KRASIS_TRY(ModelConfig config, load_model_config(model.substr(kSyntheticPrefix.size())));
  config.synthetic = true;
  config.name += " (synthetic)";
  return config;
}

}  // namespace krasis

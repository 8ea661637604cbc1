// Qwen3-MoE (Qwen3 Technical Report, arXiv:2505.09388; transformers' modeling_qwen3_moe): grouped query attention with
// q/k norm, then routed experts or, in some layers, a dense MLP.
#include <algorithm>
#include <utility>

#include "engine/model/families/families.h"
#include "engine/model/families/keys.h"

namespace krasis {
namespace {

using Json = nlohmann::json;
constexpr std::string_view kModelType = "qwen3_moe";

/// Keys that change the forward pass in ways that are not built here: refused unless they say "none of it".
Expected<void> refuse_unsupported_features(ConfigReader& reader) {
  const auto unsupported = [](const std::string& key, const std::string& what) {
    return keys::unsupported(kModelType, key, what);
  };
  KRASIS_TRY(const bool attention_bias, reader.boolean("attention_bias", false));
  if (attention_bias) return unsupported("attention_bias", "is true");
  KRASIS_TRY(const bool sliding, reader.boolean("use_sliding_window", false));
  if (sliding) return unsupported("use_sliding_window", "is true");
  for (const char* key : {"sliding_window", "max_window_layers"}) reader.ignore(key);  // of no use without it
  KRASIS_CHECK(keys::require_text(reader, kModelType, "hidden_act", "silu"));
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
Expected<std::vector<bool>> read_expert_layers(ConfigReader& reader, std::int64_t layers, int experts) {
  KRASIS_TRY(const std::int64_t step, reader.integer("decoder_sparse_step", 1, keys::kMaxLayers, 1));
  KRASIS_TRY(const auto dense_layers, reader.integers("mlp_only_layers", 0, layers - 1));
  std::vector<bool> has_experts(static_cast<std::size_t>(layers));
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const bool dense = std::find(dense_layers.begin(), dense_layers.end(), layer) != dense_layers.end();
    has_experts[static_cast<std::size_t>(layer)] = !dense && experts > 0 && (layer + 1) % step == 0;
  }
  return has_experts;
}

Expected<void> read_feed_forward(ConfigReader& reader, ModelSpec& spec) {
  RoutedExperts routed;
  KRASIS_TRY(routed.router.experts, keys::read_expert_count(reader));
  KRASIS_TRY(const auto has_experts, read_expert_layers(reader, spec.layer_count(), routed.router.experts));
  const bool none = std::find(has_experts.begin(), has_experts.end(), true) == has_experts.end();
  const bool all = std::find(has_experts.begin(), has_experts.end(), false) == has_experts.end();
  if (none) return no_experts();
  KRASIS_TRY(const auto top_k, reader.integer("num_experts_per_tok", 1, routed.router.experts));
  routed.router.top_k = static_cast<int>(top_k);
  KRASIS_TRY(routed.width, reader.integer("moe_intermediate_size", 2, keys::kMaxWidth));
  KRASIS_TRY(routed.router.renormalize, reader.boolean("norm_topk_prob", false));
  DenseMlp dense;
  if (all) {
    KRASIS_TRY(dense.width, reader.integer("intermediate_size", 0, keys::kMaxWidth, 0));
  } else {
    KRASIS_TRY(dense.width, reader.integer("intermediate_size", 2, keys::kMaxWidth));
  }
  for (const std::int64_t width : {routed.width, dense.width}) {
    if (width % 2 != 0) return keys::absurd("moe_intermediate_size and intermediate_size must be even");
  }
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    FeedForward& part = spec.layers[layer].feed_forward;
    if (has_experts[layer]) {
      part = routed;
    } else {
      part = dense;
    }
  }
  return {};
}

Expected<ModelSpec> parse(ConfigReader& reader) {
  ModelSpec spec;
  KRASIS_CHECK(refuse_unsupported_features(reader));
  KRASIS_CHECK(keys::read_size(reader, spec));
  KRASIS_TRY(GroupedAttention attention, keys::read_heads(reader, spec.hidden));
  attention.qk_norm = true;
  KRASIS_CHECK(read_feed_forward(reader, spec));
  KRASIS_TRY(attention.rotary, keys::read_plain_rotary(reader, kModelType, attention.head_dim, spec.unknown_keys));
  for (LayerSpec& layer : spec.layers) layer.mixer = attention;
  return spec;
}

/// Behind "model.layers.N.", and for experts behind "mlp.experts.E." or without a layer as they are.
constexpr std::pair<std::string_view, std::string_view> kTensors[] = {
    {"embedding", "model.embed_tokens"},
    {"lm_head", "lm_head"},
    {"final_norm", "model.norm"},
    {"attention.norm", "input_layernorm"},
    {"attention.q_proj", "self_attn.q_proj"},
    {"attention.k_proj", "self_attn.k_proj"},
    {"attention.v_proj", "self_attn.v_proj"},
    {"attention.q_norm", "self_attn.q_norm"},
    {"attention.k_norm", "self_attn.k_norm"},
    {"attention.o_proj", "self_attn.o_proj"},
    {"feed_forward.norm", "post_attention_layernorm"},
    {"router", "mlp.gate"},
    {"mlp.gate_proj", "mlp.gate_proj"},
    {"mlp.up_proj", "mlp.up_proj"},
    {"mlp.down_proj", "mlp.down_proj"},
    {"expert.gate_proj", "gate_proj"},
    {"expert.up_proj", "up_proj"},
    {"expert.down_proj", "down_proj"},
};

TensorSource hub(const ModelSpec&, const WeightName& name) {
  const auto* found = std::find_if(std::begin(kTensors), std::end(kTensors),
                                   [&](const auto& tensor) { return tensor.first == name.slot; });
  if (found == std::end(kTensors)) return {};
  std::string tensor;
  if (name.layer >= 0) tensor = "model.layers." + std::to_string(name.layer) + ".";
  if (name.expert >= 0) tensor += "mlp.experts." + std::to_string(name.expert) + ".";
  return {.tensor = tensor + std::string(found->second) + ".weight"};
}

}  // namespace

const Architecture kQwen3Moe{kModelType, parse, hub};

}  // namespace krasis

#include "engine/model/families/keys.h"

#include <cmath>

namespace krasis::keys {

using Json = nlohmann::json;

tl::unexpected<Error> unsupported(std::string_view model_type, const std::string& key, const std::string& what) {
  return fail(ErrorCode::Unsupported,
              "config.json: " + key + " " + what + ", which is not supported for " + std::string(model_type) + ".",
              "Use a checkpoint without it.");
}

tl::unexpected<Error> absurd(const std::string& what) {
  return fail(ErrorCode::InvalidArgument, "config.json: " + what + ".",
              "Check the model's config.json against the one that its publisher provides.");
}

Expected<void> require_text(ConfigReader& reader, std::string_view model_type, const std::string& key,
                            const std::string& only) {
  const Expected<std::string> text = reader.text(key, only);
  if (!text) return tl::unexpected(text.error());
  if (*text != only) return unsupported(model_type, key, "is \"" + *text + "\"");
  return {};
}

Expected<void> read_size(ConfigReader& reader, ModelSpec& spec) {
  KRASIS_TRY(const std::int64_t layers, reader.integer("num_hidden_layers", 1, kMaxLayers));
  spec.layers.resize(static_cast<std::size_t>(layers));
  KRASIS_TRY(spec.hidden, reader.integer("hidden_size", 2, kMaxHidden));
  if (spec.hidden % 2 != 0) return absurd("hidden_size is " + std::to_string(spec.hidden) + ", but must be even");
  KRASIS_TRY(spec.vocabulary, reader.integer("vocab_size", 1, kMaxVocabulary));
  KRASIS_TRY(spec.max_position, reader.integer("max_position_embeddings", 1, kMaxPosition, 32768));
  KRASIS_TRY(spec.tied_embeddings, reader.boolean("tie_word_embeddings", false));
  KRASIS_TRY(const auto epsilon, reader.number("rms_norm_eps", 1e-30, 1.0));
  spec.norm.epsilon = static_cast<float>(epsilon.value_or(1e-6));
  return {};
}

Expected<GroupedAttention> read_heads(ConfigReader& reader, std::int64_t hidden) {
  KRASIS_TRY(const auto heads, reader.integer("num_attention_heads", 1, kMaxHeads));
  KRASIS_TRY(const auto kv_heads, reader.integer("num_key_value_heads", 1, kMaxHeads));
  if (heads % kv_heads != 0) {
    return absurd("num_attention_heads " + std::to_string(heads) + " is not a multiple of num_key_value_heads " +
                  std::to_string(kv_heads));
  }
  if (reader.value("head_dim") == nullptr && hidden % heads != 0) {
    return absurd("head_dim is missing and hidden_size is not a multiple of num_attention_heads");
  }
  KRASIS_TRY(const auto head_dim, reader.integer("head_dim", 2, kMaxHeadDim, hidden / heads));
  if (head_dim % 2 != 0 || head_dim < 2 || head_dim > kMaxHeadDim) {
    return absurd("head_dim is " + std::to_string(head_dim) + ", but must be even, 2 to " +
                  std::to_string(kMaxHeadDim));
  }
  return GroupedAttention{
      .heads = static_cast<int>(heads), .kv_heads = static_cast<int>(kv_heads), .head_dim = static_cast<int>(head_dim)};
}

Expected<Rotary> read_plain_rotary(ConfigReader& reader, std::string_view model_type, int dims,
                                   std::vector<std::string>& unknown_keys) {
  KRASIS_TRY(std::optional<double> theta, reader.number("rope_theta", 1.0, 1e12));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* object = reader.value(key);
    if (object == nullptr) continue;
    if (!object->is_object()) return absurd(std::string(key) + " is not an object");
    ConfigReader inner(*object, std::string(key) + ".");
    for (const char* type_key : {"rope_type", "type"}) {
      KRASIS_TRY(const std::string type, inner.text(type_key, "default"));
      if (type != "default") return unsupported(model_type, std::string(key) + "." + type_key, "is \"" + type + "\"");
    }
    KRASIS_TRY(const std::optional<double> partial, inner.number("partial_rotary_factor", 0.0, 1.0));
    if (partial.value_or(1.0) != 1.0)
      return unsupported(model_type, std::string(key) + ".partial_rotary_factor", "is not 1");
    KRASIS_TRY(const std::optional<double> inner_theta, inner.number("rope_theta", 1.0, 1e12));
    if (theta && inner_theta && *theta != *inner_theta) return absurd("rope_theta is given twice, with two values");
    if (inner_theta) theta = inner_theta;
    for (auto& name : inner.unread()) unknown_keys.push_back(std::move(name));
  }
  Rotary rotary;
  for (int i = 0; i < dims / 2; ++i) {
    rotary.inverse_frequencies.push_back(static_cast<float>(std::pow(theta.value_or(10000.0), -2.0 * i / dims)));
  }
  return rotary;
}

Expected<int> read_expert_count(ConfigReader& reader) {
  // transformers 5 writes num_local_experts for the same thing.
  const bool local = reader.value("num_local_experts") != nullptr;
  const bool plain = reader.value("num_experts") != nullptr;
  KRASIS_TRY(const auto experts, reader.integer(local && !plain ? "num_local_experts" : "num_experts", 0, kMaxExperts));
  if (local && plain) {
    KRASIS_TRY(const auto again, reader.integer("num_local_experts", 0, kMaxExperts));
    if (again != experts) return absurd("num_experts and num_local_experts differ");
  }
  return static_cast<int>(experts);
}

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

}  // namespace krasis::keys

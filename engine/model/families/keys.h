#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/model/config_reader.h"
#include "engine/model/model_spec.h"

/// Keys of config.json that several families share. Every error names its key.
namespace krasis::keys {

// Products of these bounds stay below 2^61, so no byte count of a model overflows.
inline constexpr std::int64_t kMaxLayers = 1024;
inline constexpr std::int64_t kMaxHidden = 1 << 16;
inline constexpr std::int64_t kMaxWidth = 1 << 20;
inline constexpr std::int64_t kMaxVocabulary = 1 << 24;
inline constexpr std::int64_t kMaxPosition = 1 << 28;
inline constexpr std::int64_t kMaxHeads = 1024;
inline constexpr std::int64_t kMaxHeadDim = 1024;
inline constexpr std::int64_t kMaxExperts = 4096;

/// "config.json: KEY WHAT, which is not supported for MODEL_TYPE."
tl::unexpected<Error> unsupported(std::string_view model_type, const std::string& key, const std::string& what);
/// "config.json: WHAT."
tl::unexpected<Error> absurd(const std::string& what);

/// Unsupported unless `key` is absent or has the only value that is built.
Expected<void> require_text(ConfigReader& reader, std::string_view model_type, const std::string& key,
                            const std::string& only);

/// hidden, vocabulary, max_position, tied_embeddings, norm; `spec.layers` gets num_hidden_layers entries of no meaning.
Expected<void> read_size(ConfigReader& reader, ModelSpec& spec);
/// Heads of GroupedAttention; its rotary is not touched. An absent head_dim is hidden / heads.
Expected<GroupedAttention> read_heads(ConfigReader& reader, std::int64_t hidden);
/// theta^(-2i / dims) of every i below dims / 2; theta is rope_theta, alone or within rope_parameters (transformers 5).
/// Refuses scaling. Keys of the inner objects that nothing reads are added to `unknown_keys`.
Expected<Rotary> read_plain_rotary(ConfigReader& reader, std::string_view model_type, int dims,
                                   std::vector<std::string>& unknown_keys);
/// The number of experts under any of the names that it has; they must agree.
Expected<int> read_expert_count(ConfigReader& reader);
/// Keys of training and bookkeeping; the forward pass is the same whatever they say.
void ignore_keys_without_effect(ConfigReader& reader);

}  // namespace krasis::keys

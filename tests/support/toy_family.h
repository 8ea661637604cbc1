#pragma once

#include <random>

#include "engine/layers/model_weights.h"
#include "engine/model/architecture.h"
#include "engine/model/families/keys.h"
#include "tests/support/safetensors_writer.h"

/// A family that nothing in the engine knows: all that a family is, in one file. Of three layers the first has a wide
/// attention with q/k norm, the others a narrow one without; the second a dense MLP, the others experts with a clamped
/// SwiGLU. Its checkpoints have q, k and v in one tensor, `out` transposed, gate and up of all experts in one tensor
/// with their rows in turn, and the experts' down transposed.
namespace krasis::test {

inline Expected<ModelSpec> parse_toy(ConfigReader& reader) {
  ModelSpec spec;
  KRASIS_CHECK(keys::read_size(reader, spec));
  GroupedAttention wide{.heads = 4, .kv_heads = 2, .head_dim = 32, .qk_norm = true};
  GroupedAttention narrow{.heads = 2, .kv_heads = 1, .head_dim = 64};
  for (GroupedAttention* attention : {&wide, &narrow}) {
    KRASIS_TRY(attention->rotary, keys::read_plain_rotary(reader, "toy", attention->head_dim, spec.unknown_keys));
  }
  const RoutedExperts routed{.router = {.experts = 4, .top_k = 2}, .width = 96, .glu = Glu::ClampedSwiGlu};
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    spec.layers[layer].mixer = layer % 3 == 0 ? wide : narrow;
    if (layer % 3 == 1) {
      spec.layers[layer].feed_forward = DenseMlp{160};
    } else {
      spec.layers[layer].feed_forward = routed;
    }
  }
  return spec;
}

inline TensorSource toy_tensor(const ModelSpec& spec, const WeightName& name) {
  if (name.layer < 0) return {.tensor = std::string(name.slot)};
  const std::string layer = "layers." + std::to_string(name.layer) + ".";
  const auto& attention = std::get<GroupedAttention>(spec.layer(name.layer).mixer);
  const std::int64_t q = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t kv = std::int64_t{attention.kv_heads} * attention.head_dim;
  const auto rows_of_qkv = [&](std::int64_t offset) {
    return TensorSource{.tensor = layer + "qkv", .rows = {.offset = offset}, .tensor_rows = q + 2 * kv};
  };
  if (name.slot == "attention.q_proj") return rows_of_qkv(0);
  if (name.slot == "attention.k_proj") return rows_of_qkv(q);
  if (name.slot == "attention.v_proj") return rows_of_qkv(q + kv);
  if (name.slot == "attention.o_proj") return {.tensor = layer + "out", .transposed = true};
  if (name.expert < 0) return {.tensor = layer + std::string(name.slot)};
  const RoutedExperts& routed = spec.routed();
  TensorSource source{.tensor = layer + "gate_up", .slice = name.expert, .slices = routed.router.experts};
  if (name.slot == "expert.down_proj") {
    source.tensor = layer + "down";
    source.transposed = true;
  } else {
    source.rows = {.offset = name.slot == "expert.up_proj", .run = 1, .stride = 2};
    source.tensor_rows = 2 * routed.width;
  }
  return source;
}

inline const Architecture kToy{"toy", parse_toy, toy_tensor};
inline constexpr const Architecture* kToyAlone[] = {&kToy};

inline const std::string kToyConfig = R"({"model_type": "toy", "num_hidden_layers": 6, "hidden_size": 64,
 "vocab_size": 100, "max_position_embeddings": 1024, "rope_theta": 10000.0})";

}  // namespace krasis::test

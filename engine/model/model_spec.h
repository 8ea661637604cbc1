#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/glu.h"

/// What a mixture-of-experts model is: plain data, made once from its configuration (architecture.h). Weights, state,
/// scratch, plan and pipelines start from it; the parts' shapes are in engine/layers. Shapes are in elements.
namespace krasis {

/// Rotary embedding in "rotate half" form (kernels/operations.h, RotaryArgs).
struct Rotary {
  std::vector<float> inverse_frequencies;  ///< [head_dim / 2], theta^(-2i / head_dim)
  bool operator==(const Rotary&) const = default;
};

// Mixers: how the tokens of a sequence look at each other -----------------------------------------------------------

/// Causal attention, several query heads on each head of keys and values; keys and values of all positions are kept.
struct GroupedAttention {
  int heads = 0;
  int kv_heads = 0;  ///< divides heads
  int head_dim = 0;  ///< even
  Rotary rotary;
  bool qk_norm = false;  ///< each head of q and k is normalized by itself
  bool operator==(const GroupedAttention&) const = default;
};

// Feed-forward parts: what each token goes through by itself ----------------------------------------------------------

/// down(silu(gate(x)) * up(x))
struct DenseMlp {
  std::int64_t width = 0;
  bool operator==(const DenseMlp&) const = default;
};

/// softmax over all experts, the top_k largest
struct Router {
  int experts = 0;
  int top_k = 0;
  bool renormalize = true;  ///< the picks' weights are divided by their sum
  bool operator==(const Router&) const = default;
};

/// Of `experts` small MLPs each token goes through the top_k that its router picks.
struct RoutedExperts {
  Router router;
  std::int64_t width = 0;
  Glu glu = Glu::SwiGlu;
  bool operator==(const RoutedExperts&) const = default;
};

using Mixer = std::variant<GroupedAttention>;
using FeedForward = std::variant<DenseMlp, RoutedExperts>;

/// x += mixer(norm(x)); x += feed_forward(norm(x))
struct LayerSpec {
  Mixer mixer;
  FeedForward feed_forward;
  bool operator==(const LayerSpec&) const = default;
};

/// The mixer's rotary embedding; null if it has none.
const Rotary* rotary_of(const LayerSpec& layer);

/// RMSNorm
struct Norm {
  float epsilon = 1e-6f;
  bool operator==(const Norm&) const = default;
};

struct Architecture;

struct ModelSpec {
  const Architecture* architecture = nullptr;  ///< that parsed it; knows the names of its tensors
  std::string model_type;                      ///< of config.json
  std::string name;                            ///< the folder's name, or what the user called it
  std::int64_t hidden = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_position = 0;
  bool tied_embeddings = false;
  Norm norm;
  std::vector<LayerSpec> layers;

  std::vector<std::int32_t> eos_tokens;
  std::vector<std::string> unknown_keys;  ///< keys of config.json that nothing here reads: reported, not guessed
  bool synthetic = false;                 ///< weights are drawn, not trained: figures are labelled so

  std::int64_t layer_count() const { return static_cast<std::int64_t>(layers.size()); }
  const LayerSpec& layer(std::int64_t index) const { return layers[static_cast<std::size_t>(index)]; }
  bool has_experts(std::int64_t layer) const;
  std::int64_t expert_layers() const;
  /// The experts of any layer that has some: all are alike (check_model_spec), so that blocks, slots and tables have
  /// one size. At least one layer has experts.
  const RoutedExperts& routed() const;
  int experts() const { return routed().router.experts; }
  int top_k() const { return routed().router.top_k; }
};

}  // namespace krasis

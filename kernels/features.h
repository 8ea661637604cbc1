#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "kernels/blocks.h"

/// What arguments ask for beyond the plain formula, as bits, and how an implementation is chosen by them. Each way to
/// compute an operation says which bits it knows, so a fast one that lacks a feature is passed over and can never
/// ignore it silently. features_of() names every field of its arguments: a new field does not compile until it is given
/// a bit here, or is known to change sizes alone.
namespace krasis {

using Features = std::uint32_t;

/// One way to compute an operation.
template <class Path, class... Case>
struct Candidate {
  Path path;
  Features known;                ///< what it does not know it refuses
  bool (*fits)(const Case&...);  ///< shapes, addresses, the device
};
/// The first candidate that knows all of `asked` and fits; none = the operation cannot be computed.
template <class Path, std::size_t kCount, class... Case>
std::optional<Path> choose(const Candidate<Path, Case...> (&candidates)[kCount], Features asked, const Case&... which) {
  for (const auto& candidate : candidates) {
    if ((asked & ~candidate.known) == 0 && candidate.fits(which...)) return candidate.path;
  }
  return std::nullopt;
}

/// Of packed weights. BF16 is plain.
namespace weight_features {
constexpr Features kInt8 = 1u << 0, kInt4 = 1u << 1, kMxfp4 = 1u << 2;
constexpr Features kUnevenGroups = 1u << 3;  ///< groups that are no power of two, or of fewer than 32 columns
constexpr Features kFormats = kInt8 | kInt4 | kMxfp4;
}  // namespace weight_features
/// Of a KV cache and what attends to it. BF16 in rows and a positive scale are plain.
namespace attention_features {
constexpr Features kFp8 = 1u << 0;
constexpr Features kTiles = 1u << 1;             ///< KvLayout::Tiles
constexpr Features kScaleNotPositive = 1u << 2;  ///< of scores
}  // namespace attention_features
/// Beside those of the weights. SwiGLU is plain.
namespace experts_features {
constexpr Features kClampedSwiGlu = 1u << 8;
}  // namespace experts_features
/// Weights divided by their sum are plain.
namespace router_features {
constexpr Features kNotRenormalized = 1u << 0;
}  // namespace router_features

constexpr Features features_of(const WeightFormat& format) {
  if (format.element == Element::Bf16) return 0;
  const bool even = format.group_size >= 32 && std::has_single_bit(static_cast<unsigned>(format.group_size));
  const Features element = format.element == Element::Int8   ? weight_features::kInt8
                           : format.element == Element::Int4 ? weight_features::kInt4
                                                             : weight_features::kMxfp4;
  return element | (even ? 0 : weight_features::kUnevenGroups);
}
constexpr Features features_of(const KvCache& cache) {
  [[maybe_unused]] const auto& [element, rows, heads, head_dim, keys, values, layout] = cache;
  return (element == KvElement::Fp8 ? attention_features::kFp8 : 0) |
         (layout == KvLayout::Tiles ? attention_features::kTiles : 0);
}
constexpr Features features_of(const MatmulArgs& args) {
  [[maybe_unused]] const auto& [x, weight, out_bf16, out_f32, accumulate, tokens] = args;
  return features_of(weight.layout.format);
}
constexpr Features features_of(const AttentionArgs& args) {
  [[maybe_unused]] const auto& [q, cache, batch, out, heads, scale, workspace] = args;
  return features_of(cache) | (scale > 0.0f ? 0 : attention_features::kScaleNotPositive);
}
constexpr Features features_of(const ExpertsArgs& args) {
  [[maybe_unused]] const auto& [x, ids, weights, pool, offsets, layout, top_k, out, workspace, glu, blocks] = args;
  return features_of(layout.gate.format) | features_of(layout.down.format) |
         (glu == Glu::ClampedSwiGlu ? experts_features::kClampedSwiGlu : 0);
}
constexpr Features features_of(const RouterArgs& args) {
  [[maybe_unused]] const auto& [logits, ids, weights, experts, top_k, renormalize] = args;
  return renormalize ? 0 : router_features::kNotRenormalized;
}
/// Of the fused middle (norms, rotary, cache, attention): the products around it are chosen by themselves.
constexpr Features features_of(const AttentionBlock& block) {
  [[maybe_unused]] const auto& [residual, batch, cache, input_norm, q_proj, k_proj, v_proj, o_proj, q_norm, k_norm,
                                inverse_frequency, heads, epsilon, normed, q, k, v, attended, workspace] = block;
  return features_of(cache);
}
/// Of the router's matrix (weight_features) and of its choice, shifted by kOfChoice.
constexpr int kOfChoice = 16;
constexpr Features features_of(const RouterBlock& block) {
  [[maybe_unused]] const auto& [residual, norm, router, top_k, renormalize, epsilon, tokens, normed, logits, ids,
                                weights] = block;
  return features_of(router.layout.format) | (renormalize ? 0 : router_features::kNotRenormalized << kOfChoice);
}

}  // namespace krasis

#pragma once

#include "engine/layers/layer_scratch.h"
#include "engine/layers/model_weights.h"
#include "kernels/device.h"

/// The forward pass, written once against the blocks of a device (kernels/blocks.h): prefill, decode and the reference
/// call the same steps. Each part's step is in its own file.
namespace krasis {

/// One layer at work on one batch.
struct LayerStep {
  const ModelSpec& spec;
  const LayerSpec& layer;
  const LayerWeights& weights;
  View<const float> inverse_frequency;  ///< of the mixer's rotary embedding
  const LayerState& state;
  Batch batch;
  View<float> residual;         ///< [batch.tokens, hidden]
  const LayerScratch& scratch;  ///< of at least batch.tokens
  int max_context = 0;          ///< rows of the state
};

/// x = x + mixer(norm(x))
void mix(Device& device, Stream stream, const LayerStep& step);
/// x = x + mlp(norm(x)), or, where the layer has experts, normed = norm(x) and the picks: its experts are then to be
/// computed, and added to x, by the caller.
void feed_forward(Device& device, Stream stream, const LayerStep& step);
/// logits = lm_head(norm(x)) of one row
void head(Device& device, Stream stream, const ModelSpec& spec, const HeadWeights& weights,
          View<const float> residual_row, View<bf16> normed, View<float> logits);

/// What every call of the experts operation for this part has; who computes them, and on what, is the caller's to say.
ExpertsArgs experts_args(const RoutedExperts& part, const ExpertLayout& layout);

// The parts' steps
void forward(Device& device, Stream stream, const GroupedAttention& part, const LayerStep& step);
void forward(Device& device, Stream stream, const DenseMlp& part, const LayerStep& step);
void forward(Device& device, Stream stream, const RoutedExperts& part, const LayerStep& step);

/// The first `tokens` rows of scratch that has `columns` each.
template <class T>
View<T> rows_of(View<T> scratch, int tokens, std::int64_t columns) {
  return scratch.sub(0, static_cast<std::size_t>(tokens) * static_cast<std::size_t>(columns));
}

}  // namespace krasis

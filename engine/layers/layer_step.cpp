#include "engine/layers/layer_step.h"

#include "kernels/blocks.h"

namespace krasis {

void mix(Device& device, Stream stream, const LayerStep& step) {
  std::visit([&](const auto& part) { forward(device, stream, part, step); }, step.layer.mixer);
}

void feed_forward(Device& device, Stream stream, const LayerStep& step) {
  std::visit([&](const auto& part) { forward(device, stream, part, step); }, step.layer.feed_forward);
}

void head(Device& device, Stream stream, const ModelSpec& spec, const HeadWeights& weights,
          View<const float> residual_row, View<bf16> normed, View<float> logits) {
  device.run(stream, HeadBlock{.residual = residual_row,
                               .norm = weights.final_norm,
                               .lm_head = weights.lm_head,
                               .epsilon = spec.norm.epsilon,
                               .tokens = 1,
                               .normed = rows_of(normed, 1, spec.hidden),
                               .logits = logits});
}

}  // namespace krasis

#include "engine/layers/dense_mlp.h"

#include "engine/layers/layer_step.h"
#include "kernels/blocks.h"

namespace krasis {

void forward(Device& device, Stream stream, const DenseMlp& m, const LayerStep& step) {
  const auto& w = std::get<DenseMlpWeights>(step.weights.feed_forward);
  const DenseMlpScratch& scratch = step.scratch.mlp;
  const int n = step.batch.tokens;
  device.run(stream, MlpBlock{.residual = step.residual,
                              .norm = w.norm,
                              .gate = w.gate_proj,
                              .up = w.up_proj,
                              .down = w.down_proj,
                              .epsilon = step.spec.norm.epsilon,
                              .tokens = n,
                              .normed = rows_of(step.scratch.normed, n, step.spec.hidden),
                              .gate_out = rows_of(scratch.gate, n, m.width),
                              .up_out = rows_of(scratch.up, n, m.width),
                              .activated = rows_of(scratch.activated, n, m.width)});
}

}  // namespace krasis

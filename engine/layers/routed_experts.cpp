#include "engine/layers/routed_experts.h"

#include "engine/layers/layer_step.h"
#include "kernels/blocks.h"

namespace krasis {

ExpertsArgs experts_args(const RoutedExperts& part, const ExpertLayout& layout) {
  ExpertsArgs args;
  args.layout = layout;
  args.top_k = part.router.top_k;
  args.glu = part.glu;
  return args;
}

void forward(Device& device, Stream stream, const RoutedExperts& e, const LayerStep& step) {
  const auto& w = std::get<RoutedExpertsWeights>(step.weights.feed_forward);
  const RoutedExpertsScratch& scratch = step.scratch.experts;
  const int n = step.batch.tokens;
  device.run(stream, RouterBlock{.residual = step.residual,
                                 .norm = w.norm,
                                 .router = w.router,
                                 .top_k = e.router.top_k,
                                 .renormalize = e.router.renormalize,
                                 .epsilon = step.spec.norm.epsilon,
                                 .tokens = n,
                                 .normed = rows_of(step.scratch.normed, n, step.spec.hidden),
                                 .logits = rows_of(scratch.router_logits, n, e.router.experts),
                                 .ids = rows_of(scratch.ids, n, e.router.top_k),
                                 .weights = rows_of(scratch.weights, n, e.router.top_k)});
}

}  // namespace krasis

#include "engine/layers/grouped_attention.h"

#include "engine/layers/layer_step.h"
#include "kernels/blocks.h"

namespace krasis {

void forward(Device& device, Stream stream, const GroupedAttention& a, const LayerStep& step) {
  const auto& w = std::get<GroupedAttentionWeights>(step.weights.mixer);
  const GroupedAttentionScratch& scratch = step.scratch.attention;
  const StateMemory& keys = step.state[0];
  const StateMemory& values = step.state[1];
  const int n = step.batch.tokens;
  const KvCache cache{.element = keys.element,
                      .rows = step.max_context,
                      .heads = a.kv_heads,
                      .head_dim = a.head_dim,
                      .keys = keys.plane,
                      .values = values.plane,
                      .layout = keys.layout};
  device.run(stream, AttentionBlock{.residual = step.residual,
                                    .batch = step.batch,
                                    .cache = cache,
                                    .input_norm = w.norm,
                                    .q_proj = w.q_proj,
                                    .k_proj = w.k_proj,
                                    .v_proj = w.v_proj,
                                    .o_proj = w.o_proj,
                                    .q_norm = w.q_norm,
                                    .k_norm = w.k_norm,
                                    .inverse_frequency = step.inverse_frequency,
                                    .heads = a.heads,
                                    .epsilon = step.spec.norm.epsilon,
                                    .normed = rows_of(step.scratch.normed, n, step.spec.hidden),
                                    .q = rows_of(scratch.q, n, a.heads * a.head_dim),
                                    .k = rows_of(scratch.k, n, a.kv_heads * a.head_dim),
                                    .v = rows_of(scratch.v, n, a.kv_heads * a.head_dim),
                                    .attended = rows_of(scratch.attended, n, a.heads * a.head_dim),
                                    .attention_workspace = scratch.workspace});
}

}  // namespace krasis

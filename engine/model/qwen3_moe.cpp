#include "engine/model/qwen3_moe.h"

#include <cmath>

namespace krasis::qwen3_moe {
namespace {

/// The first `tokens` rows of a workspace that has `columns` each.
template <class T>
View<T> rows(View<T> view, int tokens, std::int64_t columns) {
  return view.sub(0, static_cast<std::size_t>(tokens) * static_cast<std::size_t>(columns));
}

}  // namespace

void attend(Device& device, Stream stream, const Layer& layer) {
  const ModelConfig& c = layer.config;
  const LayerWeights& w = layer.weights;
  const int n = layer.batch.tokens;
  device.attention_block(stream, {.residual = layer.residual,
                                  .batch = layer.batch,
                                  .cache = layer.cache,
                                  .input_norm = w.input_norm,
                                  .q_proj = w.q_proj,
                                  .k_proj = w.k_proj,
                                  .v_proj = w.v_proj,
                                  .o_proj = w.o_proj,
                                  .q_norm = w.q_norm,
                                  .k_norm = w.k_norm,
                                  .inverse_frequency = layer.inverse_frequency,
                                  .heads = c.heads,
                                  .epsilon = c.rms_norm_epsilon,
                                  .normed = rows(layer.workspace.normed, n, c.hidden),
                                  .q = rows(layer.workspace.q, n, c.heads * c.head_dim),
                                  .k = rows(layer.workspace.k, n, c.kv_heads * c.head_dim),
                                  .v = rows(layer.workspace.v, n, c.kv_heads * c.head_dim),
                                  .attended = rows(layer.workspace.attended, n, c.heads * c.head_dim),
                                  .attention_workspace = layer.workspace.attention});
}

void dense_mlp(Device& device, Stream stream, const Layer& layer) {
  const ModelConfig& c = layer.config;
  const int n = layer.batch.tokens;
  device.mlp_block(stream, {.residual = layer.residual,
                            .norm = layer.weights.post_attention_norm,
                            .gate = layer.weights.gate_proj,
                            .up = layer.weights.up_proj,
                            .down = layer.weights.down_proj,
                            .epsilon = c.rms_norm_epsilon,
                            .tokens = n,
                            .normed = rows(layer.workspace.normed, n, c.hidden),
                            .gate_out = rows(layer.workspace.gate, n, c.dense_width),
                            .up_out = rows(layer.workspace.up, n, c.dense_width),
                            .activated = rows(layer.workspace.activated, n, c.dense_width)});
}

void route(Device& device, Stream stream, const Layer& layer) {
  const ModelConfig& c = layer.config;
  const int n = layer.batch.tokens;
  device.router_block(stream, {.residual = layer.residual,
                               .norm = layer.weights.post_attention_norm,
                               .router = layer.weights.router,
                               .top_k = c.top_k,
                               .renormalize = c.renormalize,
                               .epsilon = c.rms_norm_epsilon,
                               .tokens = n,
                               .normed = rows(layer.workspace.normed, n, c.hidden),
                               .logits = rows(layer.workspace.router_logits, n, c.experts),
                               .ids = rows(layer.workspace.ids, n, c.top_k),
                               .weights = rows(layer.workspace.weights, n, c.top_k)});
}

void head(Device& device, Stream stream, const ModelConfig& config, View<const float> residual_row,
          View<const bf16> final_norm, const Matrix& lm_head, View<bf16> normed, View<float> logits) {
  device.head_block(stream, {.residual = residual_row,
                             .norm = final_norm,
                             .lm_head = lm_head,
                             .epsilon = config.rms_norm_epsilon,
                             .tokens = 1,
                             .normed = rows(normed, 1, config.hidden),
                             .logits = logits});
}

std::vector<float> inverse_frequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim) / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = static_cast<float>(std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / config.head_dim));
  }
  return frequencies;
}

}  // namespace krasis::qwen3_moe

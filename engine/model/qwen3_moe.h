#pragma once

#include "engine/weights/packed_model.h"
#include "kernels/blocks.h"
#include "kernels/device.h"

/// Qwen3-MoE (Qwen3 Technical Report, arXiv:2505.09388; transformers' modeling_qwen3_moe): pre-norm layers of grouped
/// query attention with q/k norm, then a dense MLP or routed experts. Written once, against the blocks of a device; who
/// computes the experts, and from which memory, is the pipelines' business.
namespace krasis::qwen3_moe {

/// Activations of up to `tokens` tokens on one device; contents undefined between calls, but for `normed`, `ids` and
/// `weights`, which route() leaves for the experts.
struct Workspace {
  View<bf16> normed;             ///< [tokens, hidden]
  View<bf16> q, k, v, attended;  ///< [tokens, heads or kv_heads, head_dim]
  View<std::byte> attention;     ///< AttentionArgs::workspace: for a decode step, and for an FP8 cache of all positions
  View<float> router_logits;     ///< [tokens, experts]
  View<std::int32_t> ids;        ///< [tokens, top_k]
  View<float> weights;           ///< [tokens, top_k]
  View<float> gate, up;          ///< [tokens, dense_width]
  View<bf16> activated;          ///< [tokens, dense_width]
  View<std::byte> experts;       ///< experts_workspace_bytes; may overlap `attention`
};

/// One layer at work on one batch.
struct Layer {
  const ModelConfig& config;
  const LayerWeights& weights;
  View<const float> inverse_frequency;
  KvCache cache;
  Batch batch;
  View<float> residual;  ///< [batch.tokens, hidden]
  Workspace workspace;   ///< of at least batch.tokens
};

/// x = x + attention(norm(x))
void attend(Device& device, Stream stream, const Layer& layer);
/// x = x + mlp(norm(x)), in a layer without experts
void dense_mlp(Device& device, Stream stream, const Layer& layer);
/// normed = norm(x); ids, weights = the top_k experts of each token
void route(Device& device, Stream stream, const Layer& layer);
/// logits = lm_head(norm(x)) of one row
void head(Device& device, Stream stream, const ModelConfig& config, View<const float> residual_row,
          View<const bf16> final_norm, const Matrix& lm_head, View<bf16> normed, View<float> logits);

/// inverse_frequency[i] = theta^(-2i / head_dim), i < head_dim / 2
std::vector<float> inverse_frequencies(const ModelConfig& config);

}  // namespace krasis::qwen3_moe

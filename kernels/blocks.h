#pragma once

#include "kernels/operations.h"

/// Blocks: the parts of a transformer layer that architecture code is written against. `residual` is the FP32 stream
/// [tokens, hidden] that every block adds its output to. Workspaces are the caller's, and the plan counts them;
/// contents undefined before and after.
namespace krasis {

/// residual += o_proj(attention(rotary(q_norm(q_proj(x))), cache of k and v)), x = rms_norm(residual)
struct AttentionBlock {
  View<float> residual;
  Batch batch;
  KvCache cache;
  View<const bf16> input_norm;  ///< [hidden]
  Matrix q_proj;                ///< [heads * head_dim, hidden]
  Matrix k_proj;                ///< [kv_heads * head_dim, hidden]
  Matrix v_proj;                ///< [kv_heads * head_dim, hidden]
  Matrix o_proj;                ///< [hidden, heads * head_dim]
  View<const bf16> q_norm;      ///< [head_dim]; empty = none
  View<const bf16> k_norm;      ///< [head_dim]; empty = none
  View<const float> inverse_frequency;
  int heads = 0;
  float epsilon = 1e-6f;
  View<bf16> normed;      ///< workspace [tokens, hidden]
  View<bf16> q, k, v;     ///< workspaces [tokens, heads * head_dim], [tokens, kv_heads * head_dim] twice
  View<bf16> attended;    ///< workspace [tokens, heads * head_dim]
  View<std::byte> attention_workspace;  ///< AttentionArgs::workspace
};

/// residual += down(silu(gate(x)) * up(x)), x = rms_norm(residual): a dense layer's MLP
struct MlpBlock {
  View<float> residual;
  View<const bf16> norm;
  Matrix gate, up, down;
  float epsilon = 1e-6f;
  std::int64_t tokens = 0;
  View<bf16> normed;             ///< workspace [tokens, hidden]
  View<float> gate_out, up_out;  ///< workspaces [tokens, width]
  View<bf16> activated;          ///< workspace [tokens, width]
};

/// normed = rms_norm(residual); ids, weights = top-k of router(normed): what the experts then need
struct RouterBlock {
  View<const float> residual;
  View<const bf16> norm;
  Matrix router;  ///< BF16 [experts, hidden]
  int top_k = 0;
  bool renormalize = true;
  float epsilon = 1e-6f;
  std::int64_t tokens = 0;
  View<bf16> normed;         ///< [tokens, hidden], overwritten
  View<float> logits;        ///< workspace [tokens, experts]
  View<std::int32_t> ids;    ///< [tokens, top_k], overwritten
  View<float> weights;       ///< [tokens, top_k], overwritten
};

/// logits = lm_head(rms_norm(residual)) of the given rows
struct HeadBlock {
  View<const float> residual;  ///< [tokens, hidden]
  View<const bf16> norm;
  Matrix lm_head;  ///< [vocabulary, hidden]
  float epsilon = 1e-6f;
  std::int64_t tokens = 0;
  View<bf16> normed;   ///< workspace [tokens, hidden]
  View<float> logits;  ///< [tokens, vocabulary], overwritten
};

}  // namespace krasis

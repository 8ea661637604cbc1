#pragma once

#include <array>
#include <cmath>
#include <span>

#include "kernels/operations.h"

/// Blocks: operations that consist of others, mostly the parts of a transformer layer that architecture code is written
/// against. A device whose table of operations has a block runs it at once, with the results of its parts; elsewhere
/// `expand` gives the parts one after another to `run`. `residual` is the FP32 stream [tokens, hidden] that every block
/// adds its output to. Workspaces are the caller's, and the plan counts them; contents undefined before and after.
namespace krasis {

/// Products that write different memory, e.g. q, k and v of the same activations; the bits of each are matmul's.
struct MatmulsArgs {
  static constexpr const char* kName = "matmuls";
  static constexpr std::size_t kMost = 3;
  std::array<MatmulArgs, kMost> products;
  std::size_t count = 0;

  std::span<const MatmulArgs> all() const { return {products.data(), count}; }

  template <class Visitor>
  void visit(Visitor& visitor) {
    for (std::size_t i = 0; i < count; ++i) products[i].visit(visitor);
  }
  template <class Run>
  void expand(const Run& run) const {
    for (const MatmulArgs& product : all()) run(product);
  }
};

/// residual += o_proj(attention(rotary(q_norm(q_proj(x))), cache of k and v)), x = rms_norm(residual)
struct AttentionBlock {
  static constexpr const char* kName = "attention_block";
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

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(cache.head_dim)); }
  MatmulsArgs projections() const {
    return {{{{.x = normed, .weight = q_proj, .out_bf16 = q, .tokens = batch.tokens},
              {.x = normed, .weight = k_proj, .out_bf16 = k, .tokens = batch.tokens},
              {.x = normed, .weight = v_proj, .out_bf16 = v, .tokens = batch.tokens}}},
            3};
  }
  MatmulArgs output() const {
    return {.x = attended, .weight = o_proj, .accumulate = residual, .tokens = batch.tokens};
  }

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(batch, input_norm, q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, inverse_frequency);
    visitor.update(residual, cache);
    visitor.out(normed, q, k, v, attended);
    visitor.scratch(attention_workspace);
  }
  template <class Run>
  void expand(const Run& run) const {
    run(RmsNormArgs{residual, input_norm, normed, q_proj.layout.columns, epsilon});
    run(projections());
    if (!q_norm.empty()) run(HeadNormArgs{q, q_norm, cache.head_dim, epsilon});
    if (!k_norm.empty()) run(HeadNormArgs{k, k_norm, cache.head_dim, epsilon});
    run(RotaryArgs{q, inverse_frequency, batch, heads, cache.head_dim});
    run(RotaryArgs{k, inverse_frequency, batch, cache.heads, cache.head_dim});
    run(KvAppendArgs{k, v, cache, batch});
    run(AttentionArgs{q, cache, batch, attended, heads, scale(), attention_workspace});
    run(output());
  }
};

/// residual += down(silu(gate(x)) * up(x)), x = rms_norm(residual): a dense layer's MLP
struct MlpBlock {
  static constexpr const char* kName = "mlp_block";
  View<float> residual;
  View<const bf16> norm;
  Matrix gate, up, down;
  float epsilon = 1e-6f;
  std::int64_t tokens = 0;
  View<bf16> normed;             ///< workspace [tokens, hidden]
  View<float> gate_out, up_out;  ///< workspaces [tokens, width]
  View<bf16> activated;          ///< workspace [tokens, width]

  MatmulsArgs projections() const {
    return {{{{.x = normed, .weight = gate, .out_f32 = gate_out, .tokens = tokens},
              {.x = normed, .weight = up, .out_f32 = up_out, .tokens = tokens}}},
            2};
  }
  MatmulArgs output() const { return {.x = activated, .weight = down, .accumulate = residual, .tokens = tokens}; }

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(norm, gate, up, down);
    visitor.update(residual);
    visitor.out(normed, gate_out, up_out, activated);
  }
  template <class Run>
  void expand(const Run& run) const {
    run(RmsNormArgs{residual, norm, normed, gate.layout.columns, epsilon});
    run(projections());
    run(SwiGluArgs{gate_out, up_out, activated});
    run(output());
  }
};

/// normed = rms_norm(residual); ids, weights = top-k of router(normed): what the experts then need
struct RouterBlock {
  static constexpr const char* kName = "router_block";
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

  MatmulArgs scores() const { return {.x = normed, .weight = router, .out_f32 = logits, .tokens = tokens}; }

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(residual, norm, router);
    visitor.out(normed, logits, ids, weights);
  }
  template <class Run>
  void expand(const Run& run) const {
    run(RmsNormArgs{residual, norm, normed, router.layout.columns, epsilon});
    run(scores());
    run(RouterArgs{logits, ids, weights, static_cast<int>(router.layout.rows), top_k, renormalize});
  }
};

/// logits = lm_head(rms_norm(residual)) of the given rows
struct HeadBlock {
  static constexpr const char* kName = "head_block";
  View<const float> residual;  ///< [tokens, hidden]
  View<const bf16> norm;
  Matrix lm_head;  ///< [vocabulary, hidden]
  float epsilon = 1e-6f;
  std::int64_t tokens = 0;
  View<bf16> normed;   ///< workspace [tokens, hidden]
  View<float> logits;  ///< [tokens, vocabulary], overwritten

  MatmulArgs product() const { return {.x = normed, .weight = lm_head, .out_f32 = logits, .tokens = tokens}; }

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.in(residual, norm, lm_head);
    visitor.out(normed, logits);
  }
  template <class Run>
  void expand(const Run& run) const {
    run(RmsNormArgs{residual, norm, normed, lm_head.layout.columns, epsilon});
    run(product());
  }
};

}  // namespace krasis

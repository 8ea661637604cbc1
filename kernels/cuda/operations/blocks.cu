#include <array>
#include <cmath>
#include <span>

#include "kernels/cuda/operations/attention_few.h"
#include "kernels/cuda/operations/blocks.h"
#include "kernels/cuda/operations/fused_norm.cuh"
#include "kernels/cuda/operations/matmul_few.h"
#include "kernels/cuda/operations/router_few.h"

namespace krasis::cuda {
namespace {

/// rms_norm(residual) times several matrices, in one launch where that can be, with the norm where that pays.
/// `Out`: bf16 or float.
template <class Out>
void normed_products(const Launch& launch, const RmsNormArgs& norm, std::int64_t tokens,
                     std::span<const Matrix> weights, std::span<const View<Out>> outs) {
  const View<const bf16> x = norm.out;
  bool together = true;
  for (const Matrix& weight : weights) {
    together = together && weight.layout.format == weights[0].layout.format &&
               weight.layout.columns == weights[0].layout.columns &&
               few_tokens_support(weight.layout, weight.data, x.data, tokens);
  }
  std::array<ProductOutput, kMostJobs> to;
  std::array<MatmulArgs, kMostJobs> jobs;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    MatmulArgs args{.x = x, .weight = weights[i], .tokens = tokens};
    if constexpr (std::is_same_v<Out, float>) {
      args.out_f32 = outs[i];
    } else {
      args.out_bf16 = outs[i];
    }
    to[i] = output_of(args);
    jobs[i] = args;
  }
  const std::span<const ProductOutput> outputs(to.data(), weights.size());
  if (together) {
    const NormJob job{norm.x.data, device_bf16(norm.weight.data), nullptr, static_cast<int>(norm.width), norm.epsilon};
    if (matmul_few_normed(launch, job, tokens, weights, outputs)) return;
  }
  rms_norm(launch, norm);
  if (together) return matmul_few(launch, x.data, tokens, weights, outputs);
  for (std::size_t i = 0; i < weights.size(); ++i) matmul(launch, jobs[i]);
}

}  // namespace

void attention_block(const Launch& launch, const AttentionBlock& b) {
  const std::int64_t tokens = b.batch.tokens;
  if (tokens == 0) return;
  const Matrix weights[] = {b.q_proj, b.k_proj, b.v_proj};
  const View<bf16> outs[] = {b.q, b.k, b.v};
  normed_products<bf16>(launch, {b.residual, b.input_norm, b.normed, b.q_proj.layout.columns, b.epsilon}, tokens,
                        weights, outs);
  if (!attention_few(launch, b)) {
    prepare_heads(launch, b);
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.cache.head_dim));
    attention(launch, {b.q, b.cache, b.batch, b.attended, b.heads, scale, b.attention_workspace});
  }
  matmul(launch, {.x = b.attended, .weight = b.o_proj, .accumulate = b.residual, .tokens = tokens});
}

void mlp_block(const Launch& launch, const MlpBlock& b) {
  if (b.tokens == 0) return;
  const Matrix weights[] = {b.gate, b.up};
  const View<float> outs[] = {b.gate_out, b.up_out};
  normed_products<float>(launch, {b.residual, b.norm, b.normed, b.gate.layout.columns, b.epsilon}, b.tokens, weights,
                         outs);
  swiglu(launch, {b.gate_out, b.up_out, b.activated});
  matmul(launch, {.x = b.activated, .weight = b.down, .accumulate = b.residual, .tokens = b.tokens});
}

void router_block(const Launch& launch, const RouterBlock& b) {
  if (b.tokens == 0 || router_few(launch, b)) return;
  rms_norm(launch, {b.residual, b.norm, b.normed, b.router.layout.columns, b.epsilon});
  matmul(launch, {.x = b.normed, .weight = b.router, .out_f32 = b.logits, .tokens = b.tokens});
  router(launch, {b.logits, b.ids, b.weights, static_cast<int>(b.router.layout.rows), b.top_k, b.renormalize});
}

void head_block(const Launch& launch, const HeadBlock& b) {
  if (b.tokens == 0) return;
  rms_norm(launch, {b.residual, b.norm, b.normed, b.lm_head.layout.columns, b.epsilon});
  matmul(launch, {.x = b.normed, .weight = b.lm_head, .out_f32 = b.logits, .tokens = b.tokens});
}

}  // namespace krasis::cuda

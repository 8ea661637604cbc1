#include <array>
#include <span>

#include "kernels/cuda/operations/attention/decode_fused.h"
#include "kernels/cuda/operations/attention/prepare_heads.h"
#include "kernels/cuda/operations/norm/fused.cuh"
#include "kernels/cuda/operations/matmul/decode.h"
#include "kernels/cuda/operations/router/fused.h"

namespace krasis::cuda {
namespace {

/// rms_norm(residual) times several matrices, in one launch where that can be, with the norm where that pays.
/// `Out`: bf16 or float.
template <class Out>
void normed_products(const Launch& launch, const RmsNormArgs& norm, std::int64_t tokens,
                     std::span<const Matrix> weights, std::span<const View<Out>> outs) {
  const View<const bf16> x = norm.out;
  bool together = true;
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
    together = together && weights[i].layout.format == weights[0].layout.format &&
               weights[i].layout.columns == weights[0].layout.columns &&
               choose_matmul(target_of(launch), args) == MatmulPath::Rows;
  }
  const std::span<const ProductOutput> outputs(to.data(), weights.size());
  if (together && fuses_norm(norm, tokens)) {
    const NormJob job{norm.x.data, device_bf16(norm.weight.data), nullptr, static_cast<int>(norm.width), norm.epsilon};
    if (matmul_rows_normed(launch, job, tokens, weights, outputs)) return;
  }
  run(launch, norm);
  if (together) return matmul_rows(launch, x.data, tokens, weights, outputs);
  for (std::size_t i = 0; i < weights.size(); ++i) run(launch, jobs[i]);
}

}  // namespace

template <>
void run(const Launch& launch, const AttentionBlock& b) {
  const std::int64_t tokens = b.batch.tokens;
  if (tokens == 0) return;
  const Matrix weights[] = {b.q_proj, b.k_proj, b.v_proj};
  const View<bf16> outs[] = {b.q, b.k, b.v};
  normed_products<bf16>(launch, {b.residual, b.input_norm, b.normed, b.q_proj.layout.columns, b.epsilon}, tokens,
                        weights, outs);
  if (fuses_decode(target_of(launch), b)) {
    attention_decode(launch, b);
  } else {
    prepare_heads(launch, b);
    run(launch, AttentionArgs{b.q, b.cache, b.batch, b.attended, b.heads, b.scale(), b.attention_workspace});
  }
  run(launch, b.output());
}

template <>
void run(const Launch& launch, const MlpBlock& b) {
  if (b.tokens == 0) return;
  const Matrix weights[] = {b.gate, b.up};
  const View<float> outs[] = {b.gate_out, b.up_out};
  normed_products<float>(launch, {b.residual, b.norm, b.normed, b.gate.layout.columns, b.epsilon}, b.tokens, weights,
                         outs);
  run(launch, SwiGluArgs{b.gate_out, b.up_out, b.activated});
  run(launch, b.output());
}

template <>
void run(const Launch& launch, const RouterBlock& b) {
  if (b.tokens == 0) return;
  if (fuses_router(target_of(launch), b)) return router_fused(launch, b);
  b.expand([&](const auto& part) { run(launch, part); });
}

template <>
void run(const Launch& launch, const HeadBlock& b) {
  if (b.tokens == 0) return;
  b.expand([&](const auto& part) { run(launch, part); });
}

}  // namespace krasis::cuda

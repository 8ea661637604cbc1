#include "kernels/blocks.h"

#include <array>

#include "kernels/device.h"

namespace krasis {

void Device::matmuls(Stream stream, std::span<const MatmulArgs> products) {
  for (const MatmulArgs& product : products) matmul(stream, product);
}

void Device::copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal) {
  for (const CopyArgs& args : copies) copy(stream, args.to, args.from, args.name);
  raise(stream, signal);
}

void Device::await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum, View<float> arrived) {
  await(stream, signal, why);
  krasis::copy(*this, stream, arrived, sum.x, "sum from the CPU");
  add(stream, {arrived, sum.out});
}

void Device::attention_block(Stream stream, const AttentionBlock& b) {
  const std::int64_t tokens = b.batch.tokens;
  const std::int64_t hidden = b.q_proj.layout.columns;
  rms_norm(stream, {b.residual, b.input_norm, b.normed, hidden, b.epsilon});
  matmuls(stream, std::array{MatmulArgs{.x = b.normed, .weight = b.q_proj, .out_bf16 = b.q, .tokens = tokens},
                             MatmulArgs{.x = b.normed, .weight = b.k_proj, .out_bf16 = b.k, .tokens = tokens},
                             MatmulArgs{.x = b.normed, .weight = b.v_proj, .out_bf16 = b.v, .tokens = tokens}});
  if (!b.q_norm.empty()) head_norm(stream, {b.q, b.q_norm, b.cache.head_dim, b.epsilon});
  if (!b.k_norm.empty()) head_norm(stream, {b.k, b.k_norm, b.cache.head_dim, b.epsilon});
  rotary(stream, {b.q, b.inverse_frequency, b.batch, b.heads, b.cache.head_dim});
  rotary(stream, {b.k, b.inverse_frequency, b.batch, b.cache.heads, b.cache.head_dim});
  kv_append(stream, {b.k, b.v, b.cache, b.batch});
  const float scale = 1.0f / std::sqrt(static_cast<float>(b.cache.head_dim));
  attention(stream, {b.q, b.cache, b.batch, b.attended, b.heads, scale, b.attention_workspace});
  matmul(stream, {.x = b.attended, .weight = b.o_proj, .accumulate = b.residual, .tokens = tokens});
}

void Device::mlp_block(Stream stream, const MlpBlock& b) {
  rms_norm(stream, {b.residual, b.norm, b.normed, b.gate.layout.columns, b.epsilon});
  matmuls(stream, std::array{MatmulArgs{.x = b.normed, .weight = b.gate, .out_f32 = b.gate_out, .tokens = b.tokens},
                             MatmulArgs{.x = b.normed, .weight = b.up, .out_f32 = b.up_out, .tokens = b.tokens}});
  swiglu(stream, {b.gate_out, b.up_out, b.activated});
  matmul(stream, {.x = b.activated, .weight = b.down, .accumulate = b.residual, .tokens = b.tokens});
}

void Device::router_block(Stream stream, const RouterBlock& b) {
  rms_norm(stream, {b.residual, b.norm, b.normed, b.router.layout.columns, b.epsilon});
  matmul(stream, {.x = b.normed, .weight = b.router, .out_f32 = b.logits, .tokens = b.tokens});
  router(stream, {b.logits, b.ids, b.weights, static_cast<int>(b.router.layout.rows), b.top_k, b.renormalize});
}

void Device::head_block(Stream stream, const HeadBlock& b) {
  rms_norm(stream, {b.residual, b.norm, b.normed, b.lm_head.layout.columns, b.epsilon});
  matmul(stream, {.x = b.normed, .weight = b.lm_head, .out_f32 = b.logits, .tokens = b.tokens});
}

Buffer::~Buffer() {
  if (device_ && data_) device_->release(space_, data_, bytes_);
}

}  // namespace krasis

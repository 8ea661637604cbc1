#include "tests/kernels/cuda/operations/block_cases.h"

#include <algorithm>
#include <cstring>

namespace krasis::test {

void compose(const HostOperations& op, const AttentionBlock& b) {
  const int tokens = b.batch.tokens, d = b.cache.head_dim;
  op.rms_norm({b.residual, b.input_norm, b.normed, b.q_proj.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.q_proj, .out_bf16 = b.q, .tokens = tokens});
  op.matmul({.x = b.normed, .weight = b.k_proj, .out_bf16 = b.k, .tokens = tokens});
  op.matmul({.x = b.normed, .weight = b.v_proj, .out_bf16 = b.v, .tokens = tokens});
  if (!b.q_norm.empty()) op.head_norm({b.q, b.q_norm, d, b.epsilon});
  if (!b.k_norm.empty()) op.head_norm({b.k, b.k_norm, d, b.epsilon});
  op.rotary({b.q, b.inverse_frequency, b.batch, b.heads, d});
  op.rotary({b.k, b.inverse_frequency, b.batch, b.cache.heads, d});
  op.kv_append({b.k, b.v, b.cache, b.batch});
  op.attention({b.q, b.cache, b.batch, b.attended, b.heads, 1.0f / std::sqrt(static_cast<float>(d)), {}});
  op.matmul({.x = b.attended, .weight = b.o_proj, .accumulate = b.residual, .tokens = tokens});
}
void compose(const HostOperations& op, const MlpBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.gate.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.gate, .out_f32 = b.gate_out, .tokens = b.tokens});
  op.matmul({.x = b.normed, .weight = b.up, .out_f32 = b.up_out, .tokens = b.tokens});
  op.swiglu({b.gate_out, b.up_out, b.activated});
  op.matmul({.x = b.activated, .weight = b.down, .accumulate = b.residual, .tokens = b.tokens});
}
void compose(const HostOperations& op, const RouterBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.router.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.router, .out_f32 = b.logits, .tokens = b.tokens});
  op.router({b.logits, b.ids, b.weights, static_cast<int>(b.router.layout.rows), b.top_k, b.renormalize});
}
void compose(const HostOperations& op, const HeadBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.lm_head.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.lm_head, .out_f32 = b.logits, .tokens = b.tokens});
}

AttentionBlock moved(DeviceMemory& m, AttentionBlock b) {
  b.residual = m.in(b.residual);
  b.batch = m.in(b.batch);
  b.cache = m.in(b.cache, true);
  b.input_norm = m.in(b.input_norm);
  for (Matrix* matrix : {&b.q_proj, &b.k_proj, &b.v_proj, &b.o_proj}) *matrix = m.in(*matrix);
  b.q_norm = m.in(b.q_norm);
  b.k_norm = m.in(b.k_norm);
  b.inverse_frequency = m.in(b.inverse_frequency);
  for (View<bf16>* view : {&b.normed, &b.q, &b.k, &b.v, &b.attended}) *view = m.in(*view);
  b.attention_workspace = m.scratch(attention_workspace_bytes(b.batch.tokens, b.heads, b.cache.head_dim));
  return b;
}
MlpBlock moved(DeviceMemory& m, MlpBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  for (Matrix* matrix : {&b.gate, &b.up, &b.down}) *matrix = m.in(*matrix);
  b.normed = m.in(b.normed);
  b.gate_out = m.in(b.gate_out);
  b.up_out = m.in(b.up_out);
  b.activated = m.in(b.activated);
  return b;
}
RouterBlock moved(DeviceMemory& m, RouterBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  b.router = m.in(b.router);
  b.normed = m.in(b.normed);
  b.logits = m.in(b.logits);
  b.ids = m.in(b.ids);
  b.weights = m.in(b.weights);
  return b;
}
HeadBlock moved(DeviceMemory& m, HeadBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  b.lm_head = m.in(b.lm_head);
  b.normed = m.in(b.normed);
  b.logits = m.in(b.logits);
  return b;
}

AttentionCase::AttentionCase(Random& random, const AttentionShape& s, KvElement element, std::vector<std::int32_t> at,
                             int first)
    : shape(s), positions(std::move(at)), sequences{{0, static_cast<int>(positions.size()), first}} {
  const auto n = positions.size();
  const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  const auto matrix = [&](int rows, int columns) {
    return random_matrix(random, s.format.element, s.format.group_size, rows, columns,
                         1.0 / std::sqrt(static_cast<double>(columns)));
  };
  weights = {matrix(q_width, s.hidden), matrix(kv_width, s.hidden), matrix(kv_width, s.hidden),
             matrix(s.hidden, q_width)};
  residual = random.floats(n * static_cast<std::size_t>(s.hidden));
  norm = random.bf16s(static_cast<std::size_t>(s.hidden));
  q_norm = random.bf16s(s.norms ? static_cast<std::size_t>(s.head_dim) : 0);
  k_norm = random.bf16s(s.norms ? static_cast<std::size_t>(s.head_dim) : 0);
  for (int i = 0; i < s.head_dim / 2; ++i) {
    frequency.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / s.head_dim)));
  }
  normed = poisoned_bf16(residual.size());
  q = attended = poisoned_bf16(n * static_cast<std::size_t>(q_width));
  k = v = poisoned_bf16(n * static_cast<std::size_t>(kv_width));
  const int rows = first + positions.back() + 3;
  cache = {element, rows, s.kv_heads, s.head_dim, {}, {}};
  // What earlier steps left; all else is poison, which nobody may use.
  const std::size_t numbers = static_cast<std::size_t>(rows) * static_cast<std::size_t>(kv_width);
  for (int p = 0; p < 2; ++p) {
    if (element == KvElement::Bf16) {
      std::vector<bf16> plane = random.bf16s(numbers);
      for (int r = 0; r < rows; ++r) {
        if (r >= first && r < first + positions.front()) continue;
        std::fill_n(plane.begin() + r * kv_width, kv_width, bf16::from_bits(0x7fc0));
      }
      values[p].resize(numbers * 2);
      std::memcpy(values[p].data(), plane.data(), numbers * 2);
    } else {
      for (std::size_t i = 0; i < numbers; ++i) {
        const int code = random.integer(0, 0x77);
        values[p].push_back(static_cast<std::byte>(random.integer(0, 1) ? code | 0x80 : code));
      }
      for (int i = 0; i < rows * s.kv_heads; ++i) {
        const int r = i / s.kv_heads;
        const bool cached = r >= first && r < first + positions.front();
        scales[p].push_back(cached ? static_cast<float>(random.uniform(0.001, 0.02)) : std::nanf(""));
      }
    }
  }
}

AttentionBlock AttentionCase::block() {
  KvCache there = cache;
  there.keys = {view(values[0]), view(scales[0])};
  there.values = {view(values[1]), view(scales[1])};
  return {.residual = view(residual),
          .batch = {static_cast<int>(positions.size()), view(std::as_const(positions)), view(std::as_const(sequences))},
          .cache = there,
          .input_norm = view(std::as_const(norm)),
          .q_proj = weights[0].matrix(),
          .k_proj = weights[1].matrix(),
          .v_proj = weights[2].matrix(),
          .o_proj = weights[3].matrix(),
          .q_norm = view(std::as_const(q_norm)),
          .k_norm = view(std::as_const(k_norm)),
          .inverse_frequency = view(std::as_const(frequency)),
          .heads = shape.heads,
          .normed = view(normed),
          .q = view(q),
          .k = view(k),
          .v = view(v),
          .attended = view(attended),
          .attention_workspace = {}};
}

std::vector<float> AttentionCase::appended(int plane) const {
  std::vector<float> numbers;
  const int width = shape.kv_heads * shape.head_dim;
  for (const std::int32_t position : positions) {
    for (int i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>((sequences[0].first_slot + position) * width + i);
      if (cache.element == KvElement::Bf16) {
        bf16 number;
        std::memcpy(&number, values[plane].data() + at * 2, 2);
        numbers.push_back(static_cast<float>(number));
      } else {
        const double scale = scales[plane][at / static_cast<std::size_t>(shape.head_dim)];
        numbers.push_back(static_cast<float>(scale * e4m3_value(static_cast<int>(values[plane][at]))));
      }
    }
  }
  return numbers;
}

}  // namespace krasis::test

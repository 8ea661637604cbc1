#include "tests/kernels/cuda/operations/block_cases.h"

#include <algorithm>
#include <cstring>

namespace krasis::test {

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

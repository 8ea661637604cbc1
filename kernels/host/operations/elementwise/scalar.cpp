#include "kernels/host/operations/scalar.h"

#include <algorithm>
#include <cmath>

#include "base/glu.h"
#include "kernels/host/operations/packing/pack.h"

namespace krasis::scalar {

template <>
void run(const EmbeddingArgs& args) {
  const std::int64_t hidden = args.table.layout.columns;
  float* out = args.out.data;
  for (std::size_t t = 0; t < args.ids.size; ++t, out += hidden) {
    const std::int64_t id = args.ids.data[t];
    const bool known = id >= 0 && id < args.table.layout.rows;
    for (std::int64_t i = 0; i < hidden; ++i) out[i] = known ? unpack_element(args.table, id, i) : 0.0f;
  }
}

template <>
void run(const SwiGluArgs& args) {
  for (std::size_t i = 0; i < args.out.size; ++i) {
    args.out.data[i] = bf16(activated(args.glu, args.gate.data[i], args.up.data[i]));
  }
}

template <>
void run(const RotaryArgs& args) {
  const int half = args.head_dim / 2;
  for (int t = 0; t < args.batch.tokens; ++t) {
    const auto position = static_cast<float>(args.batch.positions.data[t]);
    bf16* token = args.x.data + static_cast<std::int64_t>(t) * args.heads * args.head_dim;
    for (int i = 0; i < half; ++i) {
      const float angle = position * args.inverse_frequency.data[i];
      const float cosine = std::cos(angle);
      const float sine = std::sin(angle);
      for (int h = 0; h < args.heads; ++h) {
        bf16* x = token + static_cast<std::int64_t>(h) * args.head_dim;
        const auto a = static_cast<float>(x[i]);
        const auto b = static_cast<float>(x[i + half]);
        x[i] = bf16(a * cosine - b * sine);
        x[i + half] = bf16(b * cosine + a * sine);
      }
    }
  }
}

template <>
void run(const AddArgs& args) {
  for (std::size_t i = 0; i < args.out.size; ++i) args.out.data[i] += args.x.data[i];
}

template <>
void run(const FillArgs& args) {
  for (std::size_t i = 0; i < args.out.size; ++i) args.out.data[i] = args.value;
}

template <>
void run(const AdvanceArgs& args) {
  args.id.data[0] = args.token.data[0];
  args.position.data[0] += 1;
}

}  // namespace krasis::scalar

#include <cmath>
#include <vector>

#include "kernels/host/operations/pack.h"
#include "kernels/host/operations/parallel.h"
#include "kernels/host/operations/scalar.h"

namespace krasis::scalar {

namespace {

float gated(Glu glu, float gate, float up) {
  if (glu == Glu::SwiGlu) return gate / (1.0f + std::exp(-gate)) * up;
  const float g = gate > 7.0f ? 7.0f : gate;
  const float u = up > 7.0f ? 7.0f : up < -7.0f ? -7.0f : up;
  return g / (1.0f + std::exp(-1.702f * g)) * (u + 1.0f);
}

}  // namespace

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
void run(const RmsNormArgs& args) {
  const auto width = static_cast<std::size_t>(args.width);
  for (std::size_t begin = 0; begin < args.x.size; begin += width) {
    float sum = 0.0f;
    for (std::size_t i = 0; i < width; ++i) sum += args.x.data[begin + i] * args.x.data[begin + i];
    const float norm = std::sqrt(sum / static_cast<float>(width) + args.epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      args.out.data[begin + i] = bf16(args.x.data[begin + i] / norm * static_cast<float>(args.weight.data[i]));
    }
  }
}

template <>
void run(const HeadNormArgs& args) {
  const auto width = static_cast<std::size_t>(args.head_dim);
  for (std::size_t begin = 0; begin < args.x.size; begin += width) {
    bf16* x = args.x.data + begin;
    float sum = 0.0f;
    for (std::size_t i = 0; i < width; ++i) sum += static_cast<float>(x[i]) * static_cast<float>(x[i]);
    const float norm = std::sqrt(sum / static_cast<float>(width) + args.epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      x[i] = bf16(static_cast<float>(x[i]) / norm * static_cast<float>(args.weight.data[i]));
    }
  }
}

template <>
void run(const GatedNormArgs& args) {
  const auto width = static_cast<std::size_t>(args.width);
  for (std::size_t begin = 0; begin < args.x.size; begin += width) {
    const bf16* x = args.x.data + begin;
    float sum = 0.0f;
    for (std::size_t i = 0; i < width; ++i) sum += static_cast<float>(x[i]) * static_cast<float>(x[i]);
    const float norm = std::sqrt(sum / static_cast<float>(width) + args.epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      const bf16 normed(static_cast<float>(x[i]) / norm);
      const bf16 weighted(static_cast<float>(args.weight.data[i]) * static_cast<float>(normed));
      const auto gate = static_cast<float>(args.gate.data[begin + i]);
      args.out.data[begin + i] = bf16(gated(Glu::SwiGlu, gate, static_cast<float>(weighted)));
    }
  }
}

template <>
void run(const MatmulArgs& args) {
  const std::int64_t rows = args.weight.layout.rows;
  const std::int64_t columns = args.weight.layout.columns;
  // Rows are shared out, for a reference of a real model takes minutes on one core; each row is computed as ever.
  parallel_units(rows, rows * columns * args.tokens, [&](std::int64_t o) {
    thread_local std::vector<float> row;
    row.resize(static_cast<std::size_t>(columns));
    unpack_rows(args.weight, o, 1, row.data());
    for (std::int64_t t = 0; t < args.tokens; ++t) {
      const bf16* x = args.x.data + t * columns;
      float sum = 0.0f;
      for (std::int64_t i = 0; i < columns; ++i) sum += row[static_cast<std::size_t>(i)] * static_cast<float>(x[i]);
      if (!args.out_bf16.empty()) args.out_bf16.data[t * rows + o] = bf16(sum);
      if (!args.out_f32.empty()) args.out_f32.data[t * rows + o] = sum;
      if (!args.accumulate.empty()) args.accumulate.data[t * rows + o] += sum;
    }
  });
}

template <>
void run(const SwiGluArgs& args) {
  for (std::size_t i = 0; i < args.out.size; ++i) {
    args.out.data[i] = bf16(gated(args.glu, args.gate.data[i], args.up.data[i]));
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

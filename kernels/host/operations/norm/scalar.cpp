#include "kernels/host/operations/scalar.h"

#include <cmath>

#include "base/glu.h"

namespace krasis::scalar {

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
      args.out.data[begin + i] = bf16(activated(Glu::SwiGlu, gate, static_cast<float>(weighted)));
    }
  }
}

}  // namespace krasis::scalar

#pragma once

#include <cmath>
#include <cstdint>

namespace krasis {

/// How gate and up meet, computed in FP32 from FP32 inputs. NaN stays NaN.
///   SwiGlu: silu(gate) * up, silu(v) = v / (1 + exp(-v))   (Shazeer 2020)
///   ClampedSwiGlu: (u + 1) * g / (1 + exp(-1.702 g)), g = min(gate, 7), u = clamp(up, -7, 7)   (gpt-oss)
enum class Glu : std::uint8_t { SwiGlu, ClampedSwiGlu };

inline float activated(Glu glu, float gate, float up) {
  if (glu == Glu::SwiGlu) return gate / (1.0f + std::exp(-gate)) * up;
  const float g = gate > 7.0f ? 7.0f : gate;
  const float u = up > 7.0f ? 7.0f : up < -7.0f ? -7.0f : up;
  return g / (1.0f + std::exp(-1.702f * g)) * (u + 1.0f);
}

}  // namespace krasis

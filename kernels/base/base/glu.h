#pragma once

#include <cstdint>

namespace krasis {

/// How gate and up meet, computed in FP32 from FP32 inputs. NaN stays NaN.
///   SwiGlu: silu(gate) * up, silu(v) = v / (1 + exp(-v))   (Shazeer 2020)
///   ClampedSwiGlu: (u + 1) * g / (1 + exp(-1.702 g)), g = min(gate, 7), u = clamp(up, -7, 7)   (gpt-oss)
enum class Glu : std::uint8_t { SwiGlu, ClampedSwiGlu };

}  // namespace krasis

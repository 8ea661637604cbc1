#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace krasis {

/// BFloat16: the upper half of an IEEE float32. Storage only; arithmetic happens in float.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN.
  explicit bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<std::uint16_t>((u >> 16) | 0x40u);
    } else {
      bits = static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
  static bf16 from_bits(std::uint16_t bits) {
    bf16 value;
    value.bits = bits;
    return value;
  }
};
static_assert(sizeof(bf16) == 2);

/// FP8 E4M3 (OCP, "e4m3fn": no infinities, NaN = 0x7f/0xff, largest finite 448). Storage only.
struct fp8_e4m3 {
  std::uint8_t bits = 0;

  fp8_e4m3() = default;
  /// Rounds to nearest, ties to even; saturates at +-448 as KV caches need (torch gives NaN beyond 464; callers scale
  /// so that this does not happen).
  explicit fp8_e4m3(float value);
  explicit operator float() const;
};
static_assert(sizeof(fp8_e4m3) == 1);

inline fp8_e4m3::fp8_e4m3(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((u >> 24) & 0x80u);
  float magnitude = std::bit_cast<float>(u & 0x7fffffffu);
  if (std::isnan(magnitude)) {
    bits = static_cast<std::uint8_t>(sign | 0x7fu);
    return;
  }
  if (magnitude >= 448.0f) {
    bits = static_cast<std::uint8_t>(sign | 0x7eu);
    return;
  }
  if (magnitude < 0x1.0p-6f) {  // subnormal: multiples of 2^-9; nearbyint rounds ties to even
    const auto quantum = static_cast<std::uint32_t>(std::nearbyint(magnitude * 512.0f));
    bits = static_cast<std::uint8_t>(sign | quantum);  // 8 carries into the smallest normal
    return;
  }
  std::uint32_t m = u & 0x7fffffffu;
  m += 0x7ffffu + ((m >> 20) & 1u);  // keep 3 of 23 mantissa bits
  const std::uint32_t exponent = (m >> 23) - 127 + 7;
  const std::uint32_t mantissa = (m >> 20) & 7u;
  const std::uint32_t code = (exponent << 3) | mantissa;
  bits = static_cast<std::uint8_t>(sign | (code > 0x7eu ? 0x7eu : code));
}

inline fp8_e4m3::operator float() const {
  const float sign = (bits & 0x80u) ? -1.0f : 1.0f;
  const int exponent = (bits >> 3) & 0xf;
  const int mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(0x7fc00000u);
  if (exponent == 0) return sign * static_cast<float>(mantissa) * 0x1.0p-9f;
  return sign * std::ldexp(1.0f + static_cast<float>(mantissa) / 8.0f, exponent - 7);
}

}  // namespace krasis

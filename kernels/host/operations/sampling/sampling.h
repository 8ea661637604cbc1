#pragma once

#include <cstdint>

/// How the next token is chosen; the same on every device.
///
/// 1. Repetition penalty p on each distinct token of history[0, length): logit > 0 ? logit / p : logit * p.
/// 2. temperature <= 0 or top_k == 1: the largest logit, ties to the smaller id. NaN never wins; a vocabulary of NaN
///    gives token 0.
/// 3. Otherwise logits are divided by the temperature; NaN and -infinity are out (if nothing is left: as in 2.).
///    Candidates rank by logit, ties by the smaller id; weight_i = exp(logit_i - largest logit) in FP32.
///    top_k keeps the first k; top_p the fewest first whose weights reach top_p of the sum of those left (one at
///    least; 1 or more: all); min_p those with weight >= min_p.
/// 4. The draw: u = uniform_draw(seed, length); with the kept candidates in the order of their *ids*, the first whose
///    running sum of weights (FP64) exceeds u * total.
namespace krasis {

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
constexpr std::uint64_t splitmix64_mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Number `counter` of the stream `seed`, in [0, 1) with 53 bits: a pure function, so a draw can be repeated anywhere.
/// SplitMix64 whose state starts at the mixed seed, so that neighbouring seeds give unrelated streams.
constexpr double uniform_draw(std::uint64_t seed, std::uint64_t counter) {
  const std::uint64_t start = splitmix64_mix(seed + 0x9e3779b97f4a7c15u);
  const std::uint64_t bits = splitmix64_mix(start + (counter + 1) * 0x9e3779b97f4a7c15u);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace krasis

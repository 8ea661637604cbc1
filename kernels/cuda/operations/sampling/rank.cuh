#pragma once

#include "kernels/cuda/operations/common.cuh"

namespace krasis::cuda {

/// A candidate's place in the ranking as one number: larger logits first, of equal ones the smaller id. The lower
/// kIdBits hold the id from its end. 0 is nobody.
constexpr int kIdBits = 31;
using Rank = unsigned long long;
__device__ inline Rank rank_of(float logit, int id) {
  return static_cast<Rank>(float_rank(logit)) << kIdBits | static_cast<Rank>(0x7fffffff - id);
}
__device__ inline int id_of(Rank rank) {
  return rank == 0 ? 0 : 0x7fffffff - static_cast<int>(rank & 0x7fffffffu);
}
constexpr int kRankBits = 32 + kIdBits;

__device__ inline bool is_candidate(float logit) {
  return logit > -INFINITY;
}  // false for NaN

/// exp(logit - largest); equality first, since infinity - infinity is NaN.
__device__ inline float weight_of(float logit, float largest) {
  return logit == largest ? 1.0f : expf(logit - largest);
}

}  // namespace krasis::cuda

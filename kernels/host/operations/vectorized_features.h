#pragma once

#include "kernels/features.h"

namespace krasis::simd {

/// What the vectorized operations know of features.h; where arguments ask for more, the reference computes.
template <class Args>
constexpr Features kVectorized = 0;
template <>
constexpr Features kVectorized<MatmulArgs> = weight_features::kFormats | weight_features::kUnevenGroups;
template <>
constexpr Features kVectorized<ExpertsArgs> = kVectorized<MatmulArgs> | experts_features::kClampedSwiGlu;
template <>
constexpr Features kVectorized<AttentionArgs> =
    attention_features::kFp8 | attention_features::kTiles | attention_features::kScaleNotPositive;
template <>
constexpr Features kVectorized<RouterArgs> = router_features::kNotRenormalized;

template <class Args>
constexpr bool is_vectorized(const Args& args) {
  return (features_of(args) & ~kVectorized<Args>) == 0;
}

}  // namespace krasis::simd

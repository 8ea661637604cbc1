#pragma once

#include <cstdint>
#include <vector>

#include "engine/placement/plan.h"
#include "engine/weights/packed_model.h"

namespace krasis {

/// Which device keeps each expert for decode, -1 = none: [layers with experts * experts]. On each caching device the
/// hot_experts() most picked ones of the layers that it may cache; ties go to the earlier layer, then the smaller id.
std::vector<int> choose_cached_experts(const ModelConfig& model, const RunConfiguration& configuration,
                                       const std::vector<std::int64_t>& heatmap);

/// The GPU's blocks of the `expert_layer`-th layer that has experts.
View<const std::byte> experts_of_layer(const PackedModel& model, std::size_t expert_layer);

}  // namespace krasis

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/weights/packed_model.h"

namespace krasis {

/// Must grow whenever packed_layout.cpp, base/format.h or the quantizers change what the same weights look like, or
/// packed_file.h what the file looks like.
inline constexpr int kPackedLayoutVersion = 2;

enum class Region : std::uint8_t { Dense, GpuExperts, CpuExperts };

/// A place where a weight goes, in a precision.
struct PackedTarget {
  Region region = Region::Dense;
  std::size_t offset = 0;  ///< bytes from the region's start, a multiple of 64
  MatrixLayout layout;
};

/// A weight that is read once and packed to one or two places (experts in two precisions; a tied LM head).
struct PackedPart {
  WeightSlot slot;
  int layer = -1;   ///< -1 = none
  int expert = -1;  ///< -1 = none
  std::array<PackedTarget, 2> targets;
  int target_count = 0;

  WeightName name() const { return {slot.name, layer, expert}; }
};

/// Every weight of the model, in the order of their places. A tied LM head has no part of its own: its target stands
/// with the embedding, or is the embedding itself when it is BF16.
std::vector<PackedPart> packed_parts(const ModelSpec& spec, const Precision& precision);

/// Sets the expert layouts and every view and matrix of `model`, whose specification and precision are known and whose
/// regions are allocated already.
void bind_packed_model(PackedModel& model);

std::byte* region_data(const PackedModel& model, Region region);

}  // namespace krasis

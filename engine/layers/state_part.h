#pragma once

#include <cstddef>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/tensor.h"

/// What a sequence leaves behind in a layer, declared once by its mixer: the plan counts it, the engine allocates it.
namespace krasis {

/// A row for each position: keys, values, latents.
struct PositionState {
  std::string_view name;
  KvElement element = KvElement::Bf16;
  int heads = 0;  ///< of the row
  int head_dim = 0;
  int query_heads = 0;  ///< that read it: a device chooses the layout by them (Device::kv_layout)

  std::size_t rows_heads(std::int64_t max_context) const {
    return static_cast<std::size_t>(kv_capacity(max_context)) * static_cast<std::size_t>(heads);
  }
  std::size_t value_bytes(std::int64_t max_context) const {
    const std::size_t element_bytes = element == KvElement::Fp8 ? 1 : 2;
    return rows_heads(max_context) * static_cast<std::size_t>(head_dim) * element_bytes;
  }
  /// FP32, one for each row and head of an FP8 part.
  std::size_t scales(std::int64_t max_context) const { return element == KvElement::Fp8 ? rows_heads(max_context) : 0; }
};

/// Numbers that every position changes, in FP32: a recurrent state's matrices, the last rows of a convolution. Zero at
/// the start of a sequence. A sequence that has such a part cannot be cut back to an earlier position.
struct FixedState {
  std::string_view name;
  std::int64_t elements = 0;
};

using StatePart = std::variant<PositionState, FixedState>;

/// The memory of a StatePart. For a PositionState: a plane of a KV cache; for a FixedState `values` are its floats.
struct StateMemory {
  KvPlane plane;
  KvElement element = KvElement::Bf16;  ///< of a PositionState
  KvLayout layout = KvLayout::Rows;
};

/// Of one layer: [parts of its mixer]; empty for a layer of another device.
using LayerState = std::vector<StateMemory>;

}  // namespace krasis

#pragma once

#include <cstdint>

#include "kernels/operations.h"

namespace krasis {

/// The parts of ExpertsArgs::workspace (experts_workspace_bytes), one row for each (token, pick) pair.
struct ExpertsWorkspace {
  float* gate = nullptr;          ///< [pairs, width]
  float* up = nullptr;            ///< [pairs, width]
  bf16* activated = nullptr;      ///< [pairs, width]
  float* down = nullptr;          ///< [pairs, hidden]
  std::int32_t* lists = nullptr;  ///< 4 * pairs + 1024 numbers, for bookkeeping; 2 * pairs are used
};

inline ExpertsWorkspace experts_workspace(const ExpertsArgs& args) {
  const std::size_t pairs = args.ids.size;
  const std::size_t values = pairs * static_cast<std::size_t>(args.layout.width());
  std::byte* data = args.workspace.data;
  std::byte* down = data + round_up(values * 10, 64);
  std::byte* lists = down + round_up(pairs * static_cast<std::size_t>(args.layout.hidden()) * 4, 64);
  return {reinterpret_cast<float*>(data), reinterpret_cast<float*>(data + values * 4),
          reinterpret_cast<bf16*>(data + values * 8), reinterpret_cast<float*>(down),
          reinterpret_cast<std::int32_t*>(lists)};
}

/// The block of expert `id`, or null if it is not here or no expert.
inline const std::byte* expert_block(const ExpertsArgs& args, std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) >= args.offsets.size || args.offsets.data[id] < 0) return nullptr;
  return args.pool.data + args.offsets.data[id];
}

struct ExpertMatrices {
  Matrix gate, up, down;
};
inline ExpertMatrices expert_matrices(const ExpertLayout& layout, const std::byte* block) {
  return {Matrix{layout.gate, block + layout.gate_offset()}, Matrix{layout.up, block + layout.up_offset()},
          Matrix{layout.down, block + layout.down_offset()}};
}

}  // namespace krasis

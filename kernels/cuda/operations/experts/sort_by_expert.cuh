#pragma once

#include "kernels/cuda/operations/experts/pool.cuh"
#include "kernels/cuda/operations/tensor_cores/layout.h"

/// The (token, pick) pairs of a batch sorted by expert, and cut into tiles of tokens that one expert multiplies
/// together. Only pairs whose expert is here are in. Lives in the lists of the workspace.
namespace krasis::cuda {

/// The tile's pairs are order[first .. first + count).
struct ExpertTile {
  std::int32_t first;
  std::uint16_t expert;
  std::uint16_t count;
};
static_assert(sizeof(ExpertTile) == 8);

struct ExpertTiles {
  std::int32_t* count = nullptr;  ///< [1] of tiles
  ExpertTile* tiles = nullptr;    ///< [most_tiles]
  std::int32_t* order = nullptr;  ///< [pairs]
  std::int64_t most = 0;
};
/// Fits into the 4 * pairs + 1024 numbers of the workspace for tiles of 32 tokens and more.
inline ExpertTiles tiles_of(const ExpertsArgs& args, int tile_tokens) {
  const auto pairs = static_cast<std::int64_t>(args.ids.size);
  std::int32_t* lists = scratch_of(args).lists;
  const std::int64_t most = most_tiles(pairs, static_cast<std::int64_t>(args.offsets.size), tile_tokens);
  return {lists, reinterpret_cast<ExpertTile*>(lists + 2), lists + 2 + 2 * most, most};
}

/// Fills `tiles`; uses the workspace's room for gate.
void sort_by_expert(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens);

}  // namespace krasis::cuda

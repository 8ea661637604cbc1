#include "kernels/cuda/operations/experts/prefill.cuh"
#ifdef KRASIS_HAVE_HOPPER_PRODUCTS
#include "kernels/cuda/hopper/products/hopper_products.h"
#endif

namespace krasis::cuda {
namespace {

void on_hopper([[maybe_unused]] const Launch& launch, [[maybe_unused]] const ExpertsArgs& args) {
#ifdef KRASIS_HAVE_HOPPER_PRODUCTS
  const ExpertTiles tiles = tiles_of(args, hopper::kTileTokens);
  sort_by_expert(launch, args, tiles, hopper::kTileTokens);
  hopper::activate_experts(launch, args, tiles);
  hopper::down_experts(launch, args, tiles);
  combine_experts(launch, args, scratch_of(args).down);
#endif
}

void by_tiles(const Launch& launch, const ExpertsArgs& args) {
  // Large tiles where an expert has the tokens to fill them.
  const int tile_tokens = args.ids.size >= args.offsets.size * 96 ? 128 : 64;
  const ExpertTiles tiles = tiles_of(args, tile_tokens);
  sort_by_expert(launch, args, tiles, tile_tokens);
  activate_tiles(launch, args, tiles, tile_tokens);
  down_tiles(launch, args, tiles, tile_tokens);
  combine_experts(launch, args, scratch_of(args).down);
}

}  // namespace

template <>
void run(const Launch& launch, const ExpertsArgs& args) {
  if (args.ids.empty()) return;
  switch (choose_experts(target_of(launch), args).value()) {
    case ExpertsPath::Decode:
      return experts_decode(launch, args);
    case ExpertsPath::Hopper:
      return on_hopper(launch, args);
    case ExpertsPath::Tiles:
      return by_tiles(launch, args);
    case ExpertsPath::Fallback:
      return experts_fallback(launch, args);
  }
}

}  // namespace krasis::cuda

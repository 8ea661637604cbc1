#include "kernels/cuda/operations/experts_many.cuh"
#ifdef KRASIS_HAVE_HOPPER_EXPERTS
#include "kernels/cuda/hopper/experts/hopper_products.h"
#endif

namespace krasis::cuda {
namespace {

bool tensor_cores_support(const ExpertsArgs& args) {
  const ExpertLayout& layout = args.layout;
  return tiles_support(layout.gate.format) && tiles_support(layout.down.format) && layout.hidden() % kPiece == 0 &&
         layout.width() % kPiece == 0 && is_aligned(args.pool.data, 16) && is_aligned(args.x.data, 16) &&
         is_aligned(args.workspace.data, 16);
}

/// Whether Hopper's kernels did it.
bool on_hopper([[maybe_unused]] const Launch& launch, [[maybe_unused]] const ExpertsArgs& args) {
#ifdef KRASIS_HAVE_HOPPER_EXPERTS
  if (!hopper::supports(launch, args.layout.gate) || !hopper::supports(launch, args.layout.down)) return false;
  const ExpertTiles tiles = tiles_of(args, hopper::kTileTokens);
  sort_by_expert(launch, args, tiles, hopper::kTileTokens);
  hopper::activate_experts(launch, args, tiles);
  hopper::down_experts(launch, args, tiles);
  combine_experts(launch, args, scratch_of(args).down);
  return true;
#else
  return false;
#endif
}

}  // namespace

void experts(const Launch& launch, const ExpertsArgs& args) {
  if (args.ids.empty()) return;
  if (!tensor_cores_support(args)) return experts_any(launch, args);
  const auto pairs = static_cast<std::int64_t>(args.ids.size);
  const auto count = static_cast<std::int64_t>(args.offsets.size);
  if (pairs / args.top_k <= kMostFewExpertTokens || count > kMostSortedExperts) return experts_few(launch, args);
  if (on_hopper(launch, args)) return;
  // Large tiles where an expert has the tokens to fill them.
  const int tile_tokens = pairs >= count * 96 ? 128 : 64;
  const ExpertTiles tiles = tiles_of(args, tile_tokens);
  sort_by_expert(launch, args, tiles, tile_tokens);
  activate_many(launch, args, tiles, tile_tokens);
  down_many(launch, args, tiles, tile_tokens);
  combine_experts(launch, args, scratch_of(args).down);
}

}  // namespace krasis::cuda

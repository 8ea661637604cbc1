#include "kernels/cuda/operations/experts/prefill.cuh"

namespace krasis::cuda {
namespace {

template <int kM>
void run(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles) {
  with_tile_product<kM>(args.layout.down.format, [&](auto product) {
    using Product = decltype(product);
    const dim3 grid(static_cast<unsigned>(tiles.most), blocks_for(args.layout.hidden(), kTileWeightRows));
    const ExpertsScratch scratch = scratch_of(args);
    launch_with_shared(launch, down_tiles_kernel<Product>, grid, kTileThreads, Product::kSharedBytes, pool_of(args),
                       tiles, static_cast<const __nv_bfloat16*>(scratch.activated), scratch.down);
  });
}

}  // namespace

void down_tiles(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens) {
  if (tile_tokens == 128) return run<4>(launch, args, tiles);
  run<2>(launch, args, tiles);
}

}  // namespace krasis::cuda

#include "kernels/cuda/operations/experts/prefill.cuh"

namespace krasis::cuda {
namespace {

template <int kM>
void run(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles) {
  with_tile_product<kM>(args.layout.gate.format, [&](auto product) {
    using Product = decltype(product);
    const dim3 grid(static_cast<unsigned>(tiles.most), blocks_for(args.layout.width(), kTileWeightRows / 2));
    launch_with_shared(launch, activate_tiles_kernel<Product>, grid, kTileThreads, Product::kSharedBytes, pool_of(args),
                       tiles, device_bf16(args.x.data), scratch_of(args).activated, args.top_k);
  });
}

}  // namespace

void activate_tiles(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens) {
  if (tile_tokens == 128) return run<4>(launch, args, tiles);
  run<2>(launch, args, tiles);
}

}  // namespace krasis::cuda

#include "kernels/cuda/operations/expert_tiles.cuh"

namespace krasis::cuda {
namespace {

constexpr int kThreads = 1024;

/// The sum of lanes 0..lane.
__device__ int inclusive_scan(int value) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, value, step);
    if (lane_id() >= step) value += other;
  }
  return value;
}

/// A counting sort. Pairs of one expert come in any order: a row of a product does not depend on its place.
/// `counts` (dynamic shared memory) [experts]: how many pairs, later where the next one goes; -1 = not here.
__global__ void __launch_bounds__(kThreads) sort_kernel(const std::int32_t* ids, const std::int64_t* offsets, int pairs,
                                                        int experts, int tile_tokens, ExpertTiles tiles) {
  extern __shared__ int counts[];
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) counts[e] = offsets[e] < 0 ? -1 : 0;
  __syncthreads();
  const auto is_here = [&](std::int32_t id) { return id >= 0 && id < experts && offsets[id] >= 0; };
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += kThreads) {
    const std::int32_t id = ids[i];
    if (is_here(id)) atomicAdd(&counts[id], 1);
  }
  __syncthreads();
  if (warp_id() == 0) {
    int first = 0;       // pairs of the experts before
    int first_tile = 0;  // and their tiles
    for (int begin = 0; begin < experts; begin += kWarp) {
      const int e = begin + lane_id();
      const int count = e < experts ? max(counts[e], 0) : 0;
      const int own_tiles = ceil_div(count, tile_tokens);
      const int pairs_through = inclusive_scan(count);
      const int tiles_through = inclusive_scan(own_tiles);
      const int at = first + pairs_through - count;
      for (int k = 0; k < own_tiles; ++k) {
        tiles.tiles[first_tile + tiles_through - own_tiles + k] = {
            at + k * tile_tokens, static_cast<std::uint16_t>(e),
            static_cast<std::uint16_t>(min(tile_tokens, count - k * tile_tokens))};
      }
      if (e < experts) counts[e] = at;
      first += __shfl_sync(kAllLanes, pairs_through, kWarp - 1);
      first_tile += __shfl_sync(kAllLanes, tiles_through, kWarp - 1);
    }
    if (lane_id() == 0) *tiles.count = first_tile;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += kThreads) {
    const std::int32_t id = ids[i];
    if (is_here(id)) tiles.order[atomicAdd(&counts[id], 1)] = i;
  }
}

}  // namespace

void sort_by_expert(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens) {
  const auto experts = static_cast<int>(args.offsets.size);
  sort_kernel<<<1, kThreads, static_cast<std::size_t>(experts) * sizeof(int), launch.stream>>>(
      args.ids.data, args.offsets.data, static_cast<int>(args.ids.size), experts, tile_tokens, tiles);
}

}  // namespace krasis::cuda

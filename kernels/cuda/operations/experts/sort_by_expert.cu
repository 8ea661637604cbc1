#include <algorithm>

#include "kernels/cuda/operations/experts/sort_by_expert.cuh"

namespace krasis::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr std::int64_t kMostBlocks = 32;
constexpr std::int64_t kPairsOfBlock = 2048;  ///< that pay for another block

/// (token, pick) pairs in order, and what is here.
struct ExpertPairs {
  const std::int32_t* ids;
  const std::int64_t* offsets;
  int count;
  int experts;
};

/// The sum of lanes 0..lane.
__device__ int inclusive_scan(int value) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, value, step);
    if (lane_id() >= step) value += other;
  }
  return value;
}

/// The pair's expert if it is here, else -1.
__device__ std::int32_t expert_here(const ExpertPairs& pairs, int i) {
  const std::int32_t id = pairs.ids[i];
  return id >= 0 && id < pairs.experts && pairs.offsets[id] >= 0 ? id : -1;
}

/// own[e] (shared memory): how many pairs of `part` expert e has. Every thread of the block comes.
__device__ void count_pairs(const ExpertPairs& pairs, const Range& part, int* own) {
  for (int e = static_cast<int>(threadIdx.x); e < pairs.experts; e += kThreads) own[e] = 0;
  __syncthreads();
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    const std::int32_t id = expert_here(pairs, i);
    if (id >= 0) atomicAdd(&own[id], 1);
  }
  __syncthreads();
}

/// counts[blockIdx.x, e]: how many pairs of the block's part expert e has.
__global__ void __launch_bounds__(kThreads) count_kernel(ExpertPairs pairs, std::int32_t* counts) {
  extern __shared__ int own[];
  count_pairs(pairs, part_of(pairs.count, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x)), own);
  for (int e = static_cast<int>(threadIdx.x); e < pairs.experts; e += kThreads) {
    counts[static_cast<int>(blockIdx.x) * pairs.experts + e] = own[e];
  }
}

/// The second half of a counting sort: each block finds where its pairs of each expert go, the first one writes the
/// tiles as well. One block alone counts by itself. Pairs of one expert come in any order: a row of a product does not
/// depend on its place.
__global__ void __launch_bounds__(kThreads)
    place_kernel(ExpertPairs pairs, const std::int32_t* counts, int tile_tokens, ExpertTiles tiles) {
  extern __shared__ int totals[];        // [experts]: of all blocks, then where the block's next pair goes
  int* before = totals + pairs.experts;  // [experts]: of the blocks before
  const int blocks = static_cast<int>(gridDim.x);
  const int own = static_cast<int>(blockIdx.x);
  if (blocks == 1) count_pairs(pairs, {0, pairs.count}, totals);
  for (int e = static_cast<int>(threadIdx.x); e < pairs.experts; e += kThreads) {
    int total = blocks == 1 ? totals[e] : 0, earlier = 0;
    for (int b = 0; b < blocks && blocks > 1; ++b) {
      const int count = counts[b * pairs.experts + e];
      total += count;
      if (b < own) earlier += count;
    }
    totals[e] = total;
    before[e] = earlier;
  }
  __syncthreads();
  if (warp_id() == 0) {
    int first = 0;       // pairs of the experts before
    int first_tile = 0;  // and their tiles
    for (int begin = 0; begin < pairs.experts; begin += kWarp) {
      const int e = begin + lane_id();
      const int count = e < pairs.experts ? totals[e] : 0;
      const int own_tiles = ceil_div(count, tile_tokens);
      const int pairs_through = inclusive_scan(count);
      const int tiles_through = inclusive_scan(own_tiles);
      const int at = first + pairs_through - count;
      for (int k = 0; k < own_tiles && own == 0; ++k) {
        tiles.tiles[first_tile + tiles_through - own_tiles + k] = {
            at + k * tile_tokens, static_cast<std::uint16_t>(e),
            static_cast<std::uint16_t>(min(tile_tokens, count - k * tile_tokens))};
      }
      if (e < pairs.experts) totals[e] = at + before[e];
      first += __shfl_sync(kAllLanes, pairs_through, kWarp - 1);
      first_tile += __shfl_sync(kAllLanes, tiles_through, kWarp - 1);
    }
    if (lane_id() == 0 && own == 0) *tiles.count = first_tile;
  }
  __syncthreads();
  const Range part = part_of(pairs.count, own, blocks);
  for (int i = part.begin + static_cast<int>(threadIdx.x); i < part.end; i += kThreads) {
    const std::int32_t id = expert_here(pairs, i);
    if (id >= 0) tiles.order[atomicAdd(&totals[id], 1)] = i;
  }
}

}  // namespace

void sort_by_expert(const Launch& launch, const ExpertsArgs& args, const ExpertTiles& tiles, int tile_tokens) {
  const ExpertPairs pairs{args.ids.data, args.offsets.data, static_cast<int>(args.ids.size),
                          static_cast<int>(args.offsets.size)};
  std::int32_t* counts = reinterpret_cast<std::int32_t*>(scratch_of(args).gate);
  const auto room = static_cast<std::int64_t>(args.ids.size) * args.layout.width() * 2;
  const std::int64_t most = std::min(ceil_div<std::int64_t>(pairs.count, kPairsOfBlock), kMostBlocks);
  const std::int64_t blocks = std::clamp<std::int64_t>(room / pairs.experts, 1, most);
  const auto bytes = static_cast<std::size_t>(pairs.experts) * sizeof(int);
  const auto grid = static_cast<unsigned>(blocks);
  if (blocks > 1) count_kernel<<<grid, kThreads, bytes, launch.stream>>>(pairs, counts);
  place_kernel<<<grid, kThreads, 2 * bytes, launch.stream>>>(pairs, counts, tile_tokens, tiles);
}

}  // namespace krasis::cuda

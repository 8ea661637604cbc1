#include "kernels/cuda/operations/common.cuh"

namespace krasis::cuda {
namespace {

// Host memory is read where it lies, by ordinary loads over the link: 16 bytes of each thread, so that a warp asks for 512
// neighbouring bytes, and enough of them under way to cover the link's latency (55 GB/s times 2 us are 110 KB). An H200
// reads 51.3 GB/s so where its copy engine reaches 55.5: with 128 to 1024 threads, 1 to 8 loads, on an eighth of the
// multiprocessors or all of them, and by bulk copies into shared memory alike.
constexpr int kThreads = 512;
constexpr int kLoads = 4;                    ///< of 16 bytes, of a thread at once
constexpr int kPiece = kThreads * kLoads;    ///< of 16 bytes, of a block at once
constexpr int kBlocksOfMultiprocessor = 2;

__device__ inline uint4 load_once(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

/// The picked experts that have a place, in rising order: their number. `picked` and `list` [experts] are shared memory.
__device__ int list_picked(const std::int32_t* ids, std::int64_t picks, const std::int64_t* offsets, int experts,
                           int* picked, int* list) {
  __shared__ int count;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) picked[e] = 0;
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < picks; i += kThreads) {
    const std::int32_t id = ids[i];
    if (id >= 0 && id < experts) picked[id] = 1;
  }
  __syncthreads();
  if (warp_id() == 0) {
    int before = 0;
    for (int first = 0; first < experts; first += kWarp) {
      const int e = first + lane_id();
      const bool copied = e < experts && picked[e] && offsets[e] >= 0;
      const unsigned mask = __ballot_sync(kAllLanes, copied);
      if (copied) list[before + __popc(mask & ((1u << lane_id()) - 1))] = e;
      before += __popc(mask);
    }
    if (lane_id() == 0) count = before;
  }
  __syncthreads();
  return count;
}

/// Each block of threads takes pieces in turn, so that all of them read neighbouring memory. `block` is in 16 bytes.
__global__ void __launch_bounds__(kThreads)
    gather_experts_kernel(const std::int32_t* ids, std::int64_t picks, const std::int64_t* offsets, int experts,
                          const uint4* from, std::uint8_t* to, std::int64_t block, std::int64_t* copied) {
  extern __shared__ int lists[];
  int* const list = lists + experts;
  const int count = list_picked(ids, picks, offsets, experts, lists, list);
  if (blockIdx.x == 0 && threadIdx.x == 0) *copied += count;
  const std::int64_t pieces = ceil_div<std::int64_t>(block, kPiece);
  for (std::int64_t unit = blockIdx.x; unit < count * pieces; unit += gridDim.x) {
    const int e = list[unit / pieces];
    const uint4* const source = from + e * block;
    uint4* const target = reinterpret_cast<uint4*>(to + offsets[e]);
    const std::int64_t first = unit % pieces * kPiece + threadIdx.x;
    uint4 values[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (first + i * kThreads < block) values[i] = load_once(source + first + i * kThreads);
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (first + i * kThreads < block) target[first + i * kThreads] = values[i];
    }
  }
}

}  // namespace

template <>
void run(const Launch& launch, const GatherExpertsArgs& args) {
  if (args.ids.empty()) return;
  const auto experts = static_cast<int>(args.offsets.size);
  const auto grid = static_cast<unsigned>(launch.multiprocessors * kBlocksOfMultiprocessor);
  gather_experts_kernel<<<grid, kThreads, 2 * args.offsets.size * sizeof(int), launch.stream>>>(
      args.ids.data, static_cast<std::int64_t>(args.ids.size), args.offsets.data, experts,
      reinterpret_cast<const uint4*>(args.from.data), reinterpret_cast<std::uint8_t*>(args.to.data),
      static_cast<std::int64_t>(args.block_bytes / 16), args.copied.data);
}

}  // namespace krasis::cuda

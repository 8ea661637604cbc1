#include "kernels/cuda/operations/experts/pool.cuh"

namespace krasis::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 256;

__device__ float dot_fallback(const WeightShape& shape, const std::uint8_t* weight, int row, const __nv_bfloat16* x) {
  float sum = 0.0f;
  for (int i = lane_id(); i < shape.columns; i += kWarp) {
    sum += weight_at(shape, weight, row, i) * __bfloat162float(x[i]);
  }
  return warp_sum(sum);
}

/// A warp for each (pair, row of gate and up).
__global__ void __launch_bounds__(kWarps* kWarp)
    activate_fallback_kernel(ExpertPool pool, const std::int32_t* ids, const __nv_bfloat16* x, __nv_bfloat16* activated,
                             std::int64_t outputs, int top_k) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(); at < outputs; at += stride) {
    const std::int64_t pair = at / pool.gate.rows;
    const int row = static_cast<int>(at % pool.gate.rows);
    const std::uint8_t* block = pool.block(ids[pair]);
    if (!block) continue;
    const __nv_bfloat16* from = x + pair / top_k * pool.gate.columns;
    const float gate = dot_fallback(pool.gate, block, row, from);
    const float up = dot_fallback(pool.up, block + pool.up_offset, row, from);
    if (lane_id() == 0) activated[at] = __float2bfloat16_rn(activate(pool.glu, gate, up));
  }
}

__global__ void __launch_bounds__(kWarps* kWarp)
    down_fallback_kernel(ExpertPool pool, const std::int32_t* ids, const __nv_bfloat16* activated, float* down,
                         std::int64_t outputs) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(); at < outputs; at += stride) {
    const std::int64_t pair = at / pool.down.rows;
    const int row = static_cast<int>(at % pool.down.rows);
    const std::uint8_t* block = pool.block(ids[pair]);
    if (!block) continue;
    const float sum = dot_fallback(pool.down, block + pool.down_offset, row, activated + pair * pool.down.columns);
    if (lane_id() == 0) down[at] = sum;
  }
}

/// A thread for each kEach neighbouring numbers of a token; the picks of the token are looked up once for the block.
template <int kEach>
__global__ void __launch_bounds__(kThreads)
    combine_kernel(ExpertPool pool, const std::int32_t* ids, const float* weights, const float* down, float* out,
                   int top_k) {
  extern __shared__ float2 picks[];  // [top_k]: weight, and whether the expert is here
  const std::int64_t t = blockIdx.x;
  for (int j = static_cast<int>(threadIdx.x); j < top_k; j += kThreads) {
    const bool here = pool.block(ids[t * top_k + j]) != nullptr;
    picks[j] = make_float2(here ? weights[t * top_k + j] : 0.0f, here ? 1.0f : 0.0f);
  }
  __syncthreads();
  using Numbers = std::conditional_t<kEach == 4, float4, float>;
  const int hidden = pool.down.rows;
  const int o = (static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x)) * kEach;
  if (o >= hidden) return;
  alignas(16) float sum[kEach];
  bool any = false;
  auto* to = reinterpret_cast<Numbers*>(out + t * hidden + o);
#pragma unroll 4
  for (int j = 0; j < top_k; ++j) {
    const float2 pick = picks[j];
    if (pick.y == 0.0f) continue;
    if (!any) *reinterpret_cast<Numbers*>(sum) = *to;
    any = true;
    alignas(16) float product[kEach];
    *reinterpret_cast<Numbers*>(product) = *reinterpret_cast<const Numbers*>(down + (t * top_k + j) * hidden + o);
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum[i] += pick.x * product[i];
  }
  if (any) *to = *reinterpret_cast<const Numbers*>(sum);
}

unsigned grid_for(const Launch& launch, std::int64_t outputs) {
  const unsigned wanted = blocks_for(outputs, kWarps);
  const auto most = static_cast<unsigned>(launch.multiprocessors) * 8u;
  return wanted < most ? wanted : most;
}

}  // namespace

void combine_experts(const Launch& launch, const ExpertsArgs& args, const float* down) {
  const auto tokens = static_cast<unsigned>(args.ids.size / static_cast<std::size_t>(args.top_k));
  const bool four = args.layout.hidden() % 4 == 0 && is_aligned(args.out.data, 16) && is_aligned(down, 16);
  const dim3 grid(tokens, blocks_for(args.layout.hidden(), four ? 4 * kThreads : kThreads));
  const auto kernel = four ? combine_kernel<4> : combine_kernel<1>;
  kernel<<<grid, kThreads, static_cast<std::size_t>(args.top_k) * sizeof(float2), launch.stream>>>(
      pool_of(args), args.ids.data, args.weights.data, down, args.out.data, args.top_k);
}

void experts_fallback(const Launch& launch, const ExpertsArgs& args) {
  const ExpertPool pool = pool_of(args);
  const ExpertsScratch scratch = scratch_of(args);
  const auto pairs = static_cast<std::int64_t>(args.ids.size);
  const std::int64_t activated = pairs * args.layout.width();
  const std::int64_t outputs = pairs * args.layout.hidden();
  activate_fallback_kernel<<<grid_for(launch, activated), kWarps * kWarp, 0, launch.stream>>>(
      pool, args.ids.data, device_bf16(args.x.data), scratch.activated, activated, args.top_k);
  down_fallback_kernel<<<grid_for(launch, outputs), kWarps * kWarp, 0, launch.stream>>>(
      pool, args.ids.data, scratch.activated, scratch.down, outputs);
  combine_experts(launch, args, scratch.down);
}

}  // namespace krasis::cuda

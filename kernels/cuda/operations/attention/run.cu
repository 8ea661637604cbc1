#include <stdexcept>

#include "kernels/cuda/operations/attention/flash.cuh"
#ifdef KRASIS_HAVE_HOPPER_ATTENTION
#include "kernels/cuda/hopper/attention/hopper_attention.h"
#endif

namespace krasis::cuda {
namespace {

constexpr int kWarps = 4;
static_assert(kMostAttentionSplits <= kWarps * kWarp);

/// One block for each (token, head): a thread for each split's maximum and total, then a warp for each quarter of the
/// splits. A lane holds kEach neighbouring numbers; 8 loads are on their way together, because this is all latency.
template <int kEach>
__global__ void __launch_bounds__(kWarps* kWarp)
    combine_attention_kernel(AttentionParts parts, __nv_bfloat16* out, std::int64_t lines) {
  constexpr int kD = kEach * kWarp;
  constexpr int kAhead = 8;
  __shared__ float scratch[kWarps];
  __shared__ float weights[kWarps * kWarp];
  __shared__ float sums[kWarps][kD];
  const std::int64_t line = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  float2 stat = make_float2(-INFINITY, 0.0f);
  if (thread < parts.splits) stat = parts.stats[thread * lines + line];
  const bool has_keys = stat.y != 0.0f;  // NaN has some
  const float maximum = block_max(has_keys ? stat.x : -INFINITY, scratch);
  const float weight = has_keys ? exp2f((stat.x - maximum) * kLog2E) : 0.0f;
  weights[thread] = has_keys ? weight : -1.0f;
  const float total = block_sum(has_keys ? weight * stat.y : 0.0f, scratch);  // a barrier for `weights`, too

  float sum[kEach] = {};
  const Range range = part_of(parts.splits, warp_id(), kWarps);
  for (int first = range.begin; first < range.end; first += kAhead) {
    float2 v[kAhead][kEach / 2];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const bool valid = first + a < range.end && weights[min(first + a, range.end - 1)] != -1.0f;
#pragma unroll
      for (int i = 0; i < kEach / 2; ++i) {
        const float* at = parts.sums + ((first + a) * lines + line) * kD + lane_id() * kEach + i * 2;
        v[a][i] = valid ? *reinterpret_cast<const float2*>(at) : make_float2(0.0f, 0.0f);
      }
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const float w = first + a < range.end ? weights[first + a] : 0.0f;
#pragma unroll
      for (int i = 0; i < kEach / 2; ++i) {
        sum[2 * i] += w * v[a][i].x;
        sum[2 * i + 1] += w * v[a][i].y;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) sums[warp_id()][lane_id() * kEach + i] = sum[i];
  __syncthreads();
  for (int i = thread; i < kD; i += kWarps * kWarp) {
    float value = 0.0f;
    for (int w = 0; w < kWarps; ++w) value += sums[w][i];
    out[line * kD + i] = __float2bfloat16_rn(value / total);
  }
}

}  // namespace

AttentionParts attention_parts(const Launch& launch, const AttentionArgs& args, std::int64_t tiles) {
  const std::int64_t lines = static_cast<std::int64_t>(args.batch.tokens) * args.heads;
  const auto line_bytes = static_cast<std::int64_t>(sizeof(float)) * (args.cache.head_dim + 2);
  const std::int64_t fit = static_cast<std::int64_t>(args.workspace.bytes()) / (lines * line_bytes);
  const std::int64_t wanted = 4LL * launch.multiprocessors / (tiles * args.cache.heads);
  const std::int64_t splits = std::min({fit, wanted, std::int64_t{kMostAttentionSplits}});
  if (splits < 2 || !is_aligned(args.workspace.data, 8)) return {};
  auto* stats = reinterpret_cast<float2*>(args.workspace.data);
  return {reinterpret_cast<float*>(stats + splits * lines), stats, static_cast<int>(splits)};
}

void combine_attention(const Launch& launch, const AttentionArgs& args, const AttentionParts& parts) {
  const std::int64_t lines = static_cast<std::int64_t>(args.batch.tokens) * args.heads;
  const auto kernel = args.cache.head_dim == 64    ? combine_attention_kernel<2>
                      : args.cache.head_dim == 128 ? combine_attention_kernel<4>
                                                   : combine_attention_kernel<8>;
  kernel<<<static_cast<unsigned>(lines), kWarps * kWarp, 0, launch.stream>>>(parts, device_bf16(args.out.data), lines);
}

template <>
void run(const Launch& launch, const AttentionArgs& args) {
  if (args.batch.tokens == 0) return;
  const auto path = choose_attention(target_of(launch), args);
  if (!path) throw std::invalid_argument("no kernel attends with this head_dim to a cache in this layout");
  switch (*path) {
    case AttentionPath::Hopper:
#ifdef KRASIS_HAVE_HOPPER_ATTENTION
      return hopper::attention(launch, args);
#else
      break;
#endif
    case AttentionPath::SplitTiles:
    case AttentionPath::Tiles: {
      const bool split = *path == AttentionPath::SplitTiles;
      return args.cache.element == KvElement::Bf16 ? attention_tiles_bf16(launch, args, split)
                                                   : attention_tiles_fp8(launch, args, split);
    }
    case AttentionPath::Fallback:
      return attention_fallback(launch, args);
  }
}

}  // namespace krasis::cuda

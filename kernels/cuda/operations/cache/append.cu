#include "kernels/cuda/operations/cache/layout.cuh"

namespace krasis::cuda {
namespace {

constexpr int kThreads = 256;

/// A thread for each pair (i, i + head_dim / 2) of each head.
__global__ void rotary_kernel(__nv_bfloat16* x, const float* inverse_frequency, const std::int32_t* positions,
                              std::int64_t pairs, int heads, int half) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= pairs) return;
  const int i = static_cast<int>(index % half);
  const std::int64_t head = index / half;  // over all tokens
  // Rounded as a product of its own: contracted into the range reduction it would be another angle than the host's.
  const float angle = __fmul_rn(static_cast<float>(positions[head / heads]), inverse_frequency[i]);
  float sine, cosine;
  sincosf(angle, &sine, &cosine);
  __nv_bfloat16* at = x + head * 2 * half + i;
  const float a = __bfloat162float(at[0]);
  const float b = __bfloat162float(at[half]);
  at[0] = __float2bfloat16_rn(a * cosine - b * sine);
  at[half] = __float2bfloat16_rn(b * cosine + a * sine);
}

constexpr int kWarps = 4;

/// One warp for each (token, head), keys in the first half of the warps, values in the second.
template <KvElement kElement>
__global__ void __launch_bounds__(kWarps* kWarp)
    kv_append_kernel(const __nv_bfloat16* k, const __nv_bfloat16* v, KvPointers cache, BatchPointers batch) {
  const std::int64_t heads = static_cast<std::int64_t>(batch.tokens) * cache.heads;
  std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
  if (index >= 2 * heads) return;
  const bool is_value = index >= heads;
  if (is_value) index -= heads;
  const int t = static_cast<int>(index / cache.heads);
  const int slot = first_slot_of(batch, t);
  const std::int64_t row = static_cast<std::int64_t>(slot) + batch.positions[t];
  if (slot < 0 || row < 0 || row >= cache.rows) return;
  const std::int64_t line = row * cache.heads + index % cache.heads;
  const __nv_bfloat16* from = (is_value ? v : k) + index * cache.head_dim;
  const KvPlanePointers plane = is_value ? cache.values : cache.keys;
  if constexpr (kElement == KvElement::Bf16) {
    auto* to = reinterpret_cast<__nv_bfloat16*>(plane.values) + line * cache.head_dim;
    for (int i = lane_id(); i < cache.head_dim; i += kWarp) to[i] = from[i];
  } else {
    float largest = 0.0f;
    for (int i = lane_id(); i < cache.head_dim; i += kWarp) {
      largest = fmaxf(largest, fabsf(__bfloat162float(from[i])));
    }
    float scale = warp_max(largest) / 448.0f;
    if (scale == 0.0f) scale = 1.0f;
    if (lane_id() == 0) plane.scales[line] = scale;
    std::uint8_t* to = plane.values + line * cache.head_dim;
    for (int i = lane_id(); i < cache.head_dim; i += kWarp) to[i] = to_e4m3(__bfloat162float(from[i]) / scale);
  }
}

}  // namespace

template <>
void run(const Launch& launch, const RotaryArgs& args) {
  const int half = args.head_dim / 2;
  const std::int64_t pairs = static_cast<std::int64_t>(args.batch.tokens) * args.heads * half;
  rotary_kernel<<<blocks_for(pairs, kThreads), kThreads, 0, launch.stream>>>(
      device_bf16(args.x.data), args.inverse_frequency.data, args.batch.positions.data, pairs, args.heads, half);
}

template <>
void run(const Launch& launch, const KvAppendArgs& args) {
  const std::int64_t warps = 2 * static_cast<std::int64_t>(args.batch.tokens) * args.cache.heads;
  const auto kernel =
      args.cache.element == KvElement::Bf16 ? kv_append_kernel<KvElement::Bf16> : kv_append_kernel<KvElement::Fp8>;
  kernel<<<blocks_for(warps, kWarps), kWarps * kWarp, 0, launch.stream>>>(
      device_bf16(args.k.data), device_bf16(args.v.data), pointers_of(args.cache), pointers_of(args.batch));
}

}  // namespace krasis::cuda

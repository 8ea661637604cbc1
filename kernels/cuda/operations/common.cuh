#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "kernels/cuda/operations/operations.h"

/// What the kernels share: sizes of launches, sums over a warp and a block, packed matrices as kernels see them.
namespace krasis::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <class T>
constexpr T ceil_div(T value, T by) {
  return (value + by - 1) / by;
}
/// Blocks for `count` pieces of work, `each` of them in one block; at least one, so that a launch is never refused.
inline unsigned blocks_for(std::int64_t count, std::int64_t each) {
  return static_cast<unsigned>(count > each ? ceil_div(count, each) : 1);
}

inline const __nv_bfloat16* device_bf16(const bf16* data) {
  return reinterpret_cast<const __nv_bfloat16*>(data);
}
inline __nv_bfloat16* device_bf16(bf16* data) {
  return reinterpret_cast<__nv_bfloat16*>(data);
}
inline bool is_aligned(const void* data, std::size_t to) {
  return reinterpret_cast<std::uintptr_t>(data) % to == 0;
}

__device__ inline int lane_id() {
  return static_cast<int>(threadIdx.x) % kWarp;
}
__device__ inline int warp_id() {
  return static_cast<int>(threadIdx.x) / kWarp;
}

template <class T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
template <class T>
__device__ T warp_max(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = value < other ? other : value;
  }
  return value;
}

/// The sum over all threads of a block, in every thread; `scratch` [warps] is in shared memory and free before and
/// after. Every thread of the block comes here.
template <class T>
__device__ T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (lane_id() == 0) scratch[warp_id()] = value;
  __syncthreads();
  T total = scratch[0];
  for (int w = 1; w < warps; ++w) total += scratch[w];
  __syncthreads();
  return total;
}
template <class T>
__device__ T block_max(T value, T* scratch) {
  value = warp_max(value);
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (lane_id() == 0) scratch[warp_id()] = value;
  __syncthreads();
  T largest = scratch[0];
  for (int w = 1; w < warps; ++w) largest = largest < scratch[w] ? scratch[w] : largest;
  __syncthreads();
  return largest;
}

/// A float's rank as an unsigned number: a < b gives rank(a) < rank(b), -0 equals +0, NaN is 0, below -infinity.
__device__ inline std::uint32_t float_rank(float value) {
  if (isnan(value)) return 0;
  const std::uint32_t bits = __float_as_uint(value + 0.0f);  // -0 becomes +0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Gate and up as kernels/operations.h says. By comparisons, because minimum and maximum would hide NaN.
__device__ inline float activate(Glu glu, float gate, float up) {
  if (glu == Glu::SwiGlu) return gate / (1.0f + expf(-gate)) * up;
  gate = gate > 7.0f ? 7.0f : gate;
  up = up > 7.0f ? 7.0f : up < -7.0f ? -7.0f : up;
  return (up + 1.0f) * (gate / (1.0f + expf(-1.702f * gate)));
}

/// A packed matrix (base/format.h) as kernels see it: the shape is a parameter, where its bytes lie may be data.
struct WeightShape {
  Element element = Element::Bf16;
  int group_size = 0;
  int group_shift = 0;  ///< of a group size that is a power of two
  int groups = 0;       ///< in a row
  int rows = 0;
  int columns = 0;
  int padded_columns = 0;
  std::int64_t row_bytes = 0;
  std::int64_t scales_offset = 0;
  std::int64_t scale_row_bytes = 0;
};
inline WeightShape shape_of(const MatrixLayout& layout) {
  return {layout.format.element,
          layout.format.group_size,
          std::countr_zero(static_cast<unsigned>(layout.format.group_size)),
          static_cast<int>(layout.groups_per_row()),
          static_cast<int>(layout.rows),
          static_cast<int>(layout.columns),
          static_cast<int>(layout.padded_columns()),
          static_cast<std::int64_t>(layout.row_bytes()),
          static_cast<std::int64_t>(layout.scales_offset()),
          static_cast<std::int64_t>(layout.scale_row_bytes())};
}
inline const std::uint8_t* bytes_of(const std::byte* data) {
  return reinterpret_cast<const std::uint8_t*>(data);
}

__device__ inline float e8m0(std::uint8_t exponent) {
  // 2^-127 is a subnormal float; 255 is NaN.
  if (exponent == 255) return __uint_as_float(0x7fc00000u);
  return exponent == 0 ? __uint_as_float(0x00400000u) : __uint_as_float(static_cast<std::uint32_t>(exponent) << 23);
}
__device__ inline float e2m1(int code) {
  const int magnitude = code & 7;
  const float value = magnitude < 2 ? 0.5f * static_cast<float>(magnitude)
                                    : (1.0f + 0.5f * static_cast<float>(magnitude & 1)) *
                                          static_cast<float>(1 << ((magnitude >> 1) - 1));
  return code & 8 ? -value : value;
}

/// The scale of a group of a row; 1 for BF16.
__device__ inline float weight_scale(const WeightShape& shape, const std::uint8_t* data, int row, int group) {
  const std::uint8_t* scales = data + shape.scales_offset + row * shape.scale_row_bytes;
  if (shape.element == Element::Bf16) return 1.0f;
  if (shape.element == Element::Mxfp4) return e8m0(scales[group]);
  return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(scales)[group]);
}

/// One number of a packed matrix, for what is not fast anyway.
__device__ inline float weight_at(const WeightShape& shape, const std::uint8_t* data, int row, int column) {
  const std::uint8_t* bytes = data + row * shape.row_bytes;
  if (shape.element == Element::Bf16) return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(bytes)[column]);
  const float scale = weight_scale(shape, data, row, column / shape.group_size);
  if (shape.element == Element::Int8) {
    return scale * static_cast<float>(reinterpret_cast<const std::int8_t*>(bytes)[column]);
  }
  const int in_block = column % 64;
  const int byte = bytes[column / 64 * 32 + in_block % 32];
  const int nibble = in_block < 32 ? byte & 15 : byte >> 4;
  return scale * (shape.element == Element::Int4 ? static_cast<float>(nibble - 8) : e2m1(nibble));
}

}  // namespace krasis::cuda

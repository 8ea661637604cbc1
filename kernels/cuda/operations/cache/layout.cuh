#pragma once

#include <cuda_fp8.h>

#include "kernels/cuda/operations/common.cuh"

/// The KV cache and the batch as kernels see them.
namespace krasis::cuda {

struct KvPlanePointers {
  std::uint8_t* values = nullptr;
  float* scales = nullptr;
};
struct KvPointers {
  KvPlanePointers keys, values;
  int rows = 0;
  int heads = 0;
  int head_dim = 0;
};
inline KvPointers pointers_of(const KvCache& cache) {
  const auto plane = [](const KvPlane& p) {
    return KvPlanePointers{reinterpret_cast<std::uint8_t*>(p.values.data), p.scales.data};
  };
  return {plane(cache.keys), plane(cache.values), cache.rows, cache.heads, cache.head_dim};
}

struct BatchPointers {
  const std::int32_t* positions = nullptr;
  const SequenceSpan* sequences = nullptr;
  int tokens = 0;
  int sequence_count = 0;
};
inline BatchPointers pointers_of(const Batch& batch) {
  return {batch.positions.data, batch.sequences.data, batch.tokens, static_cast<int>(batch.sequences.size)};
}

/// The first slot of the sequence that token t belongs to; -1 if it belongs to none. There are few sequences.
__device__ inline int first_slot_of(const BatchPointers& batch, int t) {
  for (int s = 0; s < batch.sequence_count; ++s) {
    const SequenceSpan& span = batch.sequences[s];
    if (t >= span.query_begin && t < span.query_begin + span.query_count) return span.first_slot;
  }
  return -1;
}

__device__ inline std::uint8_t to_e4m3(float value) {
  return static_cast<std::uint8_t>(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3));
}
__device__ inline float from_e4m3(std::uint8_t code) {
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));  // exact: FP16 has every E4M3 number
}

/// One number of a plane.
template <KvElement kElement>
__device__ float read_kv(const KvPointers& cache, const KvPlanePointers& plane, std::int64_t row, int head, int i) {
  const std::int64_t line = row * cache.heads + head;
  const std::int64_t at = line * cache.head_dim + i;
  if constexpr (kElement == KvElement::Bf16) {
    return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(plane.values)[at]);
  } else {
    return plane.scales[line] * from_e4m3(plane.values[at]);
  }
}

}  // namespace krasis::cuda

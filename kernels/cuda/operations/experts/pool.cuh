#pragma once

#include "kernels/cuda/operations/matmul/products.cuh"

/// ExpertsArgs as kernels see them.
namespace krasis::cuda {

struct ExpertPool {
  WeightShape gate, up, down;
  std::int64_t up_offset = 0;
  std::int64_t down_offset = 0;
  const std::uint8_t* pool = nullptr;
  const std::int64_t* offsets = nullptr;
  int experts = 0;
  Glu glu = Glu::SwiGlu;

  /// The block of expert `id`, or null if it is not here or no expert.
  __device__ const std::uint8_t* block(std::int32_t id) const {
    if (id < 0 || id >= experts) return nullptr;
    const std::int64_t offset = offsets[id];
    return offset < 0 ? nullptr : pool + offset;
  }
};
inline ExpertPool pool_of(const ExpertsArgs& args) {
  return {shape_of(args.layout.gate),
          shape_of(args.layout.up),
          shape_of(args.layout.down),
          static_cast<std::int64_t>(args.layout.up_offset()),
          static_cast<std::int64_t>(args.layout.down_offset()),
          bytes_of(args.pool.data),
          args.offsets.data,
          static_cast<int>(args.offsets.size),
          args.glu};
}

/// The parts of ExpertsArgs::workspace, a row for each (token, pick) pair; as in kernels/host/operations.
struct ExpertsScratch {
  float* gate = nullptr;               ///< [pairs, width]
  float* up = nullptr;                 ///< [pairs, width]
  __nv_bfloat16* activated = nullptr;  ///< [pairs, width]
  float* down = nullptr;               ///< [pairs, hidden]
  std::int32_t* lists = nullptr;       ///< 4 * pairs + 1024 numbers
};
inline ExpertsScratch scratch_of(const ExpertsArgs& args) {
  const std::size_t pairs = args.ids.size;
  const std::size_t values = pairs * static_cast<std::size_t>(args.layout.width());
  std::byte* data = args.workspace.data;
  std::byte* down = data + round_up(values * 10, 64);
  std::byte* lists = down + round_up(pairs * static_cast<std::size_t>(args.layout.hidden()) * 4, 64);
  return {reinterpret_cast<float*>(data), reinterpret_cast<float*>(data + values * 4),
          reinterpret_cast<__nv_bfloat16*>(data + values * 8), reinterpret_cast<float*>(down),
          reinterpret_cast<std::int32_t*>(lists)};
}

/// ExpertsPath::Decode: a launch for each pair reads the weights as fast as sorting pairs would let it.
void experts_decode(const Launch& launch, const ExpertsArgs& args);

/// out[t, :] += sum_j weights[t, j] * down[t * top_k + j, :], j in order, only for experts that are here.
void combine_experts(const Launch& launch, const ExpertsArgs& args, const float* down);

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/tensor_cores/fragments.cuh"

/// RMSNorm of one or few tokens inside the kernel that multiplies the result: each block of threads computes all of it.
/// 2048 numbers cost less than another kernel.
namespace krasis::cuda {

struct NormJob {
  const float* residual = nullptr;        ///< [tokens, width]
  const __nv_bfloat16* weight = nullptr;  ///< [width]
  __nv_bfloat16* normed = nullptr;        ///< [tokens, width], written by one block; null = nobody wants it
  int width = 0;
  float epsilon = 0.0f;
};

/// Between the tokens' rows in shared memory, so that they begin in different banks.
constexpr int kNormPad = 32;

inline std::size_t fused_norm_bytes(const NormJob& job, std::int64_t tokens) {
  return static_cast<std::size_t>(tokens) * static_cast<std::size_t>(job.width + kNormPad) * 2;
}

template <int kThreads>
struct FusedNorm {
  static constexpr int kLoads = kMostFusedWidth / kPiece / kThreads;
  uint4 weights[kLoads];

  /// Requests the weights, which nobody writes.
  __device__ void fetch(const NormJob& job) {
#pragma unroll
    for (int l = 0; l < kLoads; ++l) {
      const int i = column(l);
      weights[l] = i < job.width ? load_once_16(job.weight + i) : make_uint4(0, 0, 0, 0);
    }
  }
  /// to[t][width + kNormPad] = the normed tokens, for all threads of the block; `scratch` [warps] in shared memory.
  __device__ void run(const NormJob& job, int tokens, __nv_bfloat16* to, float* scratch, bool store) {
    for (int t = 0; t < tokens; ++t) {
      float v[kLoads][kPiece];
      float sum = 0.0f;
#pragma unroll
      for (int l = 0; l < kLoads; ++l) {
        const int i = column(l);
        const auto* from = reinterpret_cast<const float4*>(job.residual + static_cast<std::int64_t>(t) * job.width + i);
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          const float4 four = i < job.width ? from[part] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          v[l][4 * part] = four.x;
          v[l][4 * part + 1] = four.y;
          v[l][4 * part + 2] = four.z;
          v[l][4 * part + 3] = four.w;
        }
      }
#pragma unroll
      for (int l = 0; l < kLoads; ++l) {
#pragma unroll
        for (int k = 0; k < kPiece; ++k) sum += v[l][k] * v[l][k];
      }
      const float norm = sqrtf(block_sum(sum, scratch) / static_cast<float>(job.width) + job.epsilon);
#pragma unroll
      for (int l = 0; l < kLoads; ++l) {
        const int i = column(l);
        if (i >= job.width) continue;
        const Piece weight = as_piece(weights[l]);
        uint4 out;
        std::uint32_t* pair = &out.x;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          pair[k] = to_pair(v[l][2 * k] / norm * __uint_as_float(weight.pair[k] << 16),
                            v[l][2 * k + 1] / norm * __uint_as_float(weight.pair[k] & 0xffff0000u));
        }
        *reinterpret_cast<uint4*>(to + t * (job.width + kNormPad) + i) = out;
        if (store) *reinterpret_cast<uint4*>(job.normed + static_cast<std::int64_t>(t) * job.width + i) = out;
      }
    }
    __syncthreads();
  }

 private:
  __device__ static int column(int load) {
    return (load * kThreads + static_cast<int>(threadIdx.x)) * kPiece;
  }
};

}  // namespace krasis::cuda

#pragma once

#include "kernels/cuda/operations/tensor_cores/fragments.cuh"

/// Products of many tokens with many rows of weights: a block multiplies a tile of 32 * kM tokens by 128 rows of
/// weights, going through the columns 64 at a time.
///
/// Both operands come to shared memory by cp.async, kStages steps deep, the weights still packed. A lane reads a piece
/// (8 columns) of a row at once and unpacks it in registers: 8 warps share the tile as 2 x 4, so each weight is
/// unpacked twice, which the tensor cores hide. Sums of a group of weights are FP32 sums of exact products; its scale
/// multiplies the sum when the group ends, in FP32, as in the reference. (Folding the scale into the BF16 weight would
/// round it.)
///
/// The place for a wgmma version (sm_90a): the same Source and Sums behind another run(); weights must then be unpacked
/// to shared memory or be the register operand, i.e. out = weight * tokens^T.
namespace krasis::cuda {

constexpr int kTileThreads = 256;
constexpr int kTileWeightRows = 128;
constexpr int kTileColumns = 64;  ///< of a step
constexpr int kScaleWindow = 16;  ///< groups whose scales are in shared memory together

/// A row of weights and its scales; null beyond the last row.
struct WeightRow {
  const std::uint8_t* data = nullptr;
  const std::uint8_t* scales = nullptr;
};
__device__ inline WeightRow weight_row(const WeightShape& shape, const std::uint8_t* matrix, int row) {
  if (row >= shape.rows) return {};
  return {matrix + row * shape.row_bytes, matrix + shape.scales_offset + row * shape.scale_row_bytes};
}

/// kElement; groups of 32 (else multiples of 64, or none); 32 * kM tokens.
template <Element kElement, bool kGroups32, int kM>
struct TileProduct {
  static constexpr int kTokens = 32 * kM;
  static constexpr bool kScaled = kElement != Element::Bf16;
  static constexpr int kStages = 4;
  static constexpr int kTokenBytes = kTokens * kTileColumns * 2;
  static constexpr int kRowBytes = kTileColumns * bits_of(kElement) / 8;  ///< of a row of weights in a step
  static constexpr int kWeightBytes = kTileWeightRows * kRowBytes;
  static constexpr int kStageBytes = kTokenBytes + kWeightBytes;
  static constexpr int kScaleBytes = kScaled ? 2 * kScaleWindow * kTileWeightRows * 2 : 0;
  static constexpr int kSharedBytes = kStages * kStageBytes + kScaleBytes;
  static constexpr int kRowChunks = kRowBytes / 16;
  static constexpr int kWeightLoads = kTileWeightRows * kRowChunks / kTileThreads;  ///< of a thread in a step

  /// Where a thread's sums belong: sums[m][n][i] is token token(m, i) and weight row weight_row_of(n, i) of the tile.
  using Sums = float[kM][4][4];
  __device__ static int token(int m, int i) { return warp_id() / 4 * (16 * kM) + m * 16 + lane_id() / 4 + i / 2 * 8; }
  __device__ static int row(int n, int i) { return warp_id() % 4 * 32 + n * 8 + lane_id() % 4 * 2 + i % 2; }

  /// sums += tile product. token_row(r): the activations of token r of the tile, or null, which counts as zeros.
  /// weights(r): row r of the tile's weights; row 0 is there. `shared`: kSharedBytes, 128-byte aligned. Every thread of
  /// the block comes.
  template <class TokenRow, class Weights>
  __device__ static void run(Sums& sums, const WeightShape& shape, TokenRow token_row, Weights weights,
                             std::uint8_t* shared) {
    const int thread = static_cast<int>(threadIdx.x);
    Loader loader{shape, shared};
#pragma unroll
    for (int i = 0; i < kM; ++i) loader.tokens[i] = token_row(thread / 8 + 32 * i);
#pragma unroll
    for (int i = 0; i < kWeightLoads; ++i) loader.rows[i] = weights((thread + i * kTileThreads) / kRowChunks).data;
    loader.somewhere = weights(0).data;
    const std::uint8_t* scales = weights(thread / 2).scales;

    const int steps = shape.padded_columns / kTileColumns;
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) loader.start(s, steps);
    if constexpr (kScaled) {
      load_scales(shape, scales, 0, shared);
      if constexpr (kGroups32) load_scales(shape, scales, 1, shared);
    }
    Sums group_sums = {};
    for (int step = 0; step < steps; ++step) {
      copy_async_wait<kStages - 2>();
      // This step's tiles are there, and everybody is done with the previous step's, which the next copies overwrite.
      __syncthreads();
      loader.start(step + kStages - 1, steps);
      if constexpr (kScaled) {
        // At the start of a window of groups, the scales of the next one: their buffer was last read before the
        // barrier.
        const int column = step * kTileColumns;
        const int group = column >> shape.group_shift;
        const bool starts = column == group << shape.group_shift && group % kScaleWindow == 0;
        if (starts && (group > 0 || !kGroups32)) load_scales(shape, scales, group / kScaleWindow + 1, shared);
      }
      add_step(sums, group_sums, shape, step, shared);
    }
    copy_async_wait<0>();
    __syncthreads();  // shared memory is the caller's again
  }

 private:
  struct Loader {
    const WeightShape& shape;
    std::uint8_t* shared;
    const __nv_bfloat16* tokens[kM];
    const std::uint8_t* rows[kWeightLoads];
    const void* somewhere;  ///< a global address for copies that read nothing

    /// Starts the copies of `step`, if there is one. One group of copies either way, so that waiting counts steps.
    __device__ void start(int step, int steps) {
      if (step < steps) {
        const int thread = static_cast<int>(threadIdx.x);
        std::uint8_t* to = shared + step % kStages * kStageBytes;
        const int chunk = thread % 8;
        const int column = step * kTileColumns + chunk * kPiece;
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          const int row = thread / 8 + 32 * i;
          const bool valid = tokens[i] != nullptr && column < shape.columns;
          const void* from = valid ? static_cast<const void*>(tokens[i] + column) : somewhere;
          copy_async_16(to + row * 128 + swizzle_pairs(row, chunk) * 16, from, valid);
        }
        to += kTokenBytes;
#pragma unroll
        for (int i = 0; i < kWeightLoads; ++i) {
          const int index = thread + i * kTileThreads;
          const int row = index / kRowChunks;
          const int c = index % kRowChunks;
          const bool valid = rows[i] != nullptr;
          const void* from = valid ? static_cast<const void*>(rows[i] + step * kRowBytes + c * 16) : somewhere;
          copy_async_16(to + row * kRowBytes + weight_chunk(row, c) * 16, from, valid);
        }
      }
      copy_async_commit();
    }
  };

  __device__ static constexpr int weight_chunk(int row, int chunk) {
    if constexpr (kElement == Element::Bf16)
      return swizzle_pairs(row, chunk);
    else if constexpr (kElement == Element::Int8)
      return swizzle_quads(row, chunk);
    else
      return chunk;
  }

  /// Scales as BF16 bits, [2 windows][kScaleWindow][128 rows]; zeros beyond the last row and group.
  __device__ static std::uint16_t* scale_window(std::uint8_t* shared, int window) {
    return reinterpret_cast<std::uint16_t*>(shared + kStages * kStageBytes) +
           window % 2 * (kScaleWindow * kTileWeightRows);
  }
  /// Two threads for each row.
  __device__ static void load_scales(const WeightShape& shape, const std::uint8_t* scales, int window,
                                     std::uint8_t* shared) {
    std::uint16_t* to = scale_window(shared, window);
    const int row = static_cast<int>(threadIdx.x) / 2;
    const int begin = static_cast<int>(threadIdx.x) % 2 * (kScaleWindow / 2);
    if (window * kScaleWindow >= shape.groups) return;
#pragma unroll
    for (int i = 0; i < kScaleWindow / 2; ++i) {
      const int group = window * kScaleWindow + begin + i;
      std::uint16_t bits = 0;
      if (scales && group < shape.groups) {
        if constexpr (kElement == Element::Mxfp4) {
          const std::uint8_t e = scales[group];  // 2^-127 is subnormal in BF16, too
          bits = e == 255 ? 0x7fc0 : e == 0 ? 0x0040 : static_cast<std::uint16_t>(e << 7);
        } else {
          bits = reinterpret_cast<const std::uint16_t*>(scales)[group];
        }
      }
      to[(begin + i) * kTileWeightRows + row] = bits;
    }
  }

  /// sums += scale * group_sums; group_sums = 0
  __device__ static void end_group(Sums& sums, Sums& group_sums, int group, std::uint8_t* shared) {
    const std::uint16_t* scales = scale_window(shared, group / kScaleWindow) + group % kScaleWindow * kTileWeightRows;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const std::uint32_t two = *reinterpret_cast<const std::uint32_t*>(scales + row(n, 0));
      const float scale[2] = {__uint_as_float(two << 16), __uint_as_float(two & 0xffff0000u)};
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[m][n][i] += scale[i % 2] * group_sums[m][n][i];
          group_sums[m][n][i] = 0.0f;
        }
      }
    }
  }

  __device__ static void add_step(Sums& sums, Sums& group_sums, const WeightShape& shape, int step,
                                  std::uint8_t* shared) {
    const std::uint8_t* tokens = shared + step % kStages * kStageBytes;
    const std::uint8_t* weights = tokens + kTokenBytes;
    const int g = lane_id() / 4;
    const int t = lane_id() % 4;
    const int first_token = warp_id() / 4 * (16 * kM);
    const int first_row = warp_id() % 4 * 32;
    Piece column[2][4];  // both halves of 32 columns, 4 x 8 rows of weights
    read_weights(column, weights, first_row + g, t);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        Piece row[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int at = first_token + m * 16 + r * 8 + g;
          row[r] = as_piece(*reinterpret_cast<const uint4*>(tokens + at * 128 + swizzle_pairs(at, half * 4 + t) * 16));
        }
#pragma unroll
        for (int n = 0; n < 4; ++n) mma_piece((kScaled ? group_sums : sums)[m][n], row[0], row[1], column[half][n]);
      }
      if constexpr (kScaled && kGroups32) end_group(sums, group_sums, step * 2 + half, shared);
    }
    if constexpr (kScaled && !kGroups32) {
      const int end = (step + 1) * kTileColumns;
      const int group = (end >> shape.group_shift) - 1;
      if ((group + 1) << shape.group_shift == end) end_group(sums, group_sums, group, shared);
    }
  }

  __device__ static void read_weights(Piece (&column)[2][4], const std::uint8_t* weights, int first_row, int t) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int row = first_row + n * 8;
      const std::uint8_t* from = weights + row * kRowBytes;
      if constexpr (kElement == Element::Bf16) {
        column[0][n] = as_piece(*reinterpret_cast<const uint4*>(from + swizzle_pairs(row, t) * 16));
        column[1][n] = as_piece(*reinterpret_cast<const uint4*>(from + swizzle_pairs(row, 4 + t) * 16));
      } else if constexpr (kElement == Element::Int8) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          // 32 bytes of the half: chunks 2 half and 2 half + 1, of which a lane has 8.
          const int chunk = swizzle_quads(row, half * 2 + t / 2);
          const uint2 v = *reinterpret_cast<const uint2*>(from + chunk * 16 + t % 2 * 8);
          column[half][n] = unpack_bytes(v.x, v.y);
        }
      } else {
        const uint2 v = *reinterpret_cast<const uint2*>(from + t * 8);
        unpack_nibbles<kElement>(v.x, v.y, column[0][n], column[1][n]);
      }
    }
  }
};

/// Calls f with the TileProduct of 32 * kM tokens for a format that tiles_support().
template <int kM, class F>
void with_tile_product(const WeightFormat& format, F f) {
  const bool small = format.group_size == 32;
  switch (format.element) {
    case Element::Int4:
      return small ? f(TileProduct<Element::Int4, true, kM>{}) : f(TileProduct<Element::Int4, false, kM>{});
    case Element::Int8:
      return small ? f(TileProduct<Element::Int8, true, kM>{}) : f(TileProduct<Element::Int8, false, kM>{});
    case Element::Mxfp4:
      return f(TileProduct<Element::Mxfp4, true, kM>{});
    case Element::Bf16:
      return f(TileProduct<Element::Bf16, false, kM>{});
  }
}

/// Runs `kernel` with `bytes` of dynamic shared memory, more than the 48 KiB that need no word.
template <class Kernel, class... Args>
void launch_with_shared(const Launch& launch, Kernel* kernel, dim3 grid, int threads, int bytes, Args... args) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  kernel<<<grid, static_cast<unsigned>(threads), static_cast<std::size_t>(bytes), launch.stream>>>(args...);
}

}  // namespace krasis::cuda

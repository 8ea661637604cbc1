#pragma once

#include "kernels/cuda/operations/tensor_cores/fragments.cuh"

/// Products of 16 rows of weights with a few tokens by one warp: what decode is made of.
///
/// Each weight is read once, 8 or 16 bytes a lane straight into registers, with its scale, several units before the
/// first is used, so that device memory stays busy; the first ones before the kernel in front has ended (overlap.cuh).
/// Tensor cores do the arithmetic even for one token, of which they use an eighth: unpacking by bits costs less than
/// two instructions a weight and an FP32 product would cost another one, which at 4.8 TB/s of INT4 a Hopper GPU does
/// not have. The 16 rows are the instruction's rows, the tokens its columns.
namespace krasis::cuda {

/// Where the two rows of a lane lie: g and g + 8 of the tile (g = lane / 4).
struct RowPointers {
  const std::uint8_t* data[2];
  const std::uint8_t* scales[2];
};
__device__ inline RowPointers row_pointers(const WeightShape& shape, const std::uint8_t* first,
                                           const std::uint8_t* second, int row, int row8) {
  // Rows beyond the last one are read as the last one; their products are not stored.
  row = min(row, shape.rows - 1);
  row8 = min(row8, shape.rows - 1);
  return {{first + row * shape.row_bytes, second + row8 * shape.row_bytes},
          {first + shape.scales_offset + row * shape.scale_row_bytes,
           second + shape.scales_offset + row8 * shape.scale_row_bytes}};
}

template <Element kElement, bool kWide>
struct RowProduct {
  static constexpr UnitShape kUnit = unit_shape(kElement, kWide);
  /// Units that are requested together: 64 bytes a lane and row, 4 KiB a warp (2 KiB of narrow ones).
  static constexpr int kAhead = 4;
  static constexpr int kParts = kUnit.scales;  ///< of a unit, each with its scale
  /// Scales of a batch and row that a lane loads: the 4 lanes of a group share them.
  static constexpr int kScaleLoads = kAhead * kParts / 4;
  using Load = std::conditional_t<kUnit.load_bytes == 16, uint4, uint2>;

  /// What a lane requests at a time, of its two rows.
  struct Batch {
    Load weights[kAhead][2];
    std::uint32_t scales[2][kScaleLoads > 0 ? kScaleLoads : 1];
  };

  /// Requests the units [first, min(first + kAhead, end)); nothing is waited for.
  __device__ static void fetch(Batch& batch, const WeightShape& shape, const RowPointers& rows, int first, int end) {
    const int t = lane_id() % 4;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        batch.weights[a][r] = Load{};
        if (first + a < end) {
          batch.weights[a][r] =
              load(rows.data[r] + static_cast<std::int64_t>(first + a) * (4 * kUnit.load_bytes) + t * kUnit.load_bytes);
        }
      }
    }
#pragma unroll
    for (int s = 0; s < kScaleLoads; ++s) {
      constexpr int kEach = kParts > 0 ? kParts : 1;
      const int index = s * 4 + t;
      const int unit = first + index / kEach;
      // A padded part belongs to no group; its weights are zeros, and so is its scale.
      const int group = (unit * kUnit.columns + index % kEach * (kUnit.columns / kEach)) >> shape.group_shift;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        batch.scales[r][s] = kNoScale;
        if (unit < end && group < shape.groups) batch.scales[r][s] = load_scale(rows.scales[r], group);
      }
    }
  }

  /// sums[n] += the products of a fetched batch with tokens 8n..8n+7. x[n]: this lane's token (8n + g) in global or
  /// shared memory, or null for none. Columns beyond the last one count as zeros. All lanes of the warp come here.
  template <int kTokenTiles>
  __device__ static void add(float (&sums)[kTokenTiles][4], const Batch& batch, const WeightShape& shape,
                             const __nv_bfloat16* const (&x)[kTokenTiles], int first, int end) {
    const int lane = lane_id();
    float scales[2][kScaleLoads > 0 ? kScaleLoads : 1];
    if constexpr (kParts > 0) {
#pragma unroll
      for (int s = 0; s < kScaleLoads; ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) scales[r][s] = to_scale(batch.scales[r][s]);
      }
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int column = (first + a) * kUnit.columns;
      const bool valid = first + a < end;
      Piece row[kUnit.pieces], row8[kUnit.pieces];
      unpack(batch.weights[a][0], row);
      unpack(batch.weights[a][1], row8);
      constexpr int kSums = kParts == 0 ? 1 : kParts;
      constexpr int kPiecesEach = kUnit.pieces / kSums;
#pragma unroll
      for (int part = 0; part < kSums; ++part) {
        float scale = 1.0f, scale8 = 1.0f;
        if constexpr (kParts > 0) {
          const int index = a * kParts + part;
          scale = __shfl_sync(kAllLanes, scales[0][index / 4], (lane & ~3) | (index & 3));
          scale8 = __shfl_sync(kAllLanes, scales[1][index / 4], (lane & ~3) | (index & 3));
        }
#pragma unroll
        for (int n = 0; n < kTokenTiles; ++n) {
          float c[4] = {};
#pragma unroll
          for (int p = 0; p < kPiecesEach; ++p) {
            const int piece = part * kPiecesEach + p;
            const int at = column + piece_column(kElement, kWide, lane % 4, piece);
            uint4 tokens = make_uint4(0, 0, 0, 0);
            if (x[n] && valid && at < shape.columns) tokens = *reinterpret_cast<const uint4*>(x[n] + at);
            mma_piece(c, row[piece], row8[piece], as_piece(tokens));
          }
          if (valid) {
            sums[n][0] += scale * c[0];
            sums[n][1] += scale * c[1];
            sums[n][2] += scale8 * c[2];
            sums[n][3] += scale8 * c[3];
          }
        }
      }
    }
  }

  /// The rest of the units [first, end), of which `batch` holds the first ones: the next batch is on its way while one
  /// is multiplied.
  template <int kTokenTiles>
  __device__ static void run(float (&sums)[kTokenTiles][4], Batch& batch, const WeightShape& shape,
                             const RowPointers& rows, const __nv_bfloat16* const (&x)[kTokenTiles], int first,
                             int end) {
    Batch other;
    while (first < end) {
      if (first + kAhead < end) fetch(other, shape, rows, first + kAhead, end);
      add(sums, batch, shape, x, first, end);
      first += kAhead;
      if (first >= end) return;
      if (first + kAhead < end) fetch(batch, shape, rows, first + kAhead, end);
      add(sums, other, shape, x, first, end);
      first += kAhead;
    }
  }

 private:
  static constexpr std::uint32_t kNoScale = kElement == Element::Mxfp4 ? 0x100u : 0u;

  __device__ static Load load(const std::uint8_t* from) {
    if constexpr (kUnit.load_bytes == 16)
      return load_once_16(from);
    else
      return load_once_8(from);
  }
  /// The bits of a scale, in order with the other loads.
  __device__ static std::uint32_t load_scale(const std::uint8_t* scales, int group) {
    std::uint32_t bits;
    if constexpr (kElement == Element::Mxfp4) {
      asm volatile("ld.global.nc.u8 %0, [%1];" : "=r"(bits) : "l"(scales + group));
    } else {
      std::uint16_t half;
      asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(half) : "l"(scales + 2 * group));
      bits = static_cast<std::uint32_t>(half) << 16;
    }
    return bits;
  }
  __device__ static float to_scale(std::uint32_t bits) {
    if constexpr (kElement == Element::Mxfp4) {
      return bits == kNoScale ? 0.0f : e8m0(static_cast<std::uint8_t>(bits));
    } else {
      return __uint_as_float(bits);
    }
  }
  __device__ static void unpack(const Load& v, Piece (&pieces)[kUnit.pieces]) {
    if constexpr (kElement == Element::Bf16) {
      pieces[0] = as_piece(v);
    } else if constexpr (kElement == Element::Int8) {
      pieces[0] = unpack_bytes(v.x, v.y);
      if constexpr (kWide) pieces[1] = unpack_bytes(v.z, v.w);
    } else if constexpr (kUnit.load_bytes == 16) {
      unpack_nibbles<kElement>(v.x, v.y, pieces[0], pieces[2]);
      unpack_nibbles<kElement>(v.z, v.w, pieces[1], pieces[3]);
    } else {
      unpack_nibbles<kElement>(v.x, v.y, pieces[0], pieces[1]);
    }
  }
};

/// Calls f with the RowProduct for a format that tiles_support().
template <class F>
void with_row_product(const WeightFormat& format, F f) {
  const bool wide = is_wide(format);
  switch (format.element) {
    case Element::Int4:
      return wide ? f(RowProduct<Element::Int4, true>{}) : f(RowProduct<Element::Int4, false>{});
    case Element::Int8:
      return wide ? f(RowProduct<Element::Int8, true>{}) : f(RowProduct<Element::Int8, false>{});
    case Element::Mxfp4:
      return f(RowProduct<Element::Mxfp4, false>{});
    case Element::Bf16:
      return f(RowProduct<Element::Bf16, false>{});
  }
}

}  // namespace krasis::cuda

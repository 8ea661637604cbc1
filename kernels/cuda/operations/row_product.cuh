#pragma once

#include "kernels/cuda/operations/fragments.cuh"

/// Products of 16 rows of weights with a few tokens by one warp: what decode is made of.
///
/// Each weight is read once, 8 or 16 bytes a lane straight into registers, and several units are requested before the
/// first is used, so that device memory stays busy. Tensor cores do the arithmetic even for one token, of which they
/// use an eighth: unpacking by bits costs less than two instructions a weight and an FP32 product would cost another
/// one, which at 4.8 TB/s of INT4 a Hopper GPU does not have. The 16 rows are the instruction's rows, the tokens its
/// columns.
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

template <Element kElement>
__device__ float scale_at(const std::uint8_t* scales, int group) {
  if constexpr (kElement == Element::Mxfp4) return e8m0(__ldg(scales + group));
  return __uint_as_float(static_cast<std::uint32_t>(__ldg(reinterpret_cast<const std::uint16_t*>(scales) + group))
                         << 16);
}

template <Element kElement, bool kWide>
struct RowProduct {
  static constexpr UnitShape kUnit = unit_shape(kElement, kWide);
  /// Units that are requested together: 64 bytes a lane and row, 4 KiB a warp (2 KiB of narrow ones).
  static constexpr int kAhead = 4;
  using Load = std::conditional_t<kUnit.load_bytes == 16, uint4, uint2>;

  __device__ static Load load(const std::uint8_t* from) {
    if constexpr (kUnit.load_bytes == 16)
      return load_once_16(from);
    else
      return load_once_8(from);
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

  /// sums[n] += the tile's products with tokens 8n..8n+7 over the units [begin, end). x[n]: this lane's token (8n + g),
  /// or null for none. Columns beyond the last one count as zeros. All lanes of the warp come here.
  template <int kTokenTiles>
  __device__ static void run(float (&sums)[kTokenTiles][4], const WeightShape& shape, const RowPointers& rows,
                             const __nv_bfloat16* const (&x)[kTokenTiles], int begin, int end) {
    const int t = lane_id() % 4;
    for (int first = begin; first < end; first += kAhead) {
      Load weights[kAhead][2];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        // Beyond the end: the last unit once more, unused.
        const int unit = min(first + a, end - 1);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          weights[a][r] =
              load(rows.data[r] + static_cast<std::int64_t>(unit) * (4 * kUnit.load_bytes) + t * kUnit.load_bytes);
        }
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + a < end) add_unit(sums, shape, rows, x, first + a, weights[a], t);
      }
    }
  }

 private:
  template <int kTokenTiles>
  __device__ static void add_unit(float (&sums)[kTokenTiles][4], const WeightShape& shape, const RowPointers& rows,
                                  const __nv_bfloat16* const (&x)[kTokenTiles], int unit, const Load (&weights)[2],
                                  int t) {
    constexpr int kParts = kUnit.scales == 0 ? 1 : kUnit.scales;  // columns that share a scale
    constexpr int kPiecesEach = kUnit.pieces / kParts;
    const int column = unit * kUnit.columns;
    Piece row[kUnit.pieces], row8[kUnit.pieces];
    unpack(weights[0], row);
    unpack(weights[1], row8);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      float scale = 1.0f, scale8 = 1.0f;
      if constexpr (kUnit.scales > 0) {
        // A padded part belongs to no group; its weights are zeros, and so is its scale.
        const int group = (column + part * (kUnit.columns / kParts)) >> shape.group_shift;
        const bool there = group < shape.groups;
        scale = there ? scale_at<kElement>(rows.scales[0], group) : 0.0f;
        scale8 = there ? scale_at<kElement>(rows.scales[1], group) : 0.0f;
      }
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        float group_sums[4] = {};
        float(&c)[4] = kUnit.scales == 0 ? sums[n] : group_sums;
#pragma unroll
        for (int p = 0; p < kPiecesEach; ++p) {
          const int piece = part * kPiecesEach + p;
          const int at = column + piece_column(kElement, kWide, t, piece);
          uint4 tokens = make_uint4(0, 0, 0, 0);
          if (x[n] && at < shape.columns) tokens = __ldg(reinterpret_cast<const uint4*>(x[n] + at));
          mma_piece(c, row[piece], row8[piece], as_piece(tokens));
        }
        if constexpr (kUnit.scales > 0) {
          sums[n][0] += scale * group_sums[0];
          sums[n][1] += scale * group_sums[1];
          sums[n][2] += scale8 * group_sums[2];
          sums[n][3] += scale8 * group_sums[3];
        }
      }
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

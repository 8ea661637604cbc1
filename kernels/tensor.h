#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bf16.h"
#include "base/format.h"

namespace krasis {

/// `size` values of T in some memory space. Only the device that owns the memory may dereference `data`; a View never
/// owns. Device code and host code pass it by value.
template <class T>
struct View {
  T* data = nullptr;
  std::size_t size = 0;

  std::size_t bytes() const { return size * sizeof(T); }
  bool empty() const { return size == 0; }
  /// Elements [offset, offset + count).
  View sub(std::size_t offset, std::size_t count) const { return {data + offset, count}; }
  operator View<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, size};
  }
};

template <class T>
View(T*, std::size_t) -> View<T>;

/// A packed weight matrix [rows, columns] in memory (base/format.h says where its rows and scales lie).
struct Matrix {
  MatrixLayout layout;
  const std::byte* data = nullptr;

  const std::byte* row(std::int64_t r) const { return data + static_cast<std::size_t>(r) * layout.row_bytes(); }
  /// The scales of a row: BF16 or, for MXFP4, exponents of one byte.
  const std::byte* scale_row(std::int64_t r) const {
    return data + layout.scales_offset() + static_cast<std::size_t>(r) * layout.scale_row_bytes();
  }
  const bf16* scales(std::int64_t r) const { return reinterpret_cast<const bf16*>(scale_row(r)); }
  View<const std::byte> range() const { return {data, layout.bytes()}; }
};

/// The rows [query_begin, query_begin + query_count) of a batch belong to one sequence, whose token at position p lives
/// in row first_slot + p of the KV cache.
struct SequenceSpan {
  std::int32_t query_begin = 0;
  std::int32_t query_count = 0;
  std::int32_t first_slot = 0;
};

/// Which tokens an operation works on. The arrays live in device memory, so a recorded step sees new values at each
/// replay; the counts are fixed when it is recorded.
struct Batch {
  int tokens = 0;
  View<const std::int32_t> positions;      ///< [tokens], of each token within its sequence
  View<const SequenceSpan> sequences;      ///< [sequences], in order of query_begin, covering all tokens
};

enum class KvElement : std::uint8_t { Bf16, Fp8 };

/// How the numbers of a plane lie. Rows: [rows, heads, head_dim], scales [rows, heads]. Tiles: head after head, within
/// it blocks of 64 rows, each in the order in which AMX multiplies it (kernels/host/operations/cache/kv_layout.h),
/// scales [heads, kv_capacity(rows)]. A sequence should begin at a multiple of 64 rows.
enum class KvLayout : std::uint8_t { Rows, Tiles };

/// Rows that a plane in tiles has room for; what an engine allocates has it in either layout.
constexpr std::int64_t kv_capacity(std::int64_t rows) {
  return (rows + 63) / 64 * 64;
}

/// Keys or values of one layer; FP8 E4M3 has one FP32 scale for each (row, head): value = scale * fp8,
/// scale = max|x| / 448 over head_dim (1 where all are zero; on the host NaN where one is not finite).
struct KvPlane {
  View<std::byte> values;
  View<float> scales;  ///< for FP8, empty for BF16
};
struct KvCache {
  KvElement element = KvElement::Bf16;
  int rows = 0;
  int heads = 0;
  int head_dim = 0;
  KvPlane keys, values;
  KvLayout layout = KvLayout::Rows;
};

}  // namespace krasis

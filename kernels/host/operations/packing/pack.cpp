#include "kernels/host/operations/packing/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/host/operations/packing/pack_kernels.h"

namespace krasis {
namespace {

float to_float(float value) {
  return value;
}
float to_float(bf16 value) {
  return static_cast<float>(value);
}

/// The scale of one group.
template <class T>
bf16 group_scale(const T* values, int count, Element element) {
  float largest = 0.0f;  // signed
  for (int i = 0; i < count; ++i) {
    const float value = to_float(values[i]);
    if (!std::isfinite(value)) return bf16(std::nanf(""));
    if (std::fabs(value) > std::fabs(largest)) largest = value;
  }
  if (largest == 0.0f) return bf16(0.0f);
  return element == Element::Int4 ? bf16(largest / -8.0f) : bf16(std::fabs(largest) / 127.0f);
}

int quantize(float value, float scale, int low, int high) {
  if (scale == 0.0f || std::isnan(scale)) return 0;
  return static_cast<int>(std::clamp(std::nearbyint(value / scale), static_cast<float>(low), static_cast<float>(high)));
}

void store_nibble(std::byte* row, std::int64_t column, unsigned value) {
  const std::int64_t within = column % 64;
  std::byte& byte = row[column / 64 * 32 + within % 32];
  const auto nibble = static_cast<std::byte>(value);
  byte = within < 32 ? ((byte & std::byte{0xf0}) | nibble) : ((byte & std::byte{0x0f}) | (nibble << 4));
}

template <class T>
void pack_integer_row(const T* values, const MatrixLayout& layout, std::byte* row, bf16* scales) {
  const Element element = layout.format.element;
  const bool int4 = element == Element::Int4;
  std::memset(row, int4 ? 0x88 : 0, layout.row_bytes());
  const int group_size = layout.format.group_size;
  for (std::int64_t group = 0; group < layout.groups_per_row(); ++group) {
    const std::int64_t begin = group * group_size;
    scales[group] = group_scale(values + begin, group_size, element);
    const auto scale = static_cast<float>(scales[group]);
    for (std::int64_t c = begin; c < begin + group_size; ++c) {
      if (int4) {
        store_nibble(row, c, static_cast<unsigned>(quantize(to_float(values[c]), scale, -8, 7) + 8));
      } else {
        row[c] = static_cast<std::byte>(quantize(to_float(values[c]), scale, -127, 127));
      }
    }
  }
}

/// The E2M1 code nearest to a value below 8: steps of 1/2 up to 2, of 1 up to 4, of 2 beyond.
unsigned e2m1_code(float value) {
  const float magnitude = std::fabs(value);
  const float step = magnitude < 2.0f ? 0.5f : magnitude < 4.0f ? 1.0f : 2.0f;
  const float rounded = std::min(std::nearbyint(magnitude / step) * step, 6.0f);
  unsigned code = 0;
  while (e2m1_to_float(static_cast<int>(code)) != rounded) ++code;
  return std::signbit(value) ? code | 8u : code;
}

/// The shared exponent of one block.
template <class T>
std::uint8_t block_exponent(const T* values, int count) {
  float largest = 0.0f;
  for (int i = 0; i < count; ++i) {
    const float magnitude = std::fabs(to_float(values[i]));
    if (!std::isfinite(magnitude)) return 255;
    largest = std::max(largest, magnitude);
  }
  return largest == 0.0f ? 0 : static_cast<std::uint8_t>(std::max(0, std::ilogb(largest) - 2 + 127));
}

template <class T>
void pack_mxfp4_row(const T* values, const MatrixLayout& layout, std::byte* row, std::byte* exponents) {
  std::memset(row, 0, layout.row_bytes());
  const int block_size = layout.format.group_size;
  for (std::int64_t block = 0; block < layout.groups_per_row(); ++block) {
    const std::int64_t begin = block * block_size;
    const std::uint8_t e = block_exponent(values + begin, block_size);
    exponents[block] = static_cast<std::byte>(e);
    if (e == 255) continue;
    const float factor = std::ldexp(1.0f, 127 - e);  // exact, as is what it multiplies unless that is far below 1/4
    for (std::int64_t c = begin; c < begin + block_size; ++c) {
      store_nibble(row, c, e2m1_code(to_float(values[c]) * factor));
    }
  }
}

void pack_bf16_row(const bf16* values, std::int64_t count, bf16* row) {
  std::memcpy(row, values, static_cast<std::size_t>(count) * sizeof(bf16));
}
void pack_bf16_row(const float* values, std::int64_t count, bf16* row) {
  for (std::int64_t c = 0; c < count; ++c) row[c] = bf16(values[c]);
}

/// The kernels for this CPU, or null.
const simd::PackKernels* fastest_kernels() {
#ifdef KRASIS_HAVE_AVX2_PACK
  static const bool supported = __builtin_cpu_supports("avx2");
  if (supported) return &simd::avx2_pack_kernels();
#endif
  return nullptr;
}
void call(const simd::PackKernels& kernels, const float* values, const simd::PackTarget& row) {
  kernels.from_float(values, row);
}
void call(const simd::PackKernels& kernels, const bf16* values, const simd::PackTarget& row) {
  kernels.from_bf16(values, row);
}

template <class T>
void pack_at(std::span<const T> values, const MatrixLayout& layout, std::int64_t row_begin, std::byte* matrix,
             PackCode code) {
  const auto [element, group_size] = layout.format;
  const bool fast_group = group_size == 32 || group_size == 64 || group_size == 128;
  const simd::PackKernels* kernels = code == PackCode::Fastest && fast_group ? fastest_kernels() : nullptr;
  const auto count = static_cast<std::int64_t>(values.size()) / layout.columns;
  for (std::int64_t r = 0; r < count; ++r) {
    const T* source = values.data() + r * layout.columns;
    const auto nth = static_cast<std::size_t>(row_begin + r);
    std::byte* row = matrix + nth * layout.row_bytes();
    std::byte* scales = matrix + layout.scales_offset() + nth * layout.scale_row_bytes();
    if (element == Element::Bf16) {
      auto* target = reinterpret_cast<bf16*>(row);
      pack_bf16_row(source, layout.columns, target);
      std::fill(target + layout.columns, target + layout.padded_columns(), bf16());
    } else if (kernels != nullptr) {
      call(*kernels, source, {element, group_size, layout.groups_per_row(), row, scales});
    } else if (element == Element::Mxfp4) {
      pack_mxfp4_row(source, layout, row, scales);
    } else {
      pack_integer_row(source, layout, row, reinterpret_cast<bf16*>(scales));
    }
  }
}

template <class T>
void pack(std::span<const T> values, const MatrixLayout& layout, std::byte* out, PackCode code) {
  const auto used = static_cast<std::size_t>(layout.rows) * layout.row_bytes();
  const std::size_t scales_end =
      layout.scales_offset() + static_cast<std::size_t>(layout.rows) * layout.scale_row_bytes();
  std::memset(out + used, 0, layout.scales_offset() - used);
  std::memset(out + scales_end, 0, layout.bytes() - scales_end);
  pack_at(values, layout, 0, out, code);
}

}  // namespace

void pack_rows(std::span<const float> values, const MatrixLayout& layout, std::byte* out, PackCode code) {
  pack(values, layout, out, code);
}
void pack_rows(std::span<const bf16> values, const MatrixLayout& layout, std::byte* out, PackCode code) {
  pack(values, layout, out, code);
}
void pack_rows_at(std::span<const float> values, const MatrixLayout& layout, std::int64_t row_begin, std::byte* matrix,
                  PackCode code) {
  pack_at(values, layout, row_begin, matrix, code);
}
void pack_rows_at(std::span<const bf16> values, const MatrixLayout& layout, std::int64_t row_begin, std::byte* matrix,
                  PackCode code) {
  pack_at(values, layout, row_begin, matrix, code);
}

float e2m1_to_float(int code) {
  static constexpr float kMagnitudes[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  const float magnitude = kMagnitudes[code & 7];
  return (code & 8) != 0 ? -magnitude : magnitude;
}

float e8m0_to_float(std::uint8_t e) {
  return e == 255 ? std::nanf("") : std::ldexp(1.0f, e - 127);
}

namespace {

float scale_of(const Matrix& matrix, std::int64_t row, std::int64_t group) {
  if (matrix.layout.format.element != Element::Mxfp4) return static_cast<float>(matrix.scales(row)[group]);
  return e8m0_to_float(static_cast<std::uint8_t>(matrix.scale_row(row)[group]));
}

/// The number, still without its scale, at a column of a packed row.
float unpack_number(const std::byte* row, Element element, std::int64_t column) {
  if (element == Element::Bf16) return static_cast<float>(reinterpret_cast<const bf16*>(row)[column]);
  if (element == Element::Int8) return static_cast<float>(static_cast<std::int8_t>(row[column]));
  const std::int64_t within = column % 64;
  const auto byte = static_cast<unsigned>(row[column / 64 * 32 + within % 32]);
  const auto nibble = static_cast<int>(within < 32 ? byte & 0xfu : byte >> 4);
  return element == Element::Mxfp4 ? e2m1_to_float(nibble) : static_cast<float>(nibble - 8);
}

}  // namespace

float unpack_element(const Matrix& matrix, std::int64_t row, std::int64_t column) {
  const WeightFormat& format = matrix.layout.format;
  const float number = unpack_number(matrix.row(row), format.element, column);
  return format.element == Element::Bf16 ? number : scale_of(matrix, row, column / format.group_size) * number;
}

void unpack_rows(const Matrix& matrix, std::int64_t row_begin, std::int64_t row_count, float* out) {
  const MatrixLayout& layout = matrix.layout;
  const auto [element, group_size] = layout.format;
  for (std::int64_t r = row_begin; r < row_begin + row_count; ++r, out += layout.columns) {
    const std::byte* row = matrix.row(r);
    if (element == Element::Bf16) {
      for (std::int64_t c = 0; c < layout.columns; ++c) out[c] = unpack_number(row, Element::Bf16, c);
      continue;
    }
    for (std::int64_t group = 0; group < layout.groups_per_row(); ++group) {
      const float scale = scale_of(matrix, r, group);
      const std::int64_t begin = group * group_size;
      for (std::int64_t c = begin; c < begin + group_size; ++c) out[c] = scale * unpack_number(row, element, c);
    }
  }
}

}  // namespace krasis

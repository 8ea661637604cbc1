#include "kernels/host/operations/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

void store_int4(std::byte* row, std::int64_t column, int q) {
  const std::int64_t within = column % 64;
  std::byte& byte = row[column / 64 * 32 + within % 32];
  const auto nibble = static_cast<std::byte>(q + 8);
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
        store_int4(row, c, quantize(to_float(values[c]), scale, -8, 7));
      } else {
        row[c] = static_cast<std::byte>(quantize(to_float(values[c]), scale, -127, 127));
      }
    }
  }
}

template <class T>
void pack(std::span<const T> values, const MatrixLayout& layout, std::byte* out) {
  const auto used = static_cast<std::size_t>(layout.rows) * layout.row_bytes();
  const std::size_t scale_bytes = static_cast<std::size_t>(layout.rows) * layout.scale_row_bytes();
  std::memset(out + used, 0, layout.scales_offset() - used);
  std::memset(out + layout.scales_offset() + scale_bytes, 0, layout.bytes() - layout.scales_offset() - scale_bytes);
  for (std::int64_t r = 0; r < layout.rows; ++r) {
    const T* source = values.data() + r * layout.columns;
    std::byte* row = out + static_cast<std::size_t>(r) * layout.row_bytes();
    if (layout.format.element == Element::Bf16) {
      auto* target = reinterpret_cast<bf16*>(row);
      for (std::int64_t c = 0; c < layout.columns; ++c) target[c] = bf16(source[c]);
      std::fill(target + layout.columns, target + layout.padded_columns(), bf16());
    } else {
      auto* scales = reinterpret_cast<bf16*>(out + layout.scales_offset()) + r * layout.groups_per_row();
      pack_integer_row(source, layout, row, scales);
    }
  }
}

}  // namespace

void pack_rows(std::span<const float> values, const MatrixLayout& layout, std::byte* out) {
  pack(values, layout, out);
}
void pack_rows(std::span<const bf16> values, const MatrixLayout& layout, std::byte* out) {
  pack(values, layout, out);
}

namespace {

/// The integer q at a column of a packed row.
int unpack_integer(const std::byte* row, Element element, std::int64_t column) {
  if (element == Element::Int8) return static_cast<std::int8_t>(row[column]);
  const std::int64_t within = column % 64;
  const auto byte = static_cast<unsigned>(row[column / 64 * 32 + within % 32]);
  return static_cast<int>(within < 32 ? byte & 0xfu : byte >> 4) - 8;
}

}  // namespace

float unpack_element(const Matrix& matrix, std::int64_t row, std::int64_t column) {
  const WeightFormat& format = matrix.layout.format;
  if (format.element == Element::Bf16)
    return static_cast<float>(reinterpret_cast<const bf16*>(matrix.row(row))[column]);
  const auto scale = static_cast<float>(matrix.scales(row)[column / format.group_size]);
  return scale * static_cast<float>(unpack_integer(matrix.row(row), format.element, column));
}

void unpack_rows(const Matrix& matrix, std::int64_t row_begin, std::int64_t row_count, float* out) {
  const MatrixLayout& layout = matrix.layout;
  for (std::int64_t r = row_begin; r < row_begin + row_count; ++r, out += layout.columns) {
    const std::byte* row = matrix.row(r);
    if (layout.format.element == Element::Bf16) {
      for (std::int64_t c = 0; c < layout.columns; ++c)
        out[c] = static_cast<float>(reinterpret_cast<const bf16*>(row)[c]);
      continue;
    }
    for (std::int64_t group = 0; group < layout.groups_per_row(); ++group) {
      const auto scale = static_cast<float>(matrix.scales(r)[group]);
      const std::int64_t begin = group * layout.format.group_size;
      for (std::int64_t c = begin; c < begin + layout.format.group_size; ++c) {
        out[c] = scale * static_cast<float>(unpack_integer(row, layout.format.element, c));
      }
    }
  }
}

}  // namespace krasis

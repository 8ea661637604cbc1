#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace krasis {

/// How one number of a weight matrix is stored.
enum class Element : std::uint8_t { Int4, Int8, Bf16, Mxfp4 };

constexpr int bits_of(Element element) {
  return element == Element::Int4 || element == Element::Mxfp4 ? 4 : element == Element::Int8 ? 8 : 16;
}
constexpr std::string_view name_of(Element element) {
  return element == Element::Int4   ? "INT4"
         : element == Element::Int8 ? "INT8"
         : element == Element::Bf16 ? "BF16"
                                    : "MXFP4";
}
/// Bytes of one scale: BF16 for integers, a shared exponent (E8M0) for MXFP4.
constexpr std::size_t scale_bytes(Element element) {
  return element == Element::Bf16 ? 0 : element == Element::Mxfp4 ? 1 : 2;
}

/// A quantization format is data: element, and how many elements along the input dimension share one scale.
/// Integers are symmetric: value = scale * q, q in [-8, 7] or [-127, 127], scale BF16. `group_size` is 0 for BF16.
/// MXFP4 (OCP Microscaling Formats 1.0): value = 2^(e - 127) * E2M1 number, one byte e for each 32 elements, 255 = NaN.
struct WeightFormat {
  Element element = Element::Bf16;
  int group_size = 0;
  bool operator==(const WeightFormat&) const = default;
};

/// The format for rows of `columns` numbers: BF16 as it is; for integers `group_size` halved until it divides
/// `columns`, at least 2. E.g. 128 for 2048, 64 for 2880 and 192. MXFP4 has 32, which must divide `columns`.
constexpr WeightFormat fit_format(Element element, int group_size, std::int64_t columns) {
  if (element == Element::Bf16) return {Element::Bf16, 0};
  if (element == Element::Mxfp4) return {Element::Mxfp4, 32};
  while (group_size > 2 && columns % group_size != 0) group_size /= 2;
  return {element, group_size};
}

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Where the parts of a packed matrix [rows, columns] lie.
///
/// First all rows, each `row_bytes` long and padded with zero elements to a multiple of 64 elements; then, at
/// `scales_offset`, the scales [rows, groups_per_row]; the whole is padded to 64 bytes.
/// INT4: each 64 consecutive elements are 32 bytes; byte j holds element j in its low and element j+32 in its high
/// nibble, each stored as q + 8. MXFP4: the same order, each nibble an E2M1 number (sign, exponent, mantissa; OCP's
/// bits). INT8: two's complement. BF16: little endian.
struct MatrixLayout {
  WeightFormat format;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  constexpr std::int64_t padded_columns() const { return static_cast<std::int64_t>(round_up(static_cast<std::size_t>(columns), 64)); }
  constexpr std::size_t row_bytes() const {
    return static_cast<std::size_t>(padded_columns()) * static_cast<std::size_t>(bits_of(format.element)) / 8;
  }
  constexpr std::int64_t groups_per_row() const { return format.group_size == 0 ? 0 : columns / format.group_size; }
  constexpr std::size_t scale_row_bytes() const {
    return static_cast<std::size_t>(groups_per_row()) * scale_bytes(format.element);
  }
  constexpr std::size_t scales_offset() const { return round_up(static_cast<std::size_t>(rows) * row_bytes(), 64); }
  constexpr std::size_t bytes() const {
    return scales_offset() + round_up(static_cast<std::size_t>(rows) * scale_row_bytes(), 64);
  }
  bool operator==(const MatrixLayout&) const = default;
};

/// One routed expert as one contiguous block: gate [width, hidden], up [width, hidden], down [hidden, width].
struct ExpertLayout {
  MatrixLayout gate, up, down;

  constexpr std::size_t gate_offset() const { return 0; }
  constexpr std::size_t up_offset() const { return gate.bytes(); }
  constexpr std::size_t down_offset() const { return gate.bytes() + up.bytes(); }
  constexpr std::size_t bytes() const { return down_offset() + down.bytes(); }
  constexpr std::int64_t hidden() const { return gate.columns; }
  constexpr std::int64_t width() const { return gate.rows; }
  bool operator==(const ExpertLayout&) const = default;
};

constexpr ExpertLayout expert_layout(Element element, int group_size, std::int64_t hidden, std::int64_t width) {
  return {MatrixLayout{fit_format(element, group_size, hidden), width, hidden},
          MatrixLayout{fit_format(element, group_size, hidden), width, hidden},
          MatrixLayout{fit_format(element, group_size, width), hidden, width}};
}

}  // namespace krasis

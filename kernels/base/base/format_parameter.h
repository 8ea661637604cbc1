#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/format.h"

namespace krasis {

inline constexpr std::array kElements{Element::Int4, Element::Int8, Element::Bf16, Element::Mxfp4};

/// The element that a parameter such as gpu_bits = 4 means: INT4, INT8, BF16 for 4, 8, 16; none for any other number.
/// A number of bits does not name a format: nothing but such a parameter is read with this, and never an MXFP4 weight.
constexpr std::optional<Element> element_of_bits(std::int64_t bits) {
  if (bits == 4) return Element::Int4;
  if (bits == 8) return Element::Int8;
  if (bits == 16) return Element::Bf16;
  return std::nullopt;
}

/// The inverse of name_of(); none for an unknown name.
constexpr std::optional<Element> element_named(std::string_view name) {
  for (const Element element : kElements) {
    if (name_of(element) == name) return element;
  }
  return std::nullopt;
}

}  // namespace krasis

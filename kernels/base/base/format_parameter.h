#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/format.h"

namespace krasis {

inline constexpr std::array kElements{Element::Int4, Element::Int8, Element::Bf16, Element::Mxfp4};

/// The element that a parameter such as gpu_format = "int4" names: as name_of() writes it, in any case; none for an
/// unknown name. A number of bits names none: INT4 and MXFP4 have four.
constexpr std::optional<Element> element_named(std::string_view name) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (const Element element : kElements) {
    if (std::ranges::equal(name_of(element), name, {}, lower, lower)) return element;
  }
  return std::nullopt;
}

}  // namespace krasis

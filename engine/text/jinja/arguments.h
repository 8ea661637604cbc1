#pragma once

#include <array>
#include <string>
#include <string_view>

#include "engine/text/jinja/builtins.h"

namespace krasis::jinja {

/// Arguments in the order of `names`; those not given are undefined. An error for too many or unknown ones.
template <std::size_t N>
Expected<std::array<Value, N>> bind(std::string_view callee, const Arguments& given,
                                    const std::array<std::string_view, N>& names) {
  std::array<Value, N> bound;
  if (given.positional.size() > N) return wrong("'" + std::string(callee) + "' has too many arguments");
  for (std::size_t i = 0; i < given.positional.size(); ++i) bound[i] = given.positional[i];
  for (const auto& [name, value] : given.named) {
    std::size_t at = 0;
    while (at < N && names[at] != name) ++at;
    if (at == N) return wrong("'" + std::string(callee) + "' has no argument '" + name + "'");
    if (at < given.positional.size()) return wrong("'" + std::string(callee) + "' gets '" + name + "' twice");
    bound[at] = value;
  }
  return bound;
}

/// The reason why an undefined value cannot be used.
inline std::string undefined_reason(const Value& value) {
  return value.string ? value.text() : "a value is undefined";
}

// Text functions that filters and methods share.
Expected<Value> join(Heap& heap, const std::string& separator, const std::vector<Value>& items, bool only_strings);
Expected<Value> replace(Heap& heap, const std::string& text, const std::string& from, const std::string& to,
                        std::int64_t count);
/// Each character to its upper or lower case form, if that is one character.
std::string change_case(std::string_view text, bool upper);

}  // namespace krasis::jinja

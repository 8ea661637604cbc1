#pragma once

#include <ctime>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/value.h"

namespace krasis::jinja {

/// What the language knows by name. The parser refuses everything else.
inline constexpr std::string_view kFilters[] = {"trim", "length", "count", "tojson",  "upper",   "lower",
                                                "join", "first",  "last",  "replace", "default", "d",
                                                "int",  "string", "items", "list",    "reverse", "safe"};
inline constexpr std::string_view kTests[] = {"defined",  "undefined", "none",     "string", "mapping", "sequence",
                                              "iterable", "number",    "integer",  "float",  "boolean", "true",
                                              "false",    "odd",       "even",     "upper",  "lower",   "divisibleby",
                                              "in",       "eq",        "equalto",  "ne",     "gt",      "greaterthan",
                                              "ge",       "lt",        "lessthan", "le"};
inline constexpr std::string_view kStringMethods[] = {"strip", "lstrip",     "rstrip",   "split",   "upper",
                                                      "lower", "startswith", "endswith", "replace", "join"};
inline constexpr std::string_view kDictMethods[] = {"items", "get", "keys", "values"};
inline constexpr std::string_view kFunctions[] = {"namespace", "range", "dict", "raise_exception", "strftime_now"};

template <class Names>
constexpr bool is_one_of(std::string_view name, const Names& names) {
  for (const std::string_view known : names)
    if (known == name) return true;
  return false;
}

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Each returns InvalidArgument with a reason (without a place) when the types or arguments do not fit.
Expected<Value> apply_filter(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments);
Expected<bool> apply_test(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments);
Expected<Value> call_method(Heap& heap, std::string_view name, const Value& object, const Arguments& arguments);
Expected<Value> call_function(Heap& heap, std::string_view name, const Arguments& arguments,
                              const std::optional<std::time_t>& now);

/// a op b for + - * / // % ~.
Expected<Value> binary(Heap& heap, std::string_view op, const Value& a, const Value& b);
/// a op b for == != < > <= >= in and "not in".
Expected<bool> compare(Heap& heap, std::string_view op, const Value& a, const Value& b);
/// object[key]; an undefined value if there is nothing.
Expected<Value> get_item(Heap& heap, const Value& object, const Value& key);
/// object[start:stop:step]; bounds are none or integers.
Expected<Value> get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step);
/// object.name
Expected<Value> get_attribute(Heap& heap, const Value& object, const std::string& name);

}  // namespace krasis::jinja

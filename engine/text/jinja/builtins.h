#pragma once

#include <ctime>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/value.h"

namespace krasis::jinja {

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

/// One use of a filter, test, method or function.
struct Call {
  Heap& heap;
  std::string_view name;
  const Value& input;  ///< what is filtered, tested, has the method, or is the function
  const Arguments& arguments;
  std::optional<std::time_t> now = {};  ///< what strftime_now shows; the system's clock by default
};

enum class Takes : std::uint8_t { Arguments, Nothing };

/// What the language knows by a name. The function returns InvalidArgument with a reason (without a place) when the
/// types or arguments do not fit.
template <class Result>
struct Builtin {
  std::string_view name;
  Expected<Result> (*function)(const Call&);
  Takes takes = Takes::Arguments;
};

// Everything that there is: the parser refuses other names.
std::span<const Builtin<Value>> filters();
std::span<const Builtin<bool>> tests();
std::span<const Builtin<Value>> string_methods();
std::span<const Builtin<Value>> dict_methods();
std::span<const Builtin<Value>> functions();

/// The entry with this name; null if there is none.
template <class Result>
const Builtin<Result>* find(std::span<const Builtin<Result>> table, std::string_view name) {
  for (const Builtin<Result>& builtin : table)
    if (builtin.name == name) return &builtin;
  return nullptr;
}

/// Calls the entry with the call's name, which the table has.
template <class Result>
Expected<Result> call(std::span<const Builtin<Result>> table, const Call& c) {
  KRASIS_CHECK(c.heap.spend(1));
  const Builtin<Result>* builtin = find(table, c.name);
  if (builtin->takes == Takes::Nothing && !(c.arguments.positional.empty() && c.arguments.named.empty()))
    return wrong("'" + std::string(c.name) + "' has no arguments");
  return builtin->function(c);
}

/// Calls the method that a string or a dictionary has by this name; others have none.
Expected<Value> call_method(Heap& heap, std::string_view name, const Value& object, const Arguments& arguments);

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

// Filters and tests.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/builtins.h"
#include "engine/text/jinja/lexer.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

Expected<Value> length(const Call& c) {
  const Value& input = c.input;
  switch (input.kind) {
    case Kind::Undefined:
      return integer(0);
    case Kind::List:
      return integer(static_cast<std::int64_t>(input.list->items.size()));
    case Kind::Dict:
      return integer(static_cast<std::int64_t>(input.dict->items.size()));
    case Kind::String:
      KRASIS_CHECK(c.heap.spend(1 + input.text().size() / 64));
      return integer(std::count_if(input.text().begin(), input.text().end(),
                                   [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) != 0x80u; }));
    default:
      return wrong("'" + type_name(input) + "' has no length");
  }
}

Expected<Value> tojson(const Call& c) {
  KRASIS_TRY(const auto given, bind<4>(c.name, c.arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = truth(given[0]);
  style.sort_keys = truth(given[3]);
  if (given[1].is(Kind::Int)) {
    if (given[1].integer > 100) return wrong("'tojson' indents by 100 at most");
    style.multiline = true;
    style.indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(given[1].integer, 0)), ' ');
  } else if (given[1].is_string()) {
    style.multiline = true;
    style.indent = given[1].text();
  } else if (!given[1].is(Kind::None) && !given[1].is(Kind::Undefined)) {
    return wrong("'tojson' indents by a number or a string");
  }
  if (style.multiline) style.item_separator = ",";
  if (given[2].is(Kind::List) && given[2].list->items.size() == 2 && given[2].list->items[0].is_string() &&
      given[2].list->items[1].is_string()) {
    style.item_separator = given[2].list->items[0].text();
    style.key_separator = given[2].list->items[1].text();
  } else if (!given[2].is(Kind::None) && !given[2].is(Kind::Undefined)) {
    return wrong("'tojson' needs two strings as separators");
  }
  KRASIS_TRY(std::string text, to_json(c.heap, c.input, style));
  return string(std::move(text));
}

/// Python's int() of a text, or of a float's text; nothing if it is neither.
std::optional<std::int64_t> to_integer(std::string_view text) {
  text = strip(text, true, true);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  std::int64_t whole = 0;
  const char* end = text.data() + text.size();
  if (auto [p, error] = std::from_chars(text.data(), end, whole); error == std::errc() && p == end) return whole;
  double value = 0;
  if (auto [p, error] = std::from_chars(text.data(), end, value);
      error == std::errc() && p == end && std::fabs(value) < 9e18)
    return static_cast<std::int64_t>(value);
  return std::nullopt;
}

Expected<Value> to_int(const Call& c) {
  const Value& input = c.input;
  KRASIS_TRY(const auto given, bind<2>(c.name, c.arguments, {"default", "base"}));
  if (!given[1].is(Kind::Undefined))
    return fail(ErrorCode::Unsupported, "the argument 'base' of 'int' is not supported");
  if (input.is(Kind::Int) || input.is(Kind::Bool)) return integer(as_integer(input));
  if (input.is(Kind::Float) && std::fabs(input.number) < 9e18) return integer(static_cast<std::int64_t>(input.number));
  if (input.is(Kind::Undefined)) return wrong(undefined_reason(input));
  if (input.is_string())
    if (const auto value = to_integer(input.text())) return integer(*value);
  return given[0].is(Kind::Undefined) ? integer(0) : given[0];
}

Expected<Value> join_items(const Call& c) {
  KRASIS_TRY(const auto given, bind<2>(c.name, c.arguments, {"d", "attribute"}));
  KRASIS_TRY(const std::string separator, to_text(c.heap, given[0]));
  KRASIS_TRY(std::vector<Value> items, iterate(c.heap, c.input));
  if (!given[1].is(Kind::Undefined) && !given[1].is(Kind::None)) {
    if (given[1].is_string() && given[1].text().find('.') != std::string::npos)
      return fail(ErrorCode::Unsupported, "a path as the attribute of 'join' is not supported");
    for (Value& item : items) {
      KRASIS_TRY(item, get_item(c.heap, item, given[1]));
    }
  }
  return join(c.heap, separator, items, false);
}

Expected<Value> items(const Call& c) {
  if (c.input.is(Kind::Undefined)) return list(c.heap.list({}));
  if (!c.input.is(Kind::Dict)) return wrong("'items' needs a dictionary, not '" + type_name(c.input) + "'");
  return call_method(c.heap, "items", c.input, {});
}

Expected<Value> reverse(const Call& c) {
  KRASIS_TRY(std::vector<Value> items, iterate(c.heap, c.input));
  std::reverse(items.begin(), items.end());
  return c.input.is_string() ? join(c.heap, "", items, true) : Expected<Value>(list(c.heap.list(std::move(items))));
}

Expected<Value> default_value(const Call& c) {
  KRASIS_TRY(const auto given, bind<2>(c.name, c.arguments, {"default_value", "boolean"}));
  const bool use = c.input.is(Kind::Undefined) || (truth(given[1]) && !truth(c.input));
  if (!use) return c.input;
  return c.arguments.positional.empty() && given[0].is(Kind::Undefined) ? string("") : given[0];
}

/// The input as text. A filter that only changes text is paid for by its length.
Expected<std::string> text_of(const Call& c) {
  KRASIS_TRY(std::string text, to_text(c.heap, c.input));
  KRASIS_CHECK(c.heap.spend(1 + text.size() / 16, text.size()));
  return text;
}

Expected<Value> trim(const Call& c) {
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"chars"}));
  KRASIS_TRY(const std::string text, text_of(c));
  return string(given[0].is_string() ? strip(text, given[0].text(), true, true)
                                     : std::string(strip(text, true, true)));
}

Expected<Value> replace_text(const Call& c) {
  KRASIS_TRY(const auto given, bind<3>(c.name, c.arguments, {"old", "new", "count"}));
  KRASIS_TRY(const std::string text, to_text(c.heap, c.input));
  KRASIS_TRY(const std::string from, to_text(c.heap, given[0]));
  KRASIS_TRY(const std::string to, to_text(c.heap, given[1]));
  return replace(c.heap, text, from, to, given[2].is(Kind::Int) ? given[2].integer : -1);
}

Expected<Value> to_list(const Call& c) {
  KRASIS_TRY(std::vector<Value> items, iterate(c.heap, c.input));
  return list(c.heap.list(std::move(items)));
}

Expected<Value> first_or_last(const Call& c) {
  KRASIS_TRY(const std::vector<Value> items, iterate(c.heap, c.input));
  if (items.empty()) return undefined("there is no " + std::string(c.name) + " item");
  return c.name == "first" ? items.front() : items.back();
}

Expected<Value> to_case(const Call& c) {
  KRASIS_TRY(const std::string text, text_of(c));
  return string(change_case(text, c.name == "upper"));
}

Expected<Value> to_string(const Call& c) {
  KRASIS_TRY(std::string text, text_of(c));
  return string(std::move(text));
}

constexpr Builtin<Value> kFilters[] = {{"count", length, Takes::Nothing},
                                       {"d", default_value},
                                       {"default", default_value},
                                       {"first", first_or_last, Takes::Nothing},
                                       {"int", to_int},
                                       {"items", items, Takes::Nothing},
                                       {"join", join_items},
                                       {"last", first_or_last, Takes::Nothing},
                                       {"length", length, Takes::Nothing},
                                       {"list", to_list, Takes::Nothing},
                                       {"lower", to_case, Takes::Nothing},
                                       {"replace", replace_text},
                                       {"reverse", reverse, Takes::Nothing},
                                       {"safe", to_string, Takes::Nothing},
                                       {"string", to_string, Takes::Nothing},
                                       {"tojson", tojson},
                                       {"trim", trim},
                                       {"upper", to_case, Takes::Nothing}};

/// input op argument
Expected<bool> compares(const Call& c, std::string_view op) {
  if (c.arguments.positional.size() != 1 || !c.arguments.named.empty())
    return wrong("the test '" + std::string(c.name) + "' needs one argument");
  return compare(c.heap, op, c.input, c.arguments.positional[0]);
}
Expected<bool> is_equal(const Call& c) { return compares(c, "=="); }
Expected<bool> is_unequal(const Call& c) { return compares(c, "!="); }
Expected<bool> is_greater(const Call& c) { return compares(c, ">"); }
Expected<bool> is_less(const Call& c) { return compares(c, "<"); }
Expected<bool> is_at_least(const Call& c) { return compares(c, ">="); }
Expected<bool> is_at_most(const Call& c) { return compares(c, "<="); }
Expected<bool> is_in(const Call& c) { return compares(c, "in"); }

Expected<bool> is_divisible(const Call& c) {
  if (c.arguments.positional.size() != 1 || !c.arguments.named.empty())
    return wrong("the test '" + std::string(c.name) + "' needs one argument");
  KRASIS_TRY(const Value remainder, binary(c.heap, "%", c.input, c.arguments.positional[0]));
  return !truth(remainder);
}

Expected<bool> is_odd_or_even(const Call& c) {
  KRASIS_TRY(const Value remainder, binary(c.heap, "%", c.input, integer(2)));
  return truth(remainder) == (c.name == "odd");
}

/// Has letters with case, all of this one.
Expected<bool> is_in_case(const Call& c) {
  KRASIS_TRY(const std::string text, to_text(c.heap, c.input));
  KRASIS_CHECK(c.heap.spend(1 + text.size() / 16));
  const bool upper = c.name == "upper";
  return change_case(text, upper) == text && change_case(text, !upper) != text;
}

Expected<bool> is_sequence(const Call& c) {
  const Kind kind = c.input.kind;
  return kind == Kind::String || kind == Kind::List || kind == Kind::Dict || kind == Kind::Undefined;
}

Expected<bool> is_defined(const Call& c) { return !c.input.is(Kind::Undefined); }
Expected<bool> is_numeric(const Call& c) { return is_number(c.input); }
Expected<bool> is_true(const Call& c) { return c.input.is(Kind::Bool) && c.input.boolean; }
Expected<bool> is_false(const Call& c) { return c.input.is(Kind::Bool) && !c.input.boolean; }
template <Kind kind>
Expected<bool> is_a(const Call& c) {
  return c.input.is(kind);
}

constexpr Builtin<bool> kTests[] = {{"boolean", is_a<Kind::Bool>, Takes::Nothing},
                                    {"defined", is_defined, Takes::Nothing},
                                    {"divisibleby", is_divisible},
                                    {"eq", is_equal},
                                    {"equalto", is_equal},
                                    {"even", is_odd_or_even, Takes::Nothing},
                                    {"false", is_false, Takes::Nothing},
                                    {"float", is_a<Kind::Float>, Takes::Nothing},
                                    {"ge", is_at_least},
                                    {"greaterthan", is_greater},
                                    {"gt", is_greater},
                                    {"in", is_in},
                                    {"integer", is_a<Kind::Int>, Takes::Nothing},
                                    {"iterable", is_sequence, Takes::Nothing},
                                    {"le", is_at_most},
                                    {"lessthan", is_less},
                                    {"lower", is_in_case, Takes::Nothing},
                                    {"lt", is_less},
                                    {"mapping", is_a<Kind::Dict>, Takes::Nothing},
                                    {"ne", is_unequal},
                                    {"none", is_a<Kind::None>, Takes::Nothing},
                                    {"number", is_numeric, Takes::Nothing},
                                    {"odd", is_odd_or_even, Takes::Nothing},
                                    {"sequence", is_sequence, Takes::Nothing},
                                    {"string", is_a<Kind::String>, Takes::Nothing},
                                    {"true", is_true, Takes::Nothing},
                                    {"undefined", is_a<Kind::Undefined>, Takes::Nothing},
                                    {"upper", is_in_case, Takes::Nothing}};

}  // namespace

std::span<const Builtin<Value>> filters() { return kFilters; }
std::span<const Builtin<bool>> tests() { return kTests; }

Expected<Value> join(Heap& heap, const std::string& separator, const std::vector<Value>& items, bool only_strings) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (only_strings && !items[i].is_string()) return wrong("'join' needs strings, not '" + type_name(items[i]) + "'");
    KRASIS_TRY(const std::string part, to_text(heap, items[i]));
    KRASIS_CHECK(heap.spend(1, part.size() + separator.size()));
    if (i > 0) text += separator;
    text += part;
  }
  return string(std::move(text));
}

Expected<Value> replace(Heap& heap, const std::string& text, const std::string& from, const std::string& to,
                        std::int64_t count) {
  if (from.empty()) return fail(ErrorCode::Unsupported, "replacing the empty string is not supported");
  std::string result;
  std::size_t at = 0;
  for (; count != 0; --count) {
    const std::size_t found = text.find(from, at);
    if (found == std::string::npos) break;
    KRASIS_CHECK(heap.spend(1, found - at + to.size()));
    result.append(text, at, found - at);
    result += to;
    at = found + from.size();
  }
  KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size() - at));
  return string(result + text.substr(at));
}

}  // namespace krasis::jinja

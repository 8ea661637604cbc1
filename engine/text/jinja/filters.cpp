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

using namespace std::string_view_literals;

Expected<Value> length_of(Heap& heap, const Value& input) {
  switch (input.kind) {
    case Kind::Undefined:
      return integer(0);
    case Kind::List:
      return integer(static_cast<std::int64_t>(input.list->items.size()));
    case Kind::Dict:
      return integer(static_cast<std::int64_t>(input.dict->items.size()));
    case Kind::String:
      KRASIS_CHECK(heap.spend(1 + input.text().size() / 64));
      return integer(std::count_if(input.text().begin(), input.text().end(),
                                   [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
    default:
      return wrong("'" + type_name(input) + "' has no length");
  }
}

Expected<Value> tojson(Heap& heap, const Value& input, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<4>("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
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
  KRASIS_TRY(std::string text, to_json(heap, input, style));
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

Expected<Value> int_filter(const Value& input, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<2>("int", arguments, {"default", "base"}));
  if (!given[1].is(Kind::Undefined))
    return fail(ErrorCode::Unsupported, "the argument 'base' of 'int' is not supported");
  if (input.is(Kind::Int) || input.is(Kind::Bool)) return integer(as_integer(input));
  if (input.is(Kind::Float) && std::fabs(input.number) < 9e18) return integer(static_cast<std::int64_t>(input.number));
  if (input.is(Kind::Undefined)) return wrong(undefined_reason(input));
  if (input.is_string())
    if (const auto value = to_integer(input.text())) return integer(*value);
  return given[0].is(Kind::Undefined) ? integer(0) : given[0];
}

Expected<Value> join_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<2>("join", arguments, {"d", "attribute"}));
  KRASIS_TRY(const std::string separator, to_text(heap, given[0]));
  KRASIS_TRY(std::vector<Value> items, iterate(heap, input));
  if (!given[1].is(Kind::Undefined) && !given[1].is(Kind::None)) {
    if (given[1].is_string() && given[1].text().find('.') != std::string::npos)
      return fail(ErrorCode::Unsupported, "a path as the attribute of 'join' is not supported");
    for (Value& item : items) {
      KRASIS_TRY(item, get_item(heap, item, given[1]));
    }
  }
  return join(heap, separator, items, false);
}

Expected<Value> items_of(Heap& heap, const Value& input) {
  if (input.is(Kind::Undefined)) return list(heap.list({}));
  if (!input.is(Kind::Dict)) return wrong("'items' needs a dictionary, not '" + type_name(input) + "'");
  return call_method(heap, "items", input, {});
}

Expected<Value> reversed(Heap& heap, const Value& input) {
  KRASIS_TRY(std::vector<Value> items, iterate(heap, input));
  std::reverse(items.begin(), items.end());
  return input.is_string() ? join(heap, "", items, true) : Expected<Value>(list(heap.list(std::move(items))));
}

}  // namespace

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

Expected<Value> apply_filter(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments) {
  KRASIS_CHECK(heap.spend(1));
  if (name == "default" || name == "d") {
    KRASIS_TRY(const auto given, bind<2>(name, arguments, {"default_value", "boolean"}));
    const bool use = input.is(Kind::Undefined) || (truth(given[1]) && !truth(input));
    if (!use) return input;
    return arguments.positional.empty() && given[0].is(Kind::Undefined) ? string("") : given[0];
  }
  if (name == "tojson") return tojson(heap, input, arguments);
  if (name == "int") return int_filter(input, arguments);
  if (name == "join") return join_filter(heap, input, arguments);
  if (name == "trim") {
    KRASIS_TRY(const auto given, bind<1>(name, arguments, {"chars"}));
    KRASIS_TRY(const std::string text, to_text(heap, input));
    KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size()));
    return string(given[0].is_string() ? strip(text, given[0].text(), true, true)
                                       : std::string(strip(text, true, true)));
  }
  if (name == "replace") {
    KRASIS_TRY(const auto given, bind<3>(name, arguments, {"old", "new", "count"}));
    KRASIS_TRY(const std::string text, to_text(heap, input));
    KRASIS_TRY(const std::string from, to_text(heap, given[0]));
    KRASIS_TRY(const std::string to, to_text(heap, given[1]));
    return replace(heap, text, from, to, given[2].is(Kind::Int) ? given[2].integer : -1);
  }
  KRASIS_CHECK(expect_no_arguments(name, arguments));
  if (name == "length" || name == "count") return length_of(heap, input);
  if (name == "items") return items_of(heap, input);
  if (name == "reverse") return reversed(heap, input);
  if (name == "list") {
    KRASIS_TRY(std::vector<Value> items, iterate(heap, input));
    return list(heap.list(std::move(items)));
  }
  if (name == "first" || name == "last") {
    KRASIS_TRY(const std::vector<Value> items, iterate(heap, input));
    if (items.empty()) return undefined("there is no " + std::string(name) + " item");
    return name == "first" ? items.front() : items.back();
  }
  KRASIS_TRY(std::string text, to_text(heap, input));
  KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size()));
  if (name == "upper" || name == "lower") return string(change_case(text, name == "upper"));
  return string(std::move(text));  // string, safe
}

Expected<bool> apply_test(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments) {
  KRASIS_CHECK(heap.spend(1));
  static constexpr std::pair<std::string_view, std::string_view> kComparisons[] = {
      {"eq", "=="}, {"equalto", "=="}, {"ne", "!="}, {"gt", ">"},  {"greaterthan", ">"}, {"ge", ">="},
      {"lt", "<"},  {"lessthan", "<"}, {"le", "<="}, {"in", "in"}, {"divisibleby", "%"}};
  for (const auto& [test, op] : kComparisons) {
    if (name != test) continue;
    if (arguments.positional.size() != 1 || !arguments.named.empty())
      return wrong("the test '" + std::string(name) + "' needs one argument");
    if (op != "%") return compare(heap, op, input, arguments.positional[0]);
    KRASIS_TRY(const Value remainder, binary(heap, op, input, arguments.positional[0]));
    return !truth(remainder);
  }
  KRASIS_CHECK(expect_no_arguments(name, arguments));
  const Kind kind = input.kind;
  if (name == "defined") return kind != Kind::Undefined;
  if (name == "undefined") return kind == Kind::Undefined;
  if (name == "none") return kind == Kind::None;
  if (name == "string") return kind == Kind::String;
  if (name == "mapping") return kind == Kind::Dict;
  if (name == "sequence" || name == "iterable")
    return kind == Kind::String || kind == Kind::List || kind == Kind::Dict || kind == Kind::Undefined;
  if (name == "number") return is_number(input);
  if (name == "integer") return kind == Kind::Int;
  if (name == "float") return kind == Kind::Float;
  if (name == "boolean") return kind == Kind::Bool;
  if (name == "true") return kind == Kind::Bool && input.boolean;
  if (name == "false") return kind == Kind::Bool && !input.boolean;
  if (name == "odd" || name == "even") {
    KRASIS_TRY(const Value remainder, binary(heap, "%", input, integer(2)));
    return truth(remainder) == (name == "odd");
  }
  // upper, lower: has letters with case, all of this one
  KRASIS_TRY(const std::string text, to_text(heap, input));
  KRASIS_CHECK(heap.spend(1 + text.size() / 16));
  const bool upper = name == "upper";
  return change_case(text, upper) == text && change_case(text, !upper) != text;
}

}  // namespace krasis::jinja

// Methods of strings and dictionaries, and functions.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/builtins.h"
#include "engine/text/jinja/lexer.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

// Of strings

/// A method reads its string once, at least.
Expected<std::string_view> text_of(const Call& c) {
  KRASIS_CHECK(c.heap.spend(1 + c.input.text().size() / 64));
  return c.input.text();
}

Expected<Value> split(const Call& c) {
  KRASIS_TRY(const std::string_view text, text_of(c));
  KRASIS_TRY(const auto given, bind<2>(c.name, c.arguments, {"sep", "maxsplit"}));
  std::int64_t left = given[1].is(Kind::Int) ? given[1].integer : -1;
  std::vector<Value> parts;
  KRASIS_CHECK(c.heap.spend(1 + text.size() / 16, text.size()));
  if (given[0].is_string()) {
    const std::string& separator = given[0].text();
    if (separator.empty()) return wrong("the separator of 'split' is empty");
    std::size_t at = 0;
    for (std::size_t found = 0; left != 0 && (found = text.find(separator, at)) != std::string::npos; --left) {
      KRASIS_CHECK(c.heap.spend(1));
      parts.push_back(string(std::string(text.substr(at, found - at))));
      at = found + separator.size();
    }
    parts.push_back(string(std::string(text.substr(at))));
  } else if (given[0].is(Kind::None) || given[0].is(Kind::Undefined)) {
    for (std::string_view rest = strip(text, true, false); !rest.empty(); rest = strip(rest, true, false), --left) {
      KRASIS_CHECK(c.heap.spend(1));
      if (left == 0) {
        parts.push_back(string(std::string(rest)));
        break;
      }
      std::size_t end = 0;  // of the word
      while (end < rest.size()) {
        const std::size_t bytes = next_utf8(rest.substr(end)).bytes;
        if (strip(rest.substr(end, bytes), true, false).empty()) break;
        end += bytes;
      }
      parts.push_back(string(std::string(rest.substr(0, end))));
      rest.remove_prefix(end);
    }
  } else {
    return wrong("the separator of 'split' is not a string");
  }
  return list(c.heap.list(std::move(parts)));
}

Expected<Value> begins_or_ends(const Call& c) {
  KRASIS_TRY(const std::string_view text, text_of(c));
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"prefix"}));
  const auto matches = [&](const Value& affix) {
    return c.name == "startswith" ? text.starts_with(affix.text()) : text.ends_with(affix.text());
  };
  if (given[0].is_string()) return boolean(matches(given[0]));
  if (!given[0].is(Kind::List) || !given[0].list->tuple)
    return wrong("'" + std::string(c.name) + "' needs a string or a tuple of strings");
  for (const Value& affix : given[0].list->items) {
    if (!affix.is_string()) return wrong("'" + std::string(c.name) + "' needs a string or a tuple of strings");
    if (matches(affix)) return boolean(true);
  }
  return boolean(false);
}

Expected<Value> strip_ends(const Call& c) {
  KRASIS_TRY(const std::string_view text, text_of(c));
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"chars"}));
  KRASIS_CHECK(c.heap.spend(1 + text.size() / 16, text.size()));
  const bool left = c.name != "rstrip", right = c.name != "lstrip";
  if (given[0].is_string()) return string(strip(text, given[0].text(), left, right));
  if (!given[0].is(Kind::None) && !given[0].is(Kind::Undefined))
    return wrong("'" + std::string(c.name) + "' needs a string");
  return string(std::string(strip(text, left, right)));
}

Expected<Value> replace_text(const Call& c) {
  KRASIS_CHECK(text_of(c));
  KRASIS_TRY(const auto given, bind<3>(c.name, c.arguments, {"old", "new", "count"}));
  if (!given[0].is_string() || !given[1].is_string()) return wrong("'replace' needs two strings");
  const std::int64_t count = given[2].is(Kind::Int) ? given[2].integer : -1;
  return replace(c.heap, c.input.text(), given[0].text(), given[1].text(), count);
}

Expected<Value> join_strings(const Call& c) {
  KRASIS_CHECK(text_of(c));
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"iterable"}));
  KRASIS_TRY(const std::vector<Value> items, iterate(c.heap, given[0]));
  return join(c.heap, c.input.text(), items, true);
}

Expected<Value> to_case(const Call& c) {
  KRASIS_TRY(const std::string_view text, text_of(c));
  KRASIS_CHECK(c.heap.spend(1 + text.size() / 16, text.size()));
  return string(change_case(text, c.name == "upper"));
}

// Of dictionaries

Expected<Value> get(const Call& c) {
  KRASIS_TRY(const auto given, bind<2>(c.name, c.arguments, {"key", "default"}));
  KRASIS_TRY(const Value found, get_item(c.heap, c.input, given[0]));
  if (!found.is(Kind::Undefined)) return found;
  return given[1].is(Kind::Undefined) ? none() : given[1];
}

Expected<Value> items_keys_or_values(const Call& c) {
  KRASIS_CHECK(c.heap.spend(c.input.dict->items.size()));
  std::vector<Value> items;
  for (const auto& [key, value] : c.input.dict->items) {
    if (c.name == "items") {
      items.push_back(list(c.heap.list({key, value}, true)));
    } else {
      items.push_back(c.name == "keys" ? key : value);
    }
  }
  return list(c.heap.list(std::move(items)));
}

// Functions

Expected<Value> range(const Call& c) {
  KRASIS_TRY(const auto given, bind<3>(c.name, c.arguments, {"start", "stop", "step"}));
  const std::size_t count = c.arguments.positional.size();
  if (count == 0 || !c.arguments.named.empty()) return wrong("'range' needs one to three integers");
  for (std::size_t i = 0; i < count; ++i)
    if (!given[i].is(Kind::Int) && !given[i].is(Kind::Bool)) return wrong("'range' needs integers");
  const std::int64_t start = count == 1 ? 0 : as_integer(given[0]);
  const std::int64_t stop = as_integer(given[count == 1 ? 0 : 1]);
  const std::int64_t step = count == 3 ? as_integer(given[2]) : 1;
  if (step == 0) return wrong("the step of 'range' is zero");
  std::vector<Value> items;
  for (std::int64_t i = start; step < 0 ? i > stop : i < stop;) {
    if (items.size() >= 100'000) return wrong("'range' gives 100,000 values at most");
    items.push_back(integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  KRASIS_CHECK(c.heap.spend(items.size()));
  return list(c.heap.list(std::move(items)));
}

Expected<Value> strftime_now(const Call& c) {
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"format"}));
  if (!given[0].is_string() || given[0].text().size() > 1000) return wrong("'strftime_now' needs a short format");
  const std::time_t time = c.now.value_or(std::time(nullptr));
  std::tm local{};
  localtime_r(&time, &local);
  std::array<char, 8192> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), given[0].text().c_str(), &local);
  KRASIS_CHECK(c.heap.spend(1, size));
  return string(replace_invalid_utf8(std::string_view(buffer.data(), size)));
}

Expected<Value> raise_exception(const Call& c) {
  KRASIS_TRY(const auto given, bind<1>(c.name, c.arguments, {"message"}));
  KRASIS_TRY(std::string reason, to_text(c.heap, given[0]));
  return wrong(std::move(reason));
}

Expected<Value> make_dict(const Call& c) {
  const Arguments& given = c.arguments;
  Dict* result = c.heap.dict();
  if (!given.positional.empty()) {
    if (given.positional.size() > 1 || !given.positional[0].is(Kind::Dict))
      return fail(ErrorCode::Unsupported, "'" + std::string(c.name) + "' of this value is not supported");
    result->items = given.positional[0].dict->items;
  }
  KRASIS_CHECK(c.heap.spend(result->items.size() + given.named.size()));
  for (const auto& [key, value] : given.named) result->set(key, value);
  return dict(result, c.name == "namespace" ? Kind::Namespace : Kind::Dict);
}

constexpr Builtin<Value> kStringMethods[] = {{"endswith", begins_or_ends},
                                             {"join", join_strings},
                                             {"lower", to_case, Takes::Nothing},
                                             {"lstrip", strip_ends},
                                             {"replace", replace_text},
                                             {"rstrip", strip_ends},
                                             {"split", split},
                                             {"startswith", begins_or_ends},
                                             {"strip", strip_ends},
                                             {"upper", to_case, Takes::Nothing}};

constexpr Builtin<Value> kDictMethods[] = {{"get", get},
                                           {"items", items_keys_or_values, Takes::Nothing},
                                           {"keys", items_keys_or_values, Takes::Nothing},
                                           {"values", items_keys_or_values, Takes::Nothing}};

constexpr Builtin<Value> kFunctions[] = {{"dict", make_dict},
                                         {"namespace", make_dict},
                                         {"raise_exception", raise_exception},
                                         {"range", range},
                                         {"strftime_now", strftime_now}};

}  // namespace

std::span<const Builtin<Value>> string_methods() { return kStringMethods; }
std::span<const Builtin<Value>> dict_methods() { return kDictMethods; }
std::span<const Builtin<Value>> functions() { return kFunctions; }

std::string change_case(std::string_view text, bool upper) {
  std::u32string characters = to_utf32(text);
  for (char32_t& c : characters) {
    const auto code_point = static_cast<utf8proc_int32_t>(c);
    c = static_cast<char32_t>(upper ? utf8proc_toupper(code_point) : utf8proc_tolower(code_point));
  }
  return to_utf8(characters);
}

Expected<Value> call_method(Heap& heap, std::string_view name, const Value& object, const Arguments& arguments) {
  if (object.is(Kind::Undefined)) return wrong(undefined_reason(object));
  const auto methods = object.is_string()       ? string_methods()
                       : object.is(Kind::Dict) ? dict_methods()
                                               : std::span<const Builtin<Value>>();
  if (find(methods, name)) return call(methods, {heap, name, object, arguments});
  return wrong("'" + type_name(object) + "' has no method '" + std::string(name) + "'");
}

}  // namespace krasis::jinja

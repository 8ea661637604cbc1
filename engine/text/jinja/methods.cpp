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

Expected<Value> split(Heap& heap, const std::string& text, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<2>("split", arguments, {"sep", "maxsplit"}));
  std::int64_t left = given[1].is(Kind::Int) ? given[1].integer : -1;
  std::vector<Value> parts;
  KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size()));
  if (given[0].is_string()) {
    const std::string& separator = given[0].text();
    if (separator.empty()) return wrong("the separator of 'split' is empty");
    std::size_t at = 0;
    for (std::size_t found = 0; left != 0 && (found = text.find(separator, at)) != std::string::npos; --left) {
      KRASIS_CHECK(heap.spend(1));
      parts.push_back(string(text.substr(at, found - at)));
      at = found + separator.size();
    }
    parts.push_back(string(text.substr(at)));
  } else if (given[0].is(Kind::None) || given[0].is(Kind::Undefined)) {
    for (std::string_view rest = strip(text, true, false); !rest.empty(); rest = strip(rest, true, false), --left) {
      KRASIS_CHECK(heap.spend(1));
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
  return list(heap.list(std::move(parts)));
}

Expected<Value> begins_or_ends(std::string_view name, const std::string& text, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<1>(name, arguments, {"prefix"}));
  const auto matches = [&](const Value& affix) {
    return name == "startswith" ? text.starts_with(affix.text()) : text.ends_with(affix.text());
  };
  if (given[0].is_string()) return boolean(matches(given[0]));
  if (!given[0].is(Kind::List) || !given[0].list->tuple)
    return wrong("'" + std::string(name) + "' needs a string or a tuple of strings");
  for (const Value& affix : given[0].list->items) {
    if (!affix.is_string()) return wrong("'" + std::string(name) + "' needs a string or a tuple of strings");
    if (matches(affix)) return boolean(true);
  }
  return boolean(false);
}

Expected<Value> string_method(Heap& heap, std::string_view name, const std::string& text, const Arguments& arguments) {
  KRASIS_CHECK(heap.spend(1 + text.size() / 64));
  if (name == "split") return split(heap, text, arguments);
  if (name == "startswith" || name == "endswith") return begins_or_ends(name, text, arguments);
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    KRASIS_TRY(const auto given, bind<1>(name, arguments, {"chars"}));
    KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size()));
    const bool left = name != "rstrip", right = name != "lstrip";
    if (given[0].is_string()) return string(strip(text, given[0].text(), left, right));
    if (!given[0].is(Kind::None) && !given[0].is(Kind::Undefined))
      return wrong("'" + std::string(name) + "' needs a string");
    return string(std::string(strip(text, left, right)));
  }
  if (name == "replace") {
    KRASIS_TRY(const auto given, bind<3>(name, arguments, {"old", "new", "count"}));
    if (!given[0].is_string() || !given[1].is_string()) return wrong("'replace' needs two strings");
    return replace(heap, text, given[0].text(), given[1].text(), given[2].is(Kind::Int) ? given[2].integer : -1);
  }
  if (name == "join") {
    KRASIS_TRY(const auto given, bind<1>(name, arguments, {"iterable"}));
    KRASIS_TRY(const std::vector<Value> items, iterate(heap, given[0]));
    return join(heap, text, items, true);
  }
  KRASIS_CHECK(expect_no_arguments(name, arguments));
  KRASIS_CHECK(heap.spend(1 + text.size() / 16, text.size()));
  return string(change_case(text, name == "upper"));
}

Expected<Value> dict_method(Heap& heap, std::string_view name, const Value& object, const Arguments& arguments) {
  if (name == "get") {
    KRASIS_TRY(const auto given, bind<2>(name, arguments, {"key", "default"}));
    KRASIS_TRY(const Value found, get_item(heap, object, given[0]));
    if (!found.is(Kind::Undefined)) return found;
    return given[1].is(Kind::Undefined) ? none() : given[1];
  }
  KRASIS_CHECK(expect_no_arguments(name, arguments));
  KRASIS_CHECK(heap.spend(object.dict->items.size()));
  std::vector<Value> items;
  for (const auto& [key, value] : object.dict->items) {
    if (name == "items") {
      items.push_back(list(heap.list({key, value}, true)));
    } else {
      items.push_back(name == "keys" ? key : value);
    }
  }
  return list(heap.list(std::move(items)));
}

Expected<Value> range(Heap& heap, const Arguments& arguments) {
  KRASIS_TRY(const auto given, bind<3>("range", arguments, {"start", "stop", "step"}));
  const std::size_t count = arguments.positional.size();
  if (count == 0 || !arguments.named.empty()) return wrong("'range' needs one to three integers");
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
  KRASIS_CHECK(heap.spend(items.size()));
  return list(heap.list(std::move(items)));
}

Expected<Value> strftime_now(Heap& heap, const Arguments& arguments, const std::optional<std::time_t>& now) {
  KRASIS_TRY(const auto given, bind<1>("strftime_now", arguments, {"format"}));
  if (!given[0].is_string() || given[0].text().size() > 1000) return wrong("'strftime_now' needs a short format");
  const std::time_t time = now.value_or(std::time(nullptr));
  std::tm local{};
  localtime_r(&time, &local);
  std::array<char, 8192> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), given[0].text().c_str(), &local);
  KRASIS_CHECK(heap.spend(1, size));
  return string(replace_invalid_utf8(std::string_view(buffer.data(), size)));
}

}  // namespace

std::string change_case(std::string_view text, bool upper) {
  std::u32string characters = to_utf32(text);
  for (char32_t& c : characters) {
    const auto code_point = static_cast<utf8proc_int32_t>(c);
    c = static_cast<char32_t>(upper ? utf8proc_toupper(code_point) : utf8proc_tolower(code_point));
  }
  return to_utf8(characters);
}

Expected<Value> call_method(Heap& heap, std::string_view name, const Value& object, const Arguments& arguments) {
  KRASIS_CHECK(heap.spend(1));
  if (object.is(Kind::Undefined)) return wrong(undefined_reason(object));
  if (object.is_string() && is_one_of(name, kStringMethods)) return string_method(heap, name, object.text(), arguments);
  if (object.is(Kind::Dict) && is_one_of(name, kDictMethods)) return dict_method(heap, name, object, arguments);
  return wrong("'" + type_name(object) + "' has no method '" + std::string(name) + "'");
}

Expected<Value> call_function(Heap& heap, std::string_view name, const Arguments& arguments,
                              const std::optional<std::time_t>& now) {
  KRASIS_CHECK(heap.spend(1));
  if (name == "range") return range(heap, arguments);
  if (name == "strftime_now") return strftime_now(heap, arguments, now);
  if (name == "raise_exception") {
    KRASIS_TRY(const auto given, bind<1>(name, arguments, {"message"}));
    KRASIS_TRY(std::string reason, to_text(heap, given[0]));
    return wrong(std::move(reason));
  }
  // namespace, dict
  Dict* result = heap.dict();
  if (!arguments.positional.empty()) {
    if (arguments.positional.size() > 1 || !arguments.positional[0].is(Kind::Dict))
      return fail(ErrorCode::Unsupported, "'" + std::string(name) + "' of this value is not supported");
    result->items = arguments.positional[0].dict->items;
  }
  KRASIS_CHECK(heap.spend(result->items.size() + arguments.named.size()));
  for (const auto& [key, value] : arguments.named) result->set(key, value);
  return dict(result, name == "namespace" ? Kind::Namespace : Kind::Dict);
}

}  // namespace krasis::jinja

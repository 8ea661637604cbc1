#include "engine/text/jinja/value.h"

#include <algorithm>

#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {
constexpr int kDeepest = 100;  // nesting of values that are compared or converted
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, v] : items)
    if (k.is_string() && k.text() == key) return &v;
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto& [k, v] : items) {
    if (k.is_string() && k.text() == key) {
      v = std::move(value);
      return;
    }
  }
  items.emplace_back(string(std::string(key)), std::move(value));
}

Expected<void> Heap::spend(std::size_t count, std::size_t bytes) {
  steps_ -= static_cast<std::int64_t>(std::min<std::size_t>(count, 1u << 30));
  if (steps_ < 0) return wrong("it needs too many steps");
  if (bytes > string_bytes_) return wrong("it makes too much text");
  string_bytes_ -= bytes;
  return {};
}

Value none() {
  Value value;
  value.kind = Kind::None;
  return value;
}
Value undefined(std::string what) {
  Value value;
  value.string = std::make_shared<const std::string>(std::move(what));
  return value;
}
Value boolean(bool b) {
  Value value;
  value.kind = Kind::Bool;
  value.boolean = b;
  return value;
}
Value integer(std::int64_t i) {
  Value value;
  value.kind = Kind::Int;
  value.integer = i;
  return value;
}
Value number(double d) {
  Value value;
  value.kind = Kind::Float;
  value.number = d;
  return value;
}
Value string(std::string text) {
  Value value;
  value.kind = Kind::String;
  value.string = std::make_shared<const std::string>(std::move(text));
  return value;
}
Value list(List* items) {
  Value value;
  value.kind = Kind::List;
  value.list = items;
  return value;
}
Value dict(Dict* items, Kind kind) {
  Value value;
  value.kind = kind;
  value.dict = items;
  return value;
}

tl::unexpected<Error> wrong(std::string reason) {
  return fail(ErrorCode::InvalidArgument, std::move(reason));
}

std::string type_name(const Value& value) {
  switch (value.kind) {
    case Kind::Undefined:
      return "Undefined";
    case Kind::None:
      return "NoneType";
    case Kind::Bool:
      return "bool";
    case Kind::Int:
      return "int";
    case Kind::Float:
      return "float";
    case Kind::String:
      return "str";
    case Kind::List:
      return value.list->tuple ? "tuple" : "list";
    case Kind::Dict:
      return "dict";
    case Kind::Namespace:
      return "namespace";
    case Kind::Loop:
      return "loop";
    case Kind::Macro:
      return "macro";
    case Kind::Function:
      return "function";
  }
  return "value";
}

Expected<Value> from_json(Heap& heap, const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > kDeepest) return wrong("the variables are nested too deeply");
  KRASIS_CHECK(heap.spend(1));
  switch (json.type()) {
    case Type::boolean:
      return boolean(json.get<bool>());
    case Type::number_integer:
      return integer(json.get<std::int64_t>());
    case Type::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) return wrong("an integer is too large");
      return integer(json.get<std::int64_t>());
    case Type::number_float:
      return number(json.get<double>());
    case Type::string:
      return string(replace_invalid_utf8(json.get_ref<const std::string&>()));
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) {
        KRASIS_TRY(Value value, from_json(heap, item, depth + 1));
        items.push_back(std::move(value));
      }
      return list(heap.list(std::move(items)));
    }
    case Type::object: {
      Dict* result = heap.dict();
      for (const auto& [key, item] : json.items()) {
        KRASIS_TRY(Value value, from_json(heap, item, depth + 1));
        result->items.emplace_back(string(key), std::move(value));
      }
      return dict(result);
    }
    default:
      return none();
  }
}

bool truth(const Value& value) {
  switch (value.kind) {
    case Kind::Undefined:
    case Kind::None:
      return false;
    case Kind::Bool:
      return value.boolean;
    case Kind::Int:
      return value.integer != 0;
    case Kind::Float:
      return value.number != 0.0;
    case Kind::String:
      return !value.text().empty();
    case Kind::List:
      return !value.list->items.empty();
    case Kind::Dict:
      return !value.dict->items.empty();
    default:
      return true;
  }
}

bool is_number(const Value& value) {
  return value.is(Kind::Bool) || value.is(Kind::Int) || value.is(Kind::Float);
}
double as_double(const Value& value) {
  return value.is(Kind::Float) ? value.number : static_cast<double>(as_integer(value));
}
std::int64_t as_integer(const Value& value) {
  return value.is(Kind::Bool) ? (value.boolean ? 1 : 0) : value.integer;
}

Expected<bool> equal(Heap& heap, const Value& a, const Value& b, int depth) {
  if (depth > kDeepest) return wrong("values are nested too deeply to be compared");
  KRASIS_CHECK(heap.spend(1));
  if (is_number(a) && is_number(b)) {
    if (a.is(Kind::Float) || b.is(Kind::Float)) return as_double(a) == as_double(b);
    return as_integer(a) == as_integer(b);
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::String:
      KRASIS_CHECK(heap.spend(std::min(a.text().size(), b.text().size()) / 64));
      return a.text() == b.text();
    case Kind::List: {
      if (a.list->items.size() != b.list->items.size() || a.list->tuple != b.list->tuple) return false;
      for (std::size_t i = 0; i < a.list->items.size(); ++i) {
        KRASIS_TRY(const bool same, equal(heap, a.list->items[i], b.list->items[i], depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case Kind::Dict: {
      if (a.dict->items.size() != b.dict->items.size()) return false;
      for (const auto& [key, value] : a.dict->items) {
        bool found = false;
        for (const auto& [other_key, other] : b.dict->items) {
          KRASIS_TRY(const bool same_key, equal(heap, key, other_key, depth + 1));
          if (!same_key) continue;
          KRASIS_TRY(found, equal(heap, value, other, depth + 1));
          break;
        }
        if (!found) return false;
      }
      return true;
    }
    case Kind::Undefined:
    case Kind::None:
      return true;
    case Kind::Namespace:
      return a.dict == b.dict;
    case Kind::Loop:
      return a.loop == b.loop;
    case Kind::Macro:
      return a.macro == b.macro;
    default:
      return a.string == b.string;
  }
}

Expected<bool> less(Heap& heap, const Value& a, const Value& b, int depth) {
  if (depth > kDeepest) return wrong("values are nested too deeply to be compared");
  KRASIS_CHECK(heap.spend(1));
  if (is_number(a) && is_number(b)) {
    if (a.is(Kind::Float) || b.is(Kind::Float)) return as_double(a) < as_double(b);
    return as_integer(a) < as_integer(b);
  }
  if (a.is_string() && b.is_string()) return a.text() < b.text();  // UTF-8 keeps the order of code points
  if (a.is(Kind::List) && b.is(Kind::List) && a.list->tuple == b.list->tuple) {
    const auto &x = a.list->items, &y = b.list->items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      KRASIS_TRY(const bool same, equal(heap, x[i], y[i], depth + 1));
      if (!same) return less(heap, x[i], y[i], depth + 1);
    }
    return x.size() < y.size();
  }
  for (const Value* value : {&a, &b})
    if (value->is(Kind::Undefined)) return wrong(value->string ? value->text() : "a value is undefined");
  return wrong("'" + type_name(a) + "' and '" + type_name(b) + "' have no order");
}

Expected<std::vector<Value>> iterate(Heap& heap, const Value& value) {
  std::vector<Value> items;
  switch (value.kind) {
    case Kind::Undefined:
      break;
    case Kind::List:
      items = value.list->items;
      break;
    case Kind::Dict:
      for (const auto& [key, item] : value.dict->items) items.push_back(key);
      break;
    case Kind::String:
      KRASIS_CHECK(heap.spend(value.text().size(), value.text().size()));
      for (std::string_view rest = value.text(); !rest.empty();) {
        const std::size_t bytes = next_utf8(rest).bytes;
        items.push_back(string(std::string(rest.substr(0, bytes))));
        rest.remove_prefix(bytes);
      }
      break;
    default:
      return wrong("'" + type_name(value) + "' cannot be iterated");
  }
  KRASIS_CHECK(heap.spend(items.size()));
  return items;
}

Expected<bool> contains(Heap& heap, const Value& haystack, const Value& needle) {
  if (haystack.is_string()) {
    if (!needle.is_string()) return wrong("'in' a string needs a string, not '" + type_name(needle) + "'");
    KRASIS_CHECK(heap.spend(1 + haystack.text().size() / 16));
    return haystack.text().find(needle.text()) != std::string::npos;
  }
  if (haystack.is(Kind::Undefined)) return false;
  if (!haystack.is(Kind::List) && !haystack.is(Kind::Dict))
    return wrong("'" + type_name(haystack) + "' cannot be searched");
  KRASIS_TRY(const auto items, iterate(heap, haystack));
  for (const Value& item : items) {
    KRASIS_TRY(const bool same, equal(heap, item, needle));
    if (same) return true;
  }
  return false;
}

}  // namespace krasis::jinja

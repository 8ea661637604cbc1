// Operators and access to parts of values.
#include <algorithm>
#include <cmath>

#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/builtins.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

tl::unexpected<Error> no_operator(std::string_view op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b})
    if (value->is(Kind::Undefined)) return wrong(undefined_reason(*value));
  return wrong("'" + type_name(a) + "' " + std::string(op) + " '" + type_name(b) + "' has no meaning");
}

Expected<Value> integer_arithmetic(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &result);
  if (op == "-") overflow = __builtin_sub_overflow(a, b, &result);
  if (op == "*") overflow = __builtin_mul_overflow(a, b, &result);
  if (op == "//" || op == "%") {
    if (b == 0) return wrong("a division by zero");
    if (b == -1) {  // INT64_MIN / -1 overflows
      overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
      if (op == "%") return integer(0);
    } else {
      const std::int64_t remainder = a % b;
      const bool adjust = remainder != 0 && ((remainder < 0) != (b < 0));  // Python rounds towards minus infinity
      result = op == "//" ? a / b - (adjust ? 1 : 0) : remainder + (adjust ? b : 0);
    }
  }
  if (overflow) return wrong("an integer of more than 64 bits");
  return integer(result);
}

Expected<Value> float_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return number(a + b);
  if (op == "-") return number(a - b);
  if (op == "*") return number(a * b);
  if (b == 0.0) return wrong("a division by zero");
  if (op == "/") return number(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0.0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == "%") return number(remainder);
  return number(std::floor((a - remainder) / b + 0.5));
}

Expected<Value> repeat(Heap& heap, const Value& sequence, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  const std::size_t size = sequence.is_string() ? sequence.text().size() : sequence.list->items.size();
  if (size != 0 && times > (std::size_t{1} << 31) / size) return wrong("it makes too much text");
  KRASIS_CHECK(heap.spend(1 + (sequence.is_string() ? 0 : size * times), sequence.is_string() ? size * times : 0));
  if (size == 0) return sequence;
  if (sequence.is_string()) {
    std::string text;
    text.reserve(size * times);
    for (std::size_t i = 0; i < times; ++i) text += sequence.text();
    return string(std::move(text));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; i < times; ++i)
    items.insert(items.end(), sequence.list->items.begin(), sequence.list->items.end());
  return list(heap.list(std::move(items), sequence.list->tuple));
}

std::size_t from_end(std::int64_t index, std::size_t size) {
  return static_cast<std::size_t>(index < 0 ? index + static_cast<std::int64_t>(size) : index);
}

}  // namespace

Expected<Value> binary(Heap& heap, std::string_view op, const Value& a, const Value& b) {
  if (op == "~") {
    KRASIS_TRY(const std::string left, to_text(heap, a));
    KRASIS_TRY(const std::string right, to_text(heap, b));
    KRASIS_CHECK(heap.spend(1, left.size() + right.size()));
    return string(left + right);
  }
  if (is_number(a) && is_number(b)) {
    if (op == "/") return float_arithmetic(op, as_double(a), as_double(b));
    if (a.is(Kind::Float) || b.is(Kind::Float)) return float_arithmetic(op, as_double(a), as_double(b));
    return integer_arithmetic(op, as_integer(a), as_integer(b));
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    KRASIS_CHECK(heap.spend(1, a.text().size() + b.text().size()));
    return string(a.text() + b.text());
  }
  if (op == "+" && a.is(Kind::List) && b.is(Kind::List) && a.list->tuple == b.list->tuple) {
    KRASIS_CHECK(heap.spend(a.list->items.size() + b.list->items.size()));
    std::vector<Value> items = a.list->items;
    items.insert(items.end(), b.list->items.begin(), b.list->items.end());
    return list(heap.list(std::move(items), a.list->tuple));
  }
  if (op == "*") {
    const bool a_sequence = a.is_string() || a.is(Kind::List), b_sequence = b.is_string() || b.is(Kind::List);
    if (a_sequence && (b.is(Kind::Int) || b.is(Kind::Bool))) return repeat(heap, a, as_integer(b));
    if (b_sequence && (a.is(Kind::Int) || a.is(Kind::Bool))) return repeat(heap, b, as_integer(a));
  }
  if (op == "%" && a.is_string()) return fail(ErrorCode::Unsupported, "formatting with % is not supported");
  return no_operator(op, a, b);
}

Expected<bool> compare(Heap& heap, std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(heap, a, b);
  if (op == "<") return less(heap, a, b);
  if (op == ">") return less(heap, b, a);
  if (op == "in") return contains(heap, b, a);
  bool opposite = false;
  if (op == "!=") {
    KRASIS_TRY(opposite, equal(heap, a, b));
  } else if (op == "not in") {
    KRASIS_TRY(opposite, contains(heap, b, a));
  } else {  // <= and >=; NaN has no place in templates
    KRASIS_TRY(opposite, op == "<=" ? less(heap, b, a) : less(heap, a, b));
  }
  return !opposite;
}

Expected<Value> get_attribute(Heap& heap, const Value& object, const std::string& name) {
  KRASIS_CHECK(heap.spend(1));
  const auto nothing = [&] { return undefined("'" + type_name(object) + " object' has no attribute '" + name + "'"); };
  switch (object.kind) {
    case Kind::Undefined:
      return wrong(undefined_reason(object));
    case Kind::Dict:
      if (find(dict_methods(), name))
        return fail(ErrorCode::Unsupported, "the method '" + name + "' without a call is not supported");
      [[fallthrough]];
    case Kind::Namespace: {
      KRASIS_CHECK(heap.spend(object.dict->items.size() / 8));
      const Value* found = object.dict->find(name);
      return found ? *found : nothing();
    }
    case Kind::Loop: {
      const auto size = static_cast<std::int64_t>(object.loop->items->size());
      const auto index = static_cast<std::int64_t>(object.loop->index);
      if (name == "index") return integer(index + 1);
      if (name == "index0") return integer(index);
      if (name == "first") return boolean(index == 0);
      if (name == "last") return boolean(index + 1 == size);
      if (name == "length") return integer(size);
      if (name == "revindex") return integer(size - index);
      if (name == "revindex0") return integer(size - index - 1);
      if (name == "previtem")
        return index > 0 ? (*object.loop->items)[object.loop->index - 1] : undefined("there is no previous item");
      if (name == "nextitem")
        return index + 1 < size ? (*object.loop->items)[object.loop->index + 1] : undefined("there is no next item");
      return fail(ErrorCode::Unsupported, "'loop." + name + "' is not supported");
    }
    default:
      return nothing();
  }
}

Expected<Value> get_item(Heap& heap, const Value& object, const Value& key) {
  KRASIS_CHECK(heap.spend(1));
  if (object.is(Kind::Undefined)) return wrong(undefined_reason(object));
  if (object.is(Kind::Dict)) {
    for (const auto& [k, value] : object.dict->items) {
      KRASIS_TRY(const bool same, equal(heap, k, key));
      if (same) return value;
    }
    if (key.is_string()) return undefined("'dict object' has no attribute '" + key.text() + "'");
    return undefined("a dictionary has no such key");
  }
  if ((object.is(Kind::List) || object.is_string()) && (key.is(Kind::Int) || key.is(Kind::Bool))) {
    const auto nothing = [&] { return undefined("'" + type_name(object) + "' has no such element"); };
    if (object.is(Kind::List)) {
      const std::size_t at = from_end(as_integer(key), object.list->items.size());
      return at < object.list->items.size() ? object.list->items[at] : nothing();
    }
    KRASIS_CHECK(heap.spend(object.text().size() / 16, object.text().size()));
    const std::u32string characters = to_utf32(object.text());
    const std::size_t at = from_end(as_integer(key), characters.size());
    return at < characters.size() ? string(to_utf8(std::u32string_view(characters).substr(at, 1))) : nothing();
  }
  if (key.is_string()) return get_attribute(heap, object, key.text());
  return undefined("'" + type_name(object) + "' has no such element");
}

Expected<Value> get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is(Kind::Undefined)) return wrong(undefined_reason(object));
  if (!object.is(Kind::List) && !object.is_string()) return wrong("'" + type_name(object) + "' cannot be sliced");
  for (const Value* bound : {&start, &stop, &step})
    if (!bound->is(Kind::None) && !bound->is(Kind::Int) && !bound->is(Kind::Bool))
      return wrong("the bounds of a slice must be integers");
  std::u32string characters;
  if (object.is_string()) {
    KRASIS_CHECK(heap.spend(object.text().size() / 16, object.text().size()));
    characters = to_utf32(object.text());
  }
  // PySlice_AdjustIndices.
  const auto size = static_cast<std::int64_t>(object.is_string() ? characters.size() : object.list->items.size());
  std::int64_t by = step.is(Kind::None) ? 1 : as_integer(step);
  if (by == 0) return wrong("the step of a slice is zero");
  by = std::clamp<std::int64_t>(by, -size - 1, size + 1);
  const auto adjusted = [&](const Value& bound, std::int64_t absent) {
    if (bound.is(Kind::None)) return absent;
    std::int64_t at = as_integer(bound);
    if (at < 0) at = at < -size ? -1 - size : at;
    if (at < 0) at += size;
    return std::clamp<std::int64_t>(at, by < 0 ? -1 : 0, by < 0 ? size - 1 : size);
  };
  const std::int64_t first = adjusted(start, by < 0 ? size - 1 : 0);
  const std::int64_t end = adjusted(stop, by < 0 ? -1 : size);
  std::vector<Value> items;
  std::u32string text;
  for (std::int64_t i = first; by < 0 ? i > end : i < end; i += by) {
    KRASIS_CHECK(heap.spend(1));
    if (object.is_string()) {
      text += characters[static_cast<std::size_t>(i)];
    } else {
      items.push_back(object.list->items[static_cast<std::size_t>(i)]);
    }
  }
  if (object.is_string()) return string(to_utf8(text));
  return list(heap.list(std::move(items), object.list->tuple));
}

}  // namespace krasis::jinja

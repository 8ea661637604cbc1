// Values as text: Python's str(), repr() and json.dumps().
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "engine/text/jinja/value.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

constexpr int kDeepest = 100;

std::string hex(char32_t code_point, std::size_t digits) {
  std::string out(digits, '0');
  for (std::size_t i = digits; i-- > 0; code_point >>= 4) out[i] = "0123456789abcdef"[code_point & 15u];
  return out;
}

/// Python's repr of a float: the fewest digits that read back the same, without exponent from 1e-4 up to 1e16.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  std::string text(buffer.data(), end);
  std::string sign;
  if (text.front() == '-') sign = "-", text.erase(0, 1);
  const std::size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  std::string digits = text.substr(0, e);
  std::erase(digits, '.');
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "");
    const std::string power = std::to_string(std::abs(exponent));
    return sign + mantissa + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return sign + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<std::size_t>(exponent + 1)) + "." +
         digits.substr(static_cast<std::size_t>(exponent + 1));
}

bool printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string string_repr(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char32_t c : to_utf32(text)) {
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (printable(c)) {
      append_utf8(out, c);
    } else {
      out += c < 0x100 ? "\\x" + hex(c, 2) : c < 0x10000 ? "\\u" + hex(c, 4) : "\\U" + hex(c, 8);
    }
  }
  return out + quote;
}

Expected<void> repr(Heap& heap, const Value& value, std::string& out, int depth) {
  if (depth > kDeepest) return wrong("a value is nested too deeply to be printed");
  const std::size_t before = out.size();
  switch (value.kind) {
    case Kind::Undefined:
      out += "Undefined";
      break;
    case Kind::None:
      out += "None";
      break;
    case Kind::Bool:
      out += value.boolean ? "True" : "False";
      break;
    case Kind::Int:
      out += std::to_string(value.integer);
      break;
    case Kind::Float:
      out += float_text(value.number);
      break;
    case Kind::String:
      out += string_repr(value.text());
      break;
    case Kind::List: {
      out += value.list->tuple ? '(' : '[';
      for (std::size_t i = 0; i < value.list->items.size(); ++i) {
        if (i > 0) out += ", ";
        KRASIS_CHECK(repr(heap, value.list->items[i], out, depth + 1));
      }
      if (value.list->tuple && value.list->items.size() == 1) out += ',';
      out += value.list->tuple ? ')' : ']';
      return heap.spend(1, 2);
    }
    case Kind::Dict: {
      out += '{';
      for (std::size_t i = 0; i < value.dict->items.size(); ++i) {
        if (i > 0) out += ", ";
        KRASIS_CHECK(repr(heap, value.dict->items[i].first, out, depth + 1));
        out += ": ";
        KRASIS_CHECK(repr(heap, value.dict->items[i].second, out, depth + 1));
      }
      out += '}';
      return heap.spend(1, 2);
    }
    default:
      return wrong("a " + type_name(value) + " cannot be printed");
  }
  return heap.spend(1, out.size() - before);
}

std::string json_string(const std::string& text, bool ensure_ascii) {
  std::string out = "\"";
  for (const char32_t c : to_utf32(text)) {
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      default:
        break;
    }
    if (c < 0x20 || (ensure_ascii && c >= 0x7f && c < 0x10000)) {
      if (c == 0x7f) {
        out += '\x7f';
      } else {
        out += "\\u" + hex(c, 4);
      }
    } else if (ensure_ascii && c >= 0x10000) {
      out += "\\u" + hex(0xd800u + ((c - 0x10000u) >> 10), 4) + "\\u" + hex(0xdc00u + ((c - 0x10000u) & 0x3ffu), 4);
    } else {
      append_utf8(out, c);
    }
  }
  return out + '"';
}

std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_text(value);
}

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style) : heap_(heap), style_(style) {}

  Expected<void> write(const Value& value, int depth) {
    if (depth > kDeepest) return wrong("a value is nested too deeply for JSON");
    const std::size_t before = out.size();
    switch (value.kind) {
      case Kind::None:
        out += "null";
        break;
      case Kind::Bool:
        out += value.boolean ? "true" : "false";
        break;
      case Kind::Int:
        out += std::to_string(value.integer);
        break;
      case Kind::Float:
        out += json_number(value.number);
        break;
      case Kind::String:
        out += json_string(value.text(), style_.ensure_ascii);
        break;
      case Kind::List:
        return sequence('[', ']', value.list->items.size(), depth,
                        [&](std::size_t i) { return write(value.list->items[i], depth + 1); });
      case Kind::Dict: {
        std::vector<const std::pair<Value, Value>*> entries;
        for (const auto& entry : value.dict->items) entries.push_back(&entry);
        if (style_.sort_keys) {
          for (const auto* entry : entries)
            if (!entry->first.is_string()) return wrong("only dictionaries with strings as keys can be sorted");
          std::stable_sort(entries.begin(), entries.end(),
                           [](const auto* a, const auto* b) { return a->first.text() < b->first.text(); });
        }
        return sequence('{', '}', entries.size(), depth, [&](std::size_t i) -> Expected<void> {
          KRASIS_CHECK(key(entries[i]->first));
          out += style_.key_separator;
          return write(entries[i]->second, depth + 1);
        });
      }
      default:
        return wrong("a value of type '" + type_name(value) + "' cannot be written as JSON");
    }
    return heap_.spend(1, out.size() - before);
  }

  std::string out;

 private:
  Expected<void> key(const Value& value) {
    switch (value.kind) {
      case Kind::String:
        out += json_string(value.text(), style_.ensure_ascii);
        return {};
      case Kind::None:
        out += "\"null\"";
        return {};
      case Kind::Bool:
        out += value.boolean ? "\"true\"" : "\"false\"";
        return {};
      case Kind::Int:
        out += '"' + std::to_string(value.integer) + '"';
        return {};
      case Kind::Float:
        out += '"' + json_number(value.number) + '"';
        return {};
      default:
        return wrong("a key of type '" + type_name(value) + "' cannot be written as JSON");
    }
  }

  template <class Item>
  Expected<void> sequence(char open, char close, std::size_t count, int depth, const Item& item) {
    out += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += style_.item_separator;
      KRASIS_CHECK(line_break(depth + 1));
      KRASIS_CHECK(item(i));
    }
    if (count > 0) KRASIS_CHECK(line_break(depth));
    out += close;
    return heap_.spend(1, 2 + count * style_.item_separator.size());
  }

  Expected<void> line_break(int depth) {
    if (!style_.multiline) return {};
    out += '\n';
    for (int i = 0; i < depth; ++i) out += style_.indent;
    return heap_.spend(1, static_cast<std::size_t>(depth) * style_.indent.size());
  }

  Heap& heap_;
  const JsonStyle& style_;
};

}  // namespace

Expected<std::string> to_text(Heap& heap, const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is(Kind::Undefined)) return std::string();
  std::string out;
  KRASIS_CHECK(repr(heap, value, out, 0));
  return out;
}

Expected<std::string> to_json(Heap& heap, const Value& value, const JsonStyle& style) {
  JsonWriter writer(heap, style);
  KRASIS_CHECK(writer.write(value, 0));
  return std::move(writer.out);
}

}  // namespace krasis::jinja

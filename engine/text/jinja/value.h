#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace krasis::jinja {

struct List;
struct Dict;
struct Loop;
struct Statement;

enum class Kind : std::uint8_t {
  Undefined,
  None,
  Bool,
  Int,
  Float,
  String,
  List,
  Dict,
  Namespace,
  Loop,
  Macro,
  Function
};

/// A value of a template. Lists and dictionaries are owned by the rendering's Heap; copies share them.
struct Value {
  Kind kind = Kind::Undefined;
  union {
    bool boolean;
    std::int64_t integer = 0;
    double number;
    List* list;              ///< List
    Dict* dict;              ///< Dict, Namespace
    const Loop* loop;        ///< Loop
    const Statement* macro;  ///< Macro
  };
  /// String: the text. Undefined: what is undefined, as a sentence. Function: its name.
  std::shared_ptr<const std::string> string;

  bool is(Kind other) const { return kind == other; }
  bool is_string() const { return kind == Kind::String; }
  const std::string& text() const { return *string; }
};

struct List {
  std::vector<Value> items;
  bool tuple = false;  ///< printed with round brackets
};

/// In the order of insertion. Looked up linearly: what templates see has few keys.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

/// What `loop` shows inside a for.
struct Loop {
  const std::vector<Value>* items = nullptr;
  std::size_t index = 0;
};

/// Owns the lists and dictionaries of one rendering (values may refer to each other in circles), and counts its work.
class Heap {
 public:
  Heap(std::int64_t steps, std::size_t string_bytes) : steps_(steps), string_bytes_(string_bytes) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  List* list(std::vector<Value> items, bool tuple = false) {
    return &lists_.emplace_back(List{std::move(items), tuple});
  }
  Dict* dict() { return &dicts_.emplace_back(); }
  /// Takes `count` from the steps and `bytes` from the bytes of strings. InvalidArgument when none are left.
  Expected<void> spend(std::size_t count, std::size_t bytes = 0);

 private:
  std::int64_t steps_;
  std::size_t string_bytes_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
};

Value none();
Value undefined(std::string what);
Value boolean(bool value);
Value integer(std::int64_t value);
Value number(double value);
Value string(std::string text);
Value list(List* items);
Value dict(Dict* items, Kind kind = Kind::Dict);

/// An error of the template at run time; the renderer adds the place.
tl::unexpected<Error> wrong(std::string reason);
/// Python's name of the type: "int", "str", ...
std::string type_name(const Value& value);

/// Values from JSON. InvalidArgument if nested too deeply.
Expected<Value> from_json(Heap& heap, const nlohmann::ordered_json& json, int depth = 0);

bool truth(const Value& value);
bool is_number(const Value& value);  ///< int, float or bool
double as_double(const Value& value);
std::int64_t as_integer(const Value& value);  ///< of int or bool

/// Python's str(): what {{ }} prints. An undefined value is nothing.
Expected<std::string> to_text(Heap& heap, const Value& value);
/// Python's ==.
Expected<bool> equal(Heap& heap, const Value& a, const Value& b, int depth = 0);
/// Python's a < b; an error if the types have no order.
Expected<bool> less(Heap& heap, const Value& a, const Value& b, int depth = 0);
/// The values that `for` goes through: items of a list, keys, characters. An error for what has none.
Expected<std::vector<Value>> iterate(Heap& heap, const Value& value);
/// Python's `needle in haystack`.
Expected<bool> contains(Heap& heap, const Value& haystack, const Value& needle);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool multiline = false;
  std::string indent;  ///< of one level, if multiline
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
/// Python's json.dumps.
Expected<std::string> to_json(Heap& heap, const Value& value, const JsonStyle& style);

}  // namespace krasis::jinja

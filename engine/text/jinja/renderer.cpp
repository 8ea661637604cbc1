#include <algorithm>
#include <array>

#include "engine/text/jinja/ast.h"
#include "engine/text/jinja/builtins.h"
#include "engine/text/jinja/jinja.h"

namespace krasis::jinja {

namespace {

constexpr int kDeepest = 500;  // nested evaluations, over macro calls too
constexpr const char* kRefused = "The chat template refuses this conversation: ";

enum class Flow { Go, Break, Continue };

/// Variables by name. Scope 0 holds what the caller gave and the functions, scope 1 what the template sets at its top.
using Scope = std::vector<std::pair<std::string, Value>>;

class Renderer {
 public:
  Renderer(const Template& parsed, const Limits& limits)
      : template_(parsed), limits_(limits), heap_(limits.steps, limits.string_bytes) {}

  Expected<std::string> run(const nlohmann::ordered_json& variables) {
    scopes_.resize(2);
    for (const Builtin<Value>& builtin : functions()) {
      Value function;
      function.kind = Kind::Function;
      function.string = std::make_shared<const std::string>(builtin.name);
      scopes_[0].emplace_back(builtin.name, std::move(function));
    }
    for (const auto& [name, json] : variables.items()) {
      auto value = from_json(heap_, json);
      if (!value) return at(0, value.error());
      scopes_[0].emplace_back(name, std::move(*value));
    }
    std::string out;
    out_ = &out;
    KRASIS_TRY([[maybe_unused]] const Flow flow, execute(template_.body));
    return out;
  }

 private:
  /// An error with its place, unless it has one already (errors with a place have a remedy).
  tl::unexpected<Error> at(std::size_t offset, const Error& error) const {
    if (!error.remedy.empty()) return tl::unexpected(error);
    return fail(error.code, "The chat template fails at " + place(template_.source, offset) + ": " + error.cause + ".",
                "Check the conversation and the variables, or choose another template.");
  }
  template <class T>
  Expected<T> placed(std::size_t offset, Expected<T> result) const {
    if (!result) return at(offset, result.error());
    return result;
  }

  Expected<void> write(std::size_t offset, const std::string& text) {
    if (auto spent = heap_.spend(1, text.size()); !spent) return at(offset, spent.error());
    if (out_->size() + text.size() > limits_.output_bytes)
      return at(offset, Error{ErrorCode::InvalidArgument, "it makes too much text", {}});
    *out_ += text;
    return {};
  }

  // Variables

  const Value* find(const std::string& name) const {
    const auto in = [&](const Scope& scope) -> const Value* {
      for (auto entry = scope.rbegin(); entry != scope.rend(); ++entry)
        if (entry->first == name) return &entry->second;
      return nullptr;
    };
    for (std::size_t i = scopes_.size(); i > frame_; --i)
      if (const Value* found = in(scopes_[i - 1])) return found;
    for (const std::size_t i : {1, 0})
      if (const Value* found = in(scopes_[i])) return found;
    return nullptr;
  }

  void set(const std::string& name, Value value) {
    for (auto& [known, old] : scopes_.back()) {
      if (known == name) {
        old = std::move(value);
        return;
      }
    }
    scopes_.back().emplace_back(name, std::move(value));
  }

  Expected<void> assign(const Statement& s, Value value) {
    if (!s.unpack) {
      set(s.names[0], std::move(value));
      return {};
    }
    auto items = iterate(heap_, value);
    if (!items) return at(s.offset, items.error());
    if (items->size() != s.names.size())
      return at(s.offset,
                Error{ErrorCode::InvalidArgument,
                      std::to_string(items->size()) + " values for " + std::to_string(s.names.size()) + " names",
                      {}});
    for (std::size_t i = 0; i < s.names.size(); ++i) set(s.names[i], (*items)[i]);
    return {};
  }

  // Statements

  Expected<Flow> execute(const Body& body) {
    for (const Statement& s : body) {
      if (auto spent = heap_.spend(1); !spent) return at(s.offset, spent.error());
      KRASIS_TRY(const Flow flow, execute(s));
      if (flow != Flow::Go) return flow;
    }
    return Flow::Go;
  }

  Expected<Flow> execute(const Statement& s) {
    switch (s.act) {
      case Act::Text:
        KRASIS_CHECK(write(s.offset, s.text));
        return Flow::Go;
      case Act::Print:
        return print(s);
      case Act::If:
        return execute_if(s);
      case Act::For:
        return execute_for(s);
      case Act::Set: {
        KRASIS_TRY(Value value, evaluate(*s.expressions[0]));
        KRASIS_CHECK(assign(s, std::move(value)));
        return Flow::Go;
      }
      case Act::SetBlock:
        return execute_set_block(s);
      case Act::SetAttribute:
        return execute_set_attribute(s);
      case Act::Macro: {
        Value macro;
        macro.kind = Kind::Macro;
        macro.macro = &s;
        set(s.text, std::move(macro));
        return Flow::Go;
      }
      case Act::Break:
        return Flow::Break;
      case Act::Continue:
        return Flow::Continue;
    }
    return Flow::Go;
  }

  Expected<Flow> print(const Statement& s) {
    KRASIS_TRY(const Value value, evaluate(*s.expressions[0]));
    KRASIS_TRY(const std::string text, placed(s.offset, to_text(heap_, value)));
    KRASIS_CHECK(write(s.offset, text));
    return Flow::Go;
  }

  Expected<Flow> execute_if(const Statement& s) {
    for (std::size_t i = 0; i < s.expressions.size(); ++i) {
      KRASIS_TRY(const Value condition, evaluate(*s.expressions[i]));
      if (truth(condition)) return execute(s.bodies[i]);
    }
    return execute(s.bodies.back());
  }

  Expected<Flow> execute_for(const Statement& s) {
    KRASIS_TRY(const Value iterable, evaluate(*s.expressions[0]));
    KRASIS_TRY(std::vector<Value> items, placed(s.offset, iterate(heap_, iterable)));
    const std::size_t scope = scopes_.size();
    if (s.expressions[1]) {
      std::vector<Value> kept;
      for (Value& item : items) {
        scopes_.resize(scope);
        scopes_.emplace_back();
        KRASIS_CHECK(assign(s, item));
        KRASIS_TRY(const Value condition, evaluate(*s.expressions[1]));
        if (truth(condition)) kept.push_back(std::move(item));
      }
      scopes_.resize(scope);
      items = std::move(kept);
    }
    if (items.empty()) {
      scopes_.emplace_back();
      KRASIS_TRY(const Flow flow, execute(s.bodies[1]));
      scopes_.resize(scope);
      return flow;
    }
    Loop loop{&items, 0};
    Value loop_value;
    loop_value.kind = Kind::Loop;
    loop_value.loop = &loop;
    for (; loop.index < items.size(); ++loop.index) {
      scopes_.resize(scope);
      scopes_.emplace_back();
      set("loop", loop_value);
      KRASIS_CHECK(assign(s, items[loop.index]));
      KRASIS_TRY(const Flow flow, execute(s.bodies[0]));
      if (flow == Flow::Break) break;
    }
    scopes_.resize(scope);
    return Flow::Go;
  }

  Expected<std::string> capture(const Body& body) {
    std::string captured;
    std::string* const outer = out_;
    out_ = &captured;
    auto flow = execute(body);
    out_ = outer;
    if (!flow) return tl::unexpected(flow.error());
    return captured;
  }

  Expected<Flow> execute_set_block(const Statement& s) {
    const std::size_t scope = scopes_.size();
    scopes_.emplace_back();
    KRASIS_TRY(std::string text, capture(s.bodies[0]));
    scopes_.resize(scope);
    set(s.names[0], string(std::move(text)));
    return Flow::Go;
  }

  Expected<Flow> execute_set_attribute(const Statement& s) {
    KRASIS_TRY(Value value, evaluate(*s.expressions[0]));
    const Value* target = find(s.names[0]);
    if (!target || !target->is(Kind::Namespace))
      return at(s.offset, Error{ErrorCode::InvalidArgument, "'" + s.names[0] + "' is not a namespace", {}});
    if (value.is(Kind::Loop))  // it would outlive its loop
      return at(s.offset, Error{ErrorCode::Unsupported, "keeping 'loop' in a namespace is not supported", {}});
    if (auto spent = heap_.spend(1 + target->dict->items.size() / 8); !spent) return at(s.offset, spent.error());
    target->dict->set(s.text, std::move(value));
    return Flow::Go;
  }

  // Expressions

  class Depth {
   public:
    explicit Depth(int& depth) : depth_(depth) { ++depth_; }
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    int& depth_;
  };

  Expected<Value> evaluate(const Expression& e) {
    const Depth depth(depth_);
    if (depth_ > kDeepest) return at(e.offset, Error{ErrorCode::InvalidArgument, "it calls itself too deeply", {}});
    if (auto spent = heap_.spend(1); !spent) return at(e.offset, spent.error());
    switch (e.op) {
      case Op::Constant:
        return e.value;
      case Op::Name: {
        const Value* found = find(e.name);
        return found ? *found : undefined("'" + e.name + "' is undefined");
      }
      case Op::ListLiteral:
      case Op::TupleLiteral:
        return list_literal(e);
      case Op::DictLiteral:
        return dict_literal(e);
      case Op::And:
      case Op::Or: {
        KRASIS_TRY(Value left, evaluate(*e.children[0]));
        return truth(left) == (e.op == Op::And) ? evaluate(*e.children[1]) : Expected<Value>(std::move(left));
      }
      case Op::If:
        return conditional(e);
      case Op::Compare:
        return comparison(e);
      case Op::Call:
      case Op::Method:
      case Op::Filter:
      case Op::Test:
        return application(e);
      default:
        return operation(e);
    }
  }

  /// Operators on values that need nothing but the values of their operands.
  Expected<Value> operation(const Expression& e) {
    std::array<Value, 4> operands{none(), none(), none(), none()};
    for (std::size_t i = 0; i < e.children.size(); ++i) {
      if (!e.children[i]) continue;
      KRASIS_TRY(operands[i], evaluate(*e.children[i]));
    }
    switch (e.op) {
      case Op::Attribute:
        return placed(e.offset, get_attribute(heap_, operands[0], e.name));
      case Op::Item:
        return placed(e.offset, get_item(heap_, operands[0], operands[1]));
      case Op::Slice:
        return placed(e.offset, get_slice(heap_, operands[0], operands[1], operands[2], operands[3]));
      case Op::Not:
        return boolean(!truth(operands[0]));
      case Op::Negate:
      case Op::Plus: {
        if (is_number(operands[0]))
          return placed(e.offset, binary(heap_, "*", operands[0], integer(e.op == Op::Negate ? -1 : 1)));
        return at(e.offset, Error{ErrorCode::InvalidArgument, "'" + type_name(operands[0]) + "' has no sign", {}});
      }
      default:
        return placed(e.offset, binary(heap_, e.name, operands[0], operands[1]));
    }
  }

  Expected<Value> list_literal(const Expression& e) {
    std::vector<Value> items;
    for (const ExpressionPtr& child : e.children) {
      KRASIS_TRY(Value item, evaluate(*child));
      if (item.is(Kind::Loop))
        return at(e.offset, Error{ErrorCode::Unsupported, "keeping 'loop' in a list is not supported", {}});
      items.push_back(std::move(item));
    }
    return list(heap_.list(std::move(items), e.op == Op::TupleLiteral));
  }

  Expected<Value> dict_literal(const Expression& e) {
    Dict* result = heap_.dict();
    for (std::size_t i = 0; i < e.children.size(); i += 2) {
      KRASIS_TRY(Value key, evaluate(*e.children[i]));
      KRASIS_TRY(Value value, evaluate(*e.children[i + 1]));
      if (key.is(Kind::List) || key.is(Kind::Dict) || value.is(Kind::Loop))
        return at(e.offset, Error{ErrorCode::InvalidArgument, "a value cannot be in a dictionary", {}});
      bool replaced = false;
      for (auto& [known, old] : result->items) {
        KRASIS_TRY(const bool same, placed(e.offset, equal(heap_, known, key)));
        if (!same) continue;
        old = value;
        replaced = true;
        break;
      }
      if (!replaced) result->items.emplace_back(std::move(key), std::move(value));
    }
    return dict(result);
  }

  Expected<Value> conditional(const Expression& e) {
    KRASIS_TRY(const Value condition, evaluate(*e.children[0]));
    if (truth(condition)) return evaluate(*e.children[1]);
    if (e.children[2]) return evaluate(*e.children[2]);
    return undefined("an inline 'if' without 'else' has no value");
  }

  Expected<Value> comparison(const Expression& e) {
    KRASIS_TRY(Value left, evaluate(*e.children[0]));
    for (std::size_t i = 0; i < e.operators.size(); ++i) {
      KRASIS_TRY(Value right, evaluate(*e.children[i + 1]));
      KRASIS_TRY(const bool holds, placed(e.offset, compare(heap_, e.operators[i], left, right)));
      if (!holds) return boolean(false);
      left = std::move(right);
    }
    return boolean(true);
  }

  Expected<Value> application(const Expression& e) {
    KRASIS_TRY(const Value subject, evaluate(*e.children[0]));
    Arguments arguments;
    for (std::size_t i = 1; i < e.children.size(); ++i) {
      KRASIS_TRY(Value value, evaluate(*e.children[i]));
      arguments.positional.push_back(std::move(value));
    }
    for (const auto& [name, expression] : e.named) {
      KRASIS_TRY(Value value, evaluate(*expression));
      if (value.is(Kind::Loop))
        return at(e.offset, Error{ErrorCode::Unsupported, "passing on 'loop' is not supported", {}});
      arguments.named.emplace_back(name, std::move(value));
    }
    if (e.op == Op::Filter) return placed(e.offset, call(filters(), {heap_, e.name, subject, arguments}));
    if (e.op == Op::Method) return placed(e.offset, call_method(heap_, e.name, subject, arguments));
    if (e.op == Op::Test) {
      KRASIS_TRY(const bool holds, placed(e.offset, call(tests(), {heap_, e.name, subject, arguments})));
      return boolean(holds);
    }
    if (subject.is(Kind::Macro)) return call_macro(*subject.macro, arguments, e.offset);
    if (subject.is(Kind::Function)) {
      auto result = call(functions(), {heap_, subject.text(), subject, arguments, limits_.now});
      if (!result && subject.text() == "raise_exception" && result.error().code == ErrorCode::InvalidArgument)
        return fail(ErrorCode::InvalidArgument, kRefused + result.error().cause,
                    "Change the conversation as the template asks.");
      return placed(e.offset, std::move(result));
    }
    if (subject.is(Kind::Undefined)) return at(e.offset, Error{ErrorCode::InvalidArgument, subject.text(), {}});
    return at(e.offset, Error{ErrorCode::InvalidArgument, "'" + type_name(subject) + "' cannot be called", {}});
  }

  Expected<Value> call_macro(const Statement& macro, const Arguments& arguments, std::size_t offset) {
    const auto refuse = [&](const std::string& reason) {
      return at(offset, Error{ErrorCode::InvalidArgument, "the macro '" + macro.text + "' " + reason, {}});
    };
    const std::size_t count = macro.names.size();
    if (arguments.positional.size() > count) return refuse("has too many arguments");
    Scope scope;
    for (std::size_t i = 0; i < arguments.positional.size(); ++i)
      scope.emplace_back(macro.names[i], arguments.positional[i]);
    for (const auto& [name, value] : arguments.named) {
      if (std::find(macro.names.begin(), macro.names.end(), name) == macro.names.end())
        return refuse("has no argument '" + name + "'");
      for (const auto& [known, old] : scope)
        if (known == name) return refuse("gets '" + name + "' twice");
      scope.emplace_back(name, value);
    }
    const std::size_t depth = scopes_.size();
    const std::size_t frame = std::exchange(frame_, depth);
    const std::vector<std::string> given = [&] {
      std::vector<std::string> names;
      for (const auto& [name, value] : scope) names.push_back(name);
      return names;
    }();
    scopes_.push_back(std::move(scope));
    auto text = [&]() -> Expected<std::string> {
      for (std::size_t i = 0; i < count; ++i) {
        if (std::find(given.begin(), given.end(), macro.names[i]) != given.end()) continue;
        Value value = undefined("parameter '" + macro.names[i] + "' was not provided");
        if (macro.expressions[i]) {
          KRASIS_TRY(value, evaluate(*macro.expressions[i]));
        }
        set(macro.names[i], std::move(value));
      }
      return capture(macro.bodies[0]);
    }();
    scopes_.resize(depth);
    frame_ = frame;
    if (!text) return tl::unexpected(text.error());
    return string(std::move(*text));
  }

  const Template& template_;
  const Limits& limits_;
  Heap heap_;
  std::vector<Scope> scopes_;
  std::size_t frame_ = 2;  // scopes from here on belong to the current macro (or to the template)
  std::string* out_ = nullptr;
  int depth_ = 0;
};

}  // namespace

Expected<std::string> render(const Template& parsed, const nlohmann::ordered_json& variables,
                             const Limits& limits) {
  if (!variables.is_object())
    return fail(ErrorCode::InvalidArgument, "The variables of a chat template are not an object.", "Give an object.");
  return Renderer(parsed, limits).run(variables);
}

}  // namespace krasis::jinja

#include "engine/text/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/text/jinja/builtins.h"

namespace krasis::jinja {

bool ExpressionParser::take_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  advance();
  return true;
}

bool ExpressionParser::take_name(std::string_view text) {
  if (!is_name(text)) return false;
  advance();
  return true;
}

Expected<void> ExpressionParser::expect_operator(std::string_view text) {
  if (take_operator(text)) return {};
  return syntax_error(source_, token().offset, "expected '" + std::string(text) + "'");
}

tl::unexpected<Error> ExpressionParser::unexpected() const {
  const Token& t = token();
  const bool ends = t.kind == TokenKind::PrintEnd || t.kind == TokenKind::BlockEnd || t.kind == TokenKind::End;
  return syntax_error(source_, t.offset, ends ? "an expression is missing" : "unexpected '" + t.text + "'");
}

Expected<ExpressionPtr> ExpressionParser::finish(ExpressionPtr expression) const {
  int deepest = 0;
  for (const auto& child : expression->children)
    if (child) deepest = std::max(deepest, child->depth);
  for (const auto& [name, child] : expression->named) deepest = std::max(deepest, child->depth);
  expression->depth = deepest + 1;
  if (expression->depth > kDeepest) return unsupported(source_, expression->offset, "an expression nested this deeply");
  return expression;
}

Expected<ExpressionPtr> ExpressionParser::parse_expression() {
  const Nesting nesting(depth_);
  if (depth_ > kDeepest) return unsupported(source_, token().offset, "an expression nested this deeply");
  return parse_conditional();
}

Expected<ExpressionPtr> ExpressionParser::parse_tuple(bool conditional) {
  const std::size_t offset = token().offset;
  KRASIS_TRY(ExpressionPtr first, conditional ? parse_expression() : parse_or());
  if (!is_operator(",")) return first;
  KRASIS_TRY(ExpressionPtr tuple, node(Op::TupleLiteral, offset, "", std::move(first)));
  while (take_operator(",")) {
    const TokenKind kind = token().kind;
    if (kind == TokenKind::PrintEnd || kind == TokenKind::BlockEnd || is_operator(")")) break;
    KRASIS_TRY(ExpressionPtr item, conditional ? parse_expression() : parse_or());
    tuple->children.push_back(std::move(item));
  }
  return finish(std::move(tuple));
}

Expected<ExpressionPtr> ExpressionParser::parse_conditional() {
  const std::size_t offset = token().offset;
  KRASIS_TRY(ExpressionPtr value, parse_or());
  while (take_name("if")) {
    KRASIS_TRY(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (take_name("else")) {
      KRASIS_TRY(otherwise, parse_expression());
    }
    KRASIS_TRY(value, node(Op::If, offset, "", std::move(condition), std::move(value), std::move(otherwise)));
  }
  return value;
}

Expected<ExpressionPtr> ExpressionParser::parse_or() {
  KRASIS_TRY(ExpressionPtr left, parse_and());
  while (is_name("or")) {
    const std::size_t offset = token().offset;
    advance();
    KRASIS_TRY(ExpressionPtr right, parse_and());
    KRASIS_TRY(left, node(Op::Or, offset, "", std::move(left), std::move(right)));
  }
  return left;
}

Expected<ExpressionPtr> ExpressionParser::parse_and() {
  KRASIS_TRY(ExpressionPtr left, parse_not());
  while (is_name("and")) {
    const std::size_t offset = token().offset;
    advance();
    KRASIS_TRY(ExpressionPtr right, parse_not());
    KRASIS_TRY(left, node(Op::And, offset, "", std::move(left), std::move(right)));
  }
  return left;
}

Expected<ExpressionPtr> ExpressionParser::parse_not() {
  if (!is_name("not") || is_name("in", 1)) return parse_compare();
  const Nesting nesting(depth_);
  if (depth_ > kDeepest) return unsupported(source_, token().offset, "an expression nested this deeply");
  const std::size_t offset = token().offset;
  advance();
  KRASIS_TRY(ExpressionPtr operand, parse_not());
  return node(Op::Not, offset, "", std::move(operand));
}

Expected<ExpressionPtr> ExpressionParser::parse_compare() {
  const std::size_t offset = token().offset;
  KRASIS_TRY(ExpressionPtr first, parse_sum());
  ExpressionPtr chain;
  for (;;) {
    std::string op;
    for (const std::string_view known : {"==", "!=", "<", ">", "<=", ">="})
      if (is_operator(known)) op = known;
    if (is_name("in")) op = "in";
    if (is_name("not") && is_name("in", 1)) op = "not in";
    if (op.empty()) break;
    advance();
    if (op == "not in") advance();
    KRASIS_TRY(ExpressionPtr operand, parse_sum());
    if (!chain) {
      KRASIS_TRY(chain, node(Op::Compare, offset, "", std::move(first)));
    }
    chain->operators.push_back(std::move(op));
    chain->children.push_back(std::move(operand));
  }
  return chain ? finish(std::move(chain)) : std::move(first);
}

Expected<ExpressionPtr> ExpressionParser::parse_sum() {
  KRASIS_TRY(ExpressionPtr left, parse_concatenation());
  while (is_operator("+") || is_operator("-")) {
    const Token op = token();
    advance();
    KRASIS_TRY(ExpressionPtr right, parse_concatenation());
    KRASIS_TRY(left, node(Op::Binary, op.offset, op.text, std::move(left), std::move(right)));
  }
  return left;
}

Expected<ExpressionPtr> ExpressionParser::parse_concatenation() {
  KRASIS_TRY(ExpressionPtr left, parse_product());
  while (is_operator("~")) {
    const std::size_t offset = token().offset;
    advance();
    KRASIS_TRY(ExpressionPtr right, parse_product());
    KRASIS_TRY(left, node(Op::Binary, offset, "~", std::move(left), std::move(right)));
  }
  return left;
}

Expected<ExpressionPtr> ExpressionParser::parse_product() {
  KRASIS_TRY(ExpressionPtr left, parse_unary(true));
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const Token op = token();
    advance();
    KRASIS_TRY(ExpressionPtr right, parse_unary(true));
    KRASIS_TRY(left, node(Op::Binary, op.offset, op.text, std::move(left), std::move(right)));
  }
  if (is_operator("**")) return unsupported(source_, token().offset, "the operator **");
  return left;
}

Expected<ExpressionPtr> ExpressionParser::parse_unary(bool with_filter) {
  const Nesting nesting(depth_);
  if (depth_ > kDeepest) return unsupported(source_, token().offset, "an expression nested this deeply");
  ExpressionPtr result;
  const std::size_t offset = token().offset;
  if (is_operator("-") || is_operator("+")) {
    const Op op = is_operator("-") ? Op::Negate : Op::Plus;
    advance();
    KRASIS_TRY(ExpressionPtr operand, parse_unary(false));
    KRASIS_TRY(result, node(op, offset, "", std::move(operand)));
  } else {
    KRASIS_TRY(result, parse_primary());
  }
  KRASIS_TRY(result, parse_postfix(std::move(result)));
  return with_filter ? parse_filters(std::move(result)) : std::move(result);
}

Expected<ExpressionPtr> ExpressionParser::parse_number() {
  KRASIS_TRY(ExpressionPtr result, node(Op::Constant, token().offset, ""));
  const std::string& text = token().text;
  if (token().kind == TokenKind::Integer) {
    std::int64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
      return unsupported(source_, token().offset, "an integer of more than 64 bits");
    result->value = integer(value);
  } else {
    double value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
      return unsupported(source_, token().offset, "a number that is too large or too small");
    result->value = number(value);
  }
  advance();
  return result;
}

Expected<ExpressionPtr> ExpressionParser::parse_primary() {
  const Token t = token();
  switch (t.kind) {
    case TokenKind::Integer:
    case TokenKind::Float:
      return parse_number();
    case TokenKind::String: {
      KRASIS_TRY(ExpressionPtr result, node(Op::Constant, t.offset, ""));
      std::string text;
      for (; token().kind == TokenKind::String; advance()) text += token().text;
      result->value = string(std::move(text));
      return result;
    }
    case TokenKind::Name: {
      const std::string& name = t.text;
      advance();
      for (const std::string_view other :
           {"self", "super", "caller", "varargs", "kwargs", "cycler", "joiner", "lipsum"})
        if (name == other) return unsupported(source_, t.offset, "'" + name + "'");
      if (is_one_of(name, std::array<std::string_view, 8>{"if", "else", "elif", "and", "or", "in", "is", "not"}))
        return syntax_error(source_, t.offset, "unexpected '" + name + "'");
      const bool constant =
          is_one_of(name, std::array<std::string_view, 6>{"true", "True", "false", "False", "none", "None"});
      KRASIS_TRY(ExpressionPtr result, node(constant ? Op::Constant : Op::Name, t.offset, name));
      if (constant)
        result->value = name[0] == 'n' || name[0] == 'N' ? none() : boolean(name[0] == 't' || name[0] == 'T');
      return result;
    }
    case TokenKind::Operator:
      break;
    default:
      return unexpected();
  }
  if (take_operator("(")) {
    if (take_operator(")")) return node(Op::TupleLiteral, t.offset, "");
    const Nesting nesting(depth_);
    KRASIS_TRY(ExpressionPtr inner, parse_tuple(true));
    KRASIS_CHECK(expect_operator(")"));
    return inner;
  }
  if (is_operator("[")) return parse_list();
  if (is_operator("{")) return parse_dict();
  return unexpected();
}

Expected<ExpressionPtr> ExpressionParser::parse_list() {
  KRASIS_TRY(ExpressionPtr result, node(Op::ListLiteral, token().offset, ""));
  advance();
  while (!is_operator("]")) {
    KRASIS_TRY(ExpressionPtr item, parse_expression());
    result->children.push_back(std::move(item));
    if (!take_operator(",")) break;
  }
  KRASIS_CHECK(expect_operator("]"));
  return finish(std::move(result));
}

Expected<ExpressionPtr> ExpressionParser::parse_dict() {
  KRASIS_TRY(ExpressionPtr result, node(Op::DictLiteral, token().offset, ""));
  advance();
  while (!is_operator("}")) {
    KRASIS_TRY(ExpressionPtr key, parse_expression());
    KRASIS_CHECK(expect_operator(":"));
    KRASIS_TRY(ExpressionPtr value, parse_expression());
    result->children.push_back(std::move(key));
    result->children.push_back(std::move(value));
    if (!take_operator(",")) break;
  }
  KRASIS_CHECK(expect_operator("}"));
  return finish(std::move(result));
}

Expected<ExpressionPtr> ExpressionParser::parse_postfix(ExpressionPtr object) {
  for (;;) {
    if (is_operator(".")) {
      const std::size_t offset = token().offset;
      advance();
      if (token().kind == TokenKind::Integer) {
        KRASIS_TRY(ExpressionPtr index, parse_number());
        KRASIS_TRY(object, node(Op::Item, offset, "", std::move(object), std::move(index)));
        continue;
      }
      if (token().kind != TokenKind::Name) return unexpected();
      const std::string name = token().text;
      advance();
      KRASIS_TRY(object, node(Op::Attribute, offset, name, std::move(object)));
    } else if (is_operator("[")) {
      KRASIS_TRY(object, parse_subscript(std::move(object)));
    } else if (is_operator("(")) {
      KRASIS_TRY(object, parse_call(std::move(object)));
    } else {
      return object;
    }
  }
}

Expected<ExpressionPtr> ExpressionParser::parse_subscript(ExpressionPtr object) {
  const std::size_t offset = token().offset;
  advance();
  std::vector<ExpressionPtr> parts(1);
  bool slice = false;
  while (!is_operator("]")) {
    if (take_operator(":")) {
      slice = true;
      parts.emplace_back();
      if (parts.size() > 3) return unexpected();
      continue;
    }
    if (is_operator(",")) return unsupported(source_, token().offset, "a tuple as a subscript");
    if (parts.back()) return unexpected();
    KRASIS_TRY(parts.back(), parse_expression());
  }
  advance();
  if (!slice) {
    if (!parts[0]) return syntax_error(source_, offset, "an empty subscript");
    return node(Op::Item, offset, "", std::move(object), std::move(parts[0]));
  }
  parts.resize(3);
  return node(Op::Slice, offset, "", std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
}

Expected<ExpressionPtr> ExpressionParser::parse_call(ExpressionPtr callee) {
  const std::size_t offset = callee->offset;
  ExpressionPtr call;
  if (callee->op == Op::Attribute) {
    if (!find(string_methods(), callee->name) && !find(dict_methods(), callee->name))
      return unsupported(source_, offset, "the method '" + callee->name + "'");
    KRASIS_TRY(call, node(Op::Method, offset, callee->name, std::move(callee->children[0])));
  } else {
    KRASIS_TRY(call, node(Op::Call, offset, "", std::move(callee)));
  }
  KRASIS_CHECK(parse_arguments(*call));
  return finish(std::move(call));
}

Expected<void> ExpressionParser::parse_arguments(Expression& call) {
  KRASIS_CHECK(expect_operator("("));
  while (!is_operator(")")) {
    if (is_operator("*") || is_operator("**")) return unsupported(source_, token().offset, "unpacked arguments");
    if (token().kind == TokenKind::Name && is_operator("=", 1)) {
      std::string name = token().text;
      advance();
      advance();
      KRASIS_TRY(ExpressionPtr value, parse_expression());
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!call.named.empty()) return unexpected();
      KRASIS_TRY(ExpressionPtr value, parse_expression());
      call.children.push_back(std::move(value));
    }
    if (!take_operator(",")) break;
  }
  return expect_operator(")");
}

Expected<ExpressionPtr> ExpressionParser::parse_filters(ExpressionPtr input) {
  for (;;) {
    if (is_operator("|")) {
      KRASIS_TRY(input, parse_filter(std::move(input)));
    } else if (is_name("is")) {
      KRASIS_TRY(input, parse_test(std::move(input)));
    } else if (is_operator("(")) {
      KRASIS_TRY(input, parse_call(std::move(input)));
    } else {
      return input;
    }
  }
}

Expected<ExpressionPtr> ExpressionParser::parse_filter(ExpressionPtr input) {
  advance();
  const Token name = token();
  if (name.kind != TokenKind::Name) return unexpected();
  if (!find(filters(), name.text)) return unsupported(source_, name.offset, "the filter '" + name.text + "'");
  advance();
  KRASIS_TRY(ExpressionPtr filter, node(Op::Filter, name.offset, name.text, std::move(input)));
  if (is_operator("(")) KRASIS_CHECK(parse_arguments(*filter));
  return finish(std::move(filter));
}

Expected<ExpressionPtr> ExpressionParser::parse_test(ExpressionPtr input) {
  advance();
  const bool negated = take_name("not");
  const Token name = token();
  if (name.kind != TokenKind::Name) return unexpected();
  std::string test = name.text == "None" ? "none" : name.text;
  if (!find(tests(), test)) return unsupported(source_, name.offset, "the test '" + name.text + "'");
  advance();
  KRASIS_TRY(ExpressionPtr result, node(Op::Test, name.offset, std::move(test), std::move(input)));
  const TokenKind next = token().kind;
  const bool plain_argument =
      next == TokenKind::Integer || next == TokenKind::Float || next == TokenKind::String || is_operator("[") ||
      is_operator("{") ||
      (next == TokenKind::Name &&
       !is_one_of(token().text, std::array<std::string_view, 6>{"else", "or", "and", "if", "in", "not"}));
  if (is_operator("(")) {
    KRASIS_CHECK(parse_arguments(*result));
  } else if (plain_argument) {
    if (is_name("is")) return syntax_error(source_, token().offset, "tests cannot be chained with 'is'");
    KRASIS_TRY(ExpressionPtr argument, parse_primary());
    KRASIS_TRY(argument, parse_postfix(std::move(argument)));
    result->children.push_back(std::move(argument));
  }
  KRASIS_TRY(result, finish(std::move(result)));
  return negated ? node(Op::Not, name.offset, "", std::move(result)) : std::move(result);
}

}  // namespace krasis::jinja

#include <array>

#include "engine/text/jinja/ast.h"
#include "engine/text/jinja/builtins.h"
#include "engine/text/jinja/expression_parser.h"
#include "engine/text/jinja/jinja.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

constexpr std::size_t kLargestTemplate = 4 << 20;

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Expected<Body> run() {
    KRASIS_TRY(Body body, parse_body());
    if (token().kind != TokenKind::End)  // a tag that ends nothing
      return syntax_error(source_, token(1).offset, "unexpected '" + token(1).text + "'");
    return body;
  }

 private:
  /// Statements up to the end or to a tag that belongs to an enclosing statement; that tag is not consumed.
  Expected<Body> parse_body() {
    const Nesting nesting(depth_);
    if (depth_ > kDeepest) return unsupported(source_, token().offset, "statements nested this deeply");
    Body body;
    for (;;) {
      const Token t = token();
      if (t.kind == TokenKind::End) return body;
      if (t.kind == TokenKind::Text) {
        body.push_back(statement(Act::Text, t.offset));
        body.back().text = t.text;
        advance();
      } else if (t.kind == TokenKind::PrintBegin) {
        advance();
        body.push_back(statement(Act::Print, t.offset));
        KRASIS_TRY(ExpressionPtr value, parse_tuple(true));
        body.back().expressions.push_back(std::move(value));
        if (token().kind != TokenKind::PrintEnd) return unexpected();
        advance();
      } else {
        if (token(1).kind != TokenKind::Name)
          return syntax_error(source_, token(1).offset, "a statement's name is missing");
        const std::string& name = token(1).text;
        if (name.starts_with("end") || name == "else" || name == "elif") return body;
        KRASIS_TRY(Statement parsed, parse_statement());
        body.push_back(std::move(parsed));
      }
    }
  }

  static Statement statement(Act act, std::size_t offset) {
    Statement result;
    result.act = act;
    result.offset = offset;
    return result;
  }

  Expected<Statement> parse_statement() {
    advance();
    const Token name = token();
    advance();
    if (name.text == "if") return parse_if(name.offset);
    if (name.text == "for") return parse_for(name.offset);
    if (name.text == "set") return parse_set(name.offset);
    if (name.text == "macro") return parse_macro(name.offset);
    if (name.text == "break" || name.text == "continue") {
      if (loops_ == 0) return syntax_error(source_, name.offset, "'" + name.text + "' outside of a loop");
      KRASIS_CHECK(end_of_tag());
      return statement(name.text == "break" ? Act::Break : Act::Continue, name.offset);
    }
    return unsupported(source_, name.offset, "the statement '" + name.text + "'");
  }

  Expected<void> end_of_tag() {
    if (token().kind != TokenKind::BlockEnd) return unexpected();
    advance();
    return {};
  }

  /// Goes behind {% name %}; an error if something else ends the body.
  Expected<void> end_of_statement(std::string_view name, std::size_t begin) {
    if (token().kind != TokenKind::BlockBegin)
      return syntax_error(source_, begin, "'" + std::string(name) + "' is missing");
    advance();
    if (!take_name(name)) return syntax_error(source_, token().offset, "expected '" + std::string(name) + "'");
    return end_of_tag();
  }

  bool at_tag(std::string_view name) const { return token().kind == TokenKind::BlockBegin && is_name(name, 1); }

  Expected<Statement> parse_if(std::size_t offset) {
    Statement result = statement(Act::If, offset);
    for (;;) {
      KRASIS_TRY(ExpressionPtr condition, parse_tuple(true));
      KRASIS_CHECK(end_of_tag());
      KRASIS_TRY(Body body, parse_body());
      result.expressions.push_back(std::move(condition));
      result.bodies.push_back(std::move(body));
      if (!at_tag("elif")) break;
      advance();
      advance();
    }
    KRASIS_TRY(Body otherwise, parse_else());
    result.bodies.push_back(std::move(otherwise));
    KRASIS_CHECK(end_of_statement("endif", offset));
    return result;
  }

  Expected<Body> parse_else() {
    if (!at_tag("else")) return Body{};
    advance();
    advance();
    KRASIS_CHECK(end_of_tag());
    return parse_body();
  }

  /// a | a, b | (a, b)
  Expected<void> parse_targets(Statement& result) {
    const bool brackets = take_operator("(");
    do {
      if (!result.names.empty() && (is_name("in") || is_operator("=") || is_operator(")")))
        break;  // "a, in": one of a tuple
      if (is_operator("(")) return unsupported(source_, token().offset, "nested targets");
      if (token().kind != TokenKind::Name) return unexpected();
      result.names.push_back(token().text);
      advance();
      if (is_operator(",")) result.unpack = true;
    } while (take_operator(","));
    if (brackets) KRASIS_CHECK(expect_operator(")"));
    for (const std::string& name : result.names)
      if (is_one_of(name, std::array<std::string_view, 7>{"true", "True", "false", "False", "none", "None", "loop"}))
        return syntax_error(source_, token().offset, "'" + name + "' cannot be set");
    return {};
  }

  Expected<Statement> parse_for(std::size_t offset) {
    Statement result = statement(Act::For, offset);
    KRASIS_CHECK(parse_targets(result));
    if (!take_name("in")) return syntax_error(source_, token().offset, "expected 'in'");
    KRASIS_TRY(ExpressionPtr iterable, parse_tuple(false));
    ExpressionPtr filter;
    if (take_name("if")) {
      KRASIS_TRY(filter, parse_expression());
    }
    if (is_name("recursive")) return unsupported(source_, token().offset, "a recursive loop");
    result.expressions.push_back(std::move(iterable));
    result.expressions.push_back(std::move(filter));
    KRASIS_CHECK(end_of_tag());
    ++loops_;
    auto body = parse_body();
    --loops_;
    if (!body) return tl::unexpected(body.error());
    result.bodies.push_back(std::move(*body));
    KRASIS_TRY(Body otherwise, parse_else());
    result.bodies.push_back(std::move(otherwise));
    KRASIS_CHECK(end_of_statement("endfor", offset));
    return result;
  }

  Expected<Statement> parse_set(std::size_t offset) {
    Statement result = statement(Act::Set, offset);
    if (token().kind == TokenKind::Name && is_operator(".", 1) && token(2).kind == TokenKind::Name) {
      result.act = Act::SetAttribute;
      result.names.push_back(token().text);
      result.text = token(2).text;
      advance();
      advance();
      advance();
    } else {
      KRASIS_CHECK(parse_targets(result));
    }
    if (take_operator("=")) {
      KRASIS_TRY(ExpressionPtr value, parse_tuple(true));
      result.expressions.push_back(std::move(value));
      KRASIS_CHECK(end_of_tag());
      return result;
    }
    if (result.act == Act::SetAttribute || result.unpack || is_operator("|"))
      return unsupported(source_, token().offset, "this form of 'set'");
    result.act = Act::SetBlock;
    KRASIS_CHECK(end_of_tag());
    KRASIS_TRY(Body body, parse_body());
    result.bodies.push_back(std::move(body));
    KRASIS_CHECK(end_of_statement("endset", offset));
    return result;
  }

  Expected<Statement> parse_macro(std::size_t offset) {
    // Elsewhere a macro would see the variables of the loop or macro around it.
    if (loops_ > 0 || in_macro_) return unsupported(source_, offset, "a macro inside a loop or a macro");
    Statement result = statement(Act::Macro, offset);
    if (token().kind != TokenKind::Name) return unexpected();
    result.text = token().text;
    advance();
    KRASIS_CHECK(expect_operator("("));
    while (!is_operator(")")) {
      if (token().kind != TokenKind::Name) return unexpected();
      result.names.push_back(token().text);
      advance();
      ExpressionPtr absent;
      if (take_operator("=")) {
        KRASIS_TRY(absent, parse_expression());
      }
      result.expressions.push_back(std::move(absent));
      if (!take_operator(",")) break;
    }
    KRASIS_CHECK(expect_operator(")"));
    KRASIS_CHECK(end_of_tag());
    in_macro_ = true;
    auto body = parse_body();
    in_macro_ = false;
    if (!body) return tl::unexpected(body.error());
    result.bodies.push_back(std::move(*body));
    KRASIS_CHECK(end_of_statement("endmacro", offset));
    return result;
  }

  int loops_ = 0;
  bool in_macro_ = false;
};

/// Line breaks become \n and one at the end goes, as Jinja does.
std::string normalized_source(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

}  // namespace

Expected<std::shared_ptr<const Template>> parse(std::string_view text) {
  if (text.size() > kLargestTemplate)
    return fail(ErrorCode::Unsupported, "The chat template is larger than 4 MiB.", "Choose another one.");
  if (const auto offset = find_invalid_utf8(text))
    return fail(ErrorCode::InvalidArgument,
                "The chat template is not valid UTF-8 at byte " + std::to_string(*offset) + ".",
                "Convert it to UTF-8.");
  const auto result = std::make_shared<Template>();
  result->source = normalized_source(text);
  KRASIS_TRY(std::vector<Token> tokens, tokenize(result->source));
  KRASIS_TRY(result->body, Parser(result->source, std::move(tokens)).run());
  return result;
}

}  // namespace krasis::jinja

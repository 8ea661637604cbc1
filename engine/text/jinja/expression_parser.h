#pragma once

#include <algorithm>
#include <vector>

#include "engine/text/jinja/ast.h"
#include "engine/text/jinja/lexer.h"

namespace krasis::jinja {

/// Recursive descent over the tokens of one template; precedence as in jinja2/parser.py. The statements' parser derives
/// from it and shares its position.
class ExpressionParser {
 public:
  ExpressionParser(const std::string& source, std::vector<Token> tokens)
      : source_(source), tokens_(std::move(tokens)) {}

 protected:
  static constexpr int kDeepest = 150;  // of expressions and of statements

  const Token& token(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  void advance() { at_ = std::min(at_ + 1, tokens_.size() - 1); }
  bool is_operator(std::string_view text, std::size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::Operator && token(ahead).text == text;
  }
  bool is_name(std::string_view text, std::size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::Name && token(ahead).text == text;
  }
  bool take_operator(std::string_view text);
  bool take_name(std::string_view text);
  Expected<void> expect_operator(std::string_view text);
  tl::unexpected<Error> unexpected() const;

  /// One or, separated by commas, several expressions (a tuple). `conditional`: may be "a if b else c".
  Expected<ExpressionPtr> parse_tuple(bool conditional);
  Expected<ExpressionPtr> parse_expression();

  const std::string& source_;
  int depth_ = 0;

 private:
  Expected<ExpressionPtr> parse_conditional();
  Expected<ExpressionPtr> parse_or();
  Expected<ExpressionPtr> parse_and();
  Expected<ExpressionPtr> parse_not();
  Expected<ExpressionPtr> parse_compare();
  Expected<ExpressionPtr> parse_sum();
  Expected<ExpressionPtr> parse_concatenation();
  Expected<ExpressionPtr> parse_product();
  Expected<ExpressionPtr> parse_unary(bool with_filter);
  Expected<ExpressionPtr> parse_primary();
  Expected<ExpressionPtr> parse_number();
  Expected<ExpressionPtr> parse_list();
  Expected<ExpressionPtr> parse_dict();
  Expected<ExpressionPtr> parse_postfix(ExpressionPtr object);
  Expected<ExpressionPtr> parse_filters(ExpressionPtr input);
  Expected<ExpressionPtr> parse_filter(ExpressionPtr input);
  Expected<ExpressionPtr> parse_test(ExpressionPtr input);
  Expected<ExpressionPtr> parse_subscript(ExpressionPtr object);
  Expected<ExpressionPtr> parse_call(ExpressionPtr callee);
  Expected<void> parse_arguments(Expression& call);

  /// A node with these children; refuses trees that are too deep.
  template <class... Children>
  Expected<ExpressionPtr> node(Op op, std::size_t offset, std::string name, Children... children) {
    auto result = std::make_unique<Expression>();
    result->op = op;
    result->offset = offset;
    result->name = std::move(name);
    (result->children.push_back(std::move(children)), ...);
    return finish(std::move(result));
  }
  Expected<ExpressionPtr> finish(ExpressionPtr expression) const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

/// Counts the nesting of the parser's own calls while it lives.
class Nesting {
 public:
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

}  // namespace krasis::jinja

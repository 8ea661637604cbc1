#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace krasis::jinja {

enum class TokenKind { Text, PrintBegin, PrintEnd, BlockBegin, BlockEnd, Name, Integer, Float, String, Operator, End };

struct Token {
  TokenKind kind = TokenKind::End;
  std::size_t offset = 0;
  std::string text;  ///< String: with escapes resolved
};

/// Cuts a template (line breaks as \n) into tokens. Whitespace is dealt with here: the signs - and + of tags,
/// trim_blocks (a line break behind a block or comment goes) and lstrip_blocks (so does the space before one at the
/// beginning of a line), as jinja2/lexer.py does.
Expected<std::vector<Token>> tokenize(const std::string& source);

/// Errors that name a place in the template.
tl::unexpected<Error> syntax_error(const std::string& source, std::size_t offset, const std::string& what);
tl::unexpected<Error> unsupported(const std::string& source, std::size_t offset, const std::string& what);

/// Python's str.strip and its halves; without `characters`, whitespace.
std::string_view strip(std::string_view text, bool left, bool right);
std::string strip(std::string_view text, std::string_view characters, bool left, bool right);

}  // namespace krasis::jinja

#include "engine/text/jinja/lexer.h"

#include <algorithm>

#include "engine/text/jinja/ast.h"
#include "engine/text/utf8.h"

namespace krasis::jinja {

namespace {

bool python_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_begin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(const std::string& source) : source_(source) {}

  Expected<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::size_t begin = next_tag();
      if (begin == std::string::npos) {
        push(TokenKind::Text, at_, source_.substr(at_));
        break;
      }
      const char kind = source_[begin + 1];
      const char sign = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
      text_before(begin, kind, sign);
      at_ = begin + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      if (kind == '#') {
        KRASIS_CHECK(comment(begin));
      } else {
        KRASIS_CHECK(tag(begin, kind));
      }
    }
    push(TokenKind::End, source_.size(), "");
    return std::move(tokens_);
  }

 private:
  void push(TokenKind kind, std::size_t offset, std::string text) {
    tokens_.push_back({kind, offset, std::move(text)});
  }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }

  std::size_t next_tag() const {
    for (std::size_t i = source_.find('{', at_); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char c = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (c == '{' || c == '%' || c == '#') return i;
    }
    return std::string::npos;
  }

  void text_before(std::size_t begin, char kind, char sign) {
    std::string_view text = std::string_view(source_).substr(at_, begin - at_);
    if (sign == '-') {
      text = strip(text, false, true);
    } else if (sign != '+' && kind != '{') {
      const std::size_t line_break = text.rfind('\n');
      const std::size_t line = line_break == std::string_view::npos ? 0 : line_break + 1;
      if ((line > 0 || line_starting_) && strip(text.substr(line), true, true).empty()) text = text.substr(0, line);
    }
    if (!text.empty()) push(TokenKind::Text, at_, std::string(text));
  }

  /// Goes behind the end of a tag, of which `length` characters were recognized, and what it swallows.
  void finish(std::size_t length, char sign, bool trims) {
    at_ += length;
    if (sign == '-') {
      at_ = source_.size() - strip(rest(), true, false).size();
    } else if (trims && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
    line_starting_ = source_[at_ - 1] == '\n';
  }

  Expected<void> comment(std::size_t begin) {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return syntax_error(source_, begin, "a comment does not end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    at_ = end;
    finish(2, sign, true);
    return {};
  }

  Expected<void> tag(std::size_t begin, char kind) {
    const bool block = kind == '%';
    push(block ? TokenKind::BlockBegin : TokenKind::PrintBegin, begin, "");
    std::string open;  // brackets: inside them, }} and %} do not end the tag
    for (;;) {
      while (at_ < source_.size() && python_space(next_utf8(rest()).code_point)) at_ += next_utf8(rest()).bytes;
      if (at_ >= source_.size()) return syntax_error(source_, begin, "a tag does not end");
      if (open.empty()) {
        const std::string_view close = block ? "%}" : "}}";
        const char sign = source_[at_];
        const bool has_sign = sign == '-' || (block && sign == '+');
        if (rest().substr(has_sign ? 1 : 0).starts_with(close)) {
          push(block ? TokenKind::BlockEnd : TokenKind::PrintEnd, at_, "");
          finish(close.size() + (has_sign ? 1 : 0), has_sign ? sign : '\0', block);
          return {};
        }
      }
      KRASIS_CHECK(token(open));
    }
  }

  Expected<void> token(std::string& open) {
    const std::size_t begin = at_;
    const char c = source_[at_];
    if (is_name_begin(c)) {
      while (at_ < source_.size() && (is_name_begin(source_[at_]) || is_digit(source_[at_]))) ++at_;
      push(TokenKind::Name, begin, source_.substr(begin, at_ - begin));
      return {};
    }
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string_literal(c);
    for (const std::string_view two : {"//", "**", "==", "!=", ">=", "<="}) {
      if (!rest().starts_with(two)) continue;
      at_ += 2;
      push(TokenKind::Operator, begin, std::string(two));
      return {};
    }
    if (std::string_view("+-/*%~[](){}<>=.:|,").find(c) == std::string_view::npos)
      return syntax_error(source_, begin, "a character that has no meaning here");
    if (c == '(' || c == '[' || c == '{') {
      if (open.size() > 500) return unsupported(source_, begin, "deep nesting of brackets");
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c)
        return syntax_error(source_, begin, std::string("an unexpected '") + c + "'");
      open.pop_back();
    }
    ++at_;
    push(TokenKind::Operator, begin, std::string(1, c));
    return {};
  }

  void digits() {
    while (at_ < source_.size() &&
           (is_digit(source_[at_]) || (source_[at_] == '_' && at_ + 1 < source_.size() && is_digit(source_[at_ + 1]))))
      ++at_;
  }

  Expected<void> number() {
    const std::size_t begin = at_;
    digits();
    bool is_float = false;
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    if (!after_dot && at_ < source_.size() && source_[at_] == '.' && digit_at(at_ + 1)) {
      ++at_;
      digits();
      is_float = true;
    }
    if (!after_dot && at_ < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E')) {
      const std::size_t sign = at_ + 1 < source_.size() && (source_[at_ + 1] == '+' || source_[at_ + 1] == '-') ? 1 : 0;
      if (digit_at(at_ + 1 + sign)) {
        at_ += 1 + sign;
        digits();
        is_float = true;
      }
    }
    if (at_ < source_.size() && is_name_begin(source_[at_]))
      return unsupported(source_, begin, "this form of a number");
    std::string text = source_.substr(begin, at_ - begin);
    std::erase(text, '_');
    if (!is_float && text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos)
      return syntax_error(source_, begin, "a number with a leading zero");
    push(is_float ? TokenKind::Float : TokenKind::Integer, begin, std::move(text));
    return {};
  }

  Expected<void> string_literal(char quote) {
    const std::size_t begin = at_++;
    std::string text;
    while (at_ < source_.size() && source_[at_] != quote) {
      if (source_[at_] != '\\') {
        text += source_[at_++];
        continue;
      }
      KRASIS_CHECK(escape(text));
    }
    if (at_ >= source_.size()) return syntax_error(source_, begin, "a string does not end");
    ++at_;
    push(TokenKind::String, begin, std::move(text));
    return {};
  }

  /// A backslash and what follows, as Python's unicode-escape reads it; an unknown escape stays as it is.
  Expected<void> escape(std::string& text) {
    if (at_ + 1 >= source_.size()) return syntax_error(source_, at_, "a string does not end");
    const std::size_t begin = at_;
    const char c = source_[at_ + 1];
    at_ += 2;
    static constexpr std::string_view kNames = "abfnrtv\\'\"", kValues = "\a\b\f\n\r\t\v\\'\"";
    if (const std::size_t i = kNames.find(c); i != std::string_view::npos) {
      text += kValues[i];
      return {};
    }
    if (c == '\n') return {};
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
      char32_t value = 0;
      for (std::size_t i = 0; i < digits; ++i, ++at_) {
        const std::size_t digit = at_ < source_.size()
                                      ? std::string_view("0123456789abcdef0123456789ABCDEF").find(source_[at_])
                                      : std::string_view::npos;
        if (digit == std::string_view::npos) return syntax_error(source_, begin, "an escape lacks digits");
        value = value * 16 + static_cast<char32_t>(digit % 16);
      }
      if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return unsupported(source_, begin, "an escape that is no character");
      append_utf8(text, value);
      return {};
    }
    if (is_digit(c) || c == 'N') return unsupported(source_, begin, std::string("the escape \\") + c);
    text += '\\';
    text += c;
    return {};
  }

  const std::string& source_;
  std::size_t at_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Expected<std::vector<Token>> tokenize(const std::string& source) {
  return Lexer(source).run();
}

std::string place(const std::string& source, std::size_t offset) {
  const std::string_view before = std::string_view(source).substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_break = before.rfind('\n');
  const std::string_view in_line = line_break == std::string_view::npos ? before : before.substr(line_break + 1);
  return "line " + std::to_string(line) + ", column " + std::to_string(to_utf32(in_line).size() + 1);
}

tl::unexpected<Error> syntax_error(const std::string& source, std::size_t offset, const std::string& what) {
  return fail(ErrorCode::InvalidArgument,
              "The chat template is not valid at " + place(source, offset) + ": " + what + ".",
              "Check that it is complete, or choose another one.");
}

tl::unexpected<Error> unsupported(const std::string& source, std::size_t offset, const std::string& what) {
  return fail(ErrorCode::Unsupported,
              "The chat template uses at " + place(source, offset) + " what is not supported: " + what + ".",
              "Choose another template for this model.");
}

std::string_view strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && python_space(next_utf8(text).code_point)) text.remove_prefix(next_utf8(text).bytes);
  while (right && !text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0u) == 0x80u) --begin;
    if (!python_space(next_utf8(text.substr(begin)).code_point)) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string strip(std::string_view text, std::string_view characters, bool left, bool right) {
  const std::u32string all = to_utf32(text), set = to_utf32(characters);
  std::size_t begin = 0, end = all.size();
  while (left && begin < end && set.find(all[begin]) != std::u32string::npos) ++begin;
  while (right && end > begin && set.find(all[end - 1]) != std::u32string::npos) --end;
  return to_utf8(std::u32string_view(all).substr(begin, end - begin));
}

}  // namespace krasis::jinja

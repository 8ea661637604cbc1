#include "engine/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace krasis::text {

namespace {

constexpr std::size_t kLongestPattern = 64 * 1024;

// Oniguruma's \s is Unicode's White_Space; PCRE2's also has U+180E. Its \w, measured over all code points, is letters,
// marks, decimal digits, letter numbers, connectors, six of Latin-1's numbers and the enclosed letters; PCRE2 10.42's
// is letters, numbers and the underscore. (\b keeps PCRE2's idea of a word.)
constexpr std::string_view kSpace = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\xb2\xb3\xb9\xbc-\xbe\x{24b6}-\x{24e9})"
                                   R"(\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Expected<std::string> run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        KRASIS_CHECK(escape(false));
      } else if (c == '[') {
        KRASIS_CHECK(character_class());
      } else if (c == '(') {
        KRASIS_CHECK(group());
      } else if (c == '{') {
        KRASIS_CHECK(interval());
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  void copy(std::size_t count) {
    out_.append(pattern_.substr(at_, count));
    at_ = std::min(at_ + count, pattern_.size());
  }
  tl::unexpected<Error> refuse(const std::string& what) const {
    return fail(
        ErrorCode::Unsupported,
        "The tokenizer's pattern uses " + what + " at offset " + std::to_string(at_) + ", which is not supported.",
        "Report the model, so that its pattern can be added.");
  }

  Expected<void> escape(bool in_class) {
    const char c = peek(1);
    const auto set = [&](std::string_view members, bool negated) {
      out_ += in_class ? std::string(members) : (negated ? "[^" : "[") + std::string(members) + "]";
      at_ += 2;
    };
    switch (c) {
      case '\0':
        return refuse("a lone backslash");
      case 's':
        set(kSpace, false);
        return {};
      case 'S':
        if (in_class) {
          copy(2);  // differs from Oniguruma's for U+180E alone
        } else {
          set(kSpace, true);
        }
        return {};
      case 'w':
        set(kWord, false);
        return {};
      case 'W':
        if (in_class) return refuse("\\W in a class");
        set(kWord, true);
        return {};
      case 'v':  // one character, vertical tab; PCRE2 means any line break
        out_ += "\\x0B";
        at_ += 2;
        return {};
      case 'u': {
        const std::string_view digits = pattern_.substr(std::min(at_ + 2, pattern_.size()), 4);
        if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
          return refuse("a malformed \\u");
        out_ += "\\x{" + std::string(digits) + "}";
        at_ += 6;
        return {};
      }
      default:
        break;
    }
    const bool letter_or_digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9');
    if (letter_or_digit && std::string_view("dDbBAzZpPxnrtfea").find(c) == std::string_view::npos)
      return refuse(std::string("\\") + c);
    copy(2);
    if ((c == 'p' || c == 'P' || c == 'x') && peek(0) == '{') {
      const std::size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos) return refuse("an unfinished '{'");
      copy(end + 1 - at_);
    }
    return {};
  }

  Expected<void> character_class() {
    copy(1);
    if (peek(0) == '^') copy(1);
    if (peek(0) == ']') {
      out_ += "\\]";
      ++at_;
    }
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      if (pattern_[at_] == '\\') {
        KRASIS_CHECK(escape(true));
      } else if (pattern_[at_] == '[') {
        return refuse("a class inside a class");
      } else if (pattern_[at_] == '&' && peek(1) == '&') {
        return refuse("an intersection of classes");
      } else {
        copy(1);
      }
    }
    if (at_ >= pattern_.size()) return refuse("an unfinished class");
    copy(1);
    return {};
  }

  Expected<void> group() {
    if (peek(1) == '*') return refuse("a verb");
    if (peek(1) != '?') {
      copy(1);
      return {};
    }
    for (const std::string_view known :
         {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?i)", "(?-i:", "(?-i)"}) {
      if (pattern_.substr(at_).starts_with(known)) {
        copy(known.size());
        return {};
      }
    }
    return refuse("the group '" + std::string(pattern_.substr(at_, 3)) + "'");
  }

  Expected<void> interval() {
    std::size_t end = at_ + 1;
    while (end < pattern_.size() && ((pattern_[end] >= '0' && pattern_[end] <= '9') || pattern_[end] == ',')) ++end;
    if (end == at_ + 1 || end >= pattern_.size() || pattern_[end] != '}') return refuse("an unescaped '{'");
    if (end + 1 < pattern_.size() && pattern_[end + 1] == '+') return refuse("'+' after an interval");
    if (pattern_[at_ + 1] == ',') {
      out_ += "{0";
      ++at_;
    }
    copy(end + 1 - at_);
    return {};
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::string out_;
};

struct Free {
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};

// Start positions per call of PCRE2: its step limit counts anew at each, so the clock is read in between. The window
// grows while calls are quick and shrinks when they are not.
class Window {
 public:
  std::size_t size() const { return size_; }
  void adapt(std::chrono::steady_clock::duration took) {
    if (took < std::chrono::milliseconds(5)) {
      size_ = std::min<std::size_t>(size_ * 2, 1 << 20);
    } else {
      size_ = std::max<std::size_t>(size_ / 4, 1);
    }
  }

 private:
  std::size_t size_ = 1024;
};

}  // namespace

MatchBudget MatchBudget::for_text(std::size_t bytes) {
  const auto seconds = std::chrono::seconds(20 + 60 * static_cast<std::int64_t>(bytes >> 20));
  return {std::chrono::steady_clock::now() + seconds};
}

Expected<std::string> translate_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

Expected<Regex> Regex::compile(std::string_view pattern) {
  KRASIS_TRY(const std::string translated, translate_oniguruma(pattern));
  return compile_pcre(translated, pattern);
}

Expected<Regex> Regex::literal(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    const bool ascii_mark = static_cast<unsigned char>(c) < 0x80 && !(c >= '0' && c <= '9') &&
                            !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '\0';
    if (ascii_mark) pattern += '\\';
    pattern += c;
  }
  return compile_pcre(pattern, literal);
}

Expected<Regex> Regex::compile_pcre(const std::string& pattern, std::string_view shown) {
  const std::unique_ptr<pcre2_compile_context, Free> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), kLongestPattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C, &error,
                    &offset, context.get());
  if (!code) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return fail(ErrorCode::Unsupported,
                "The tokenizer's pattern '" + std::string(shown.substr(0, 200)) +
                    "' cannot be used: " + reinterpret_cast<const char*>(message) + ".",
                "Report the model, so that its pattern can be added.");
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT the interpreter does the same, slower
  Regex regex;
  regex.code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p))); });
  return regex;
}

Expected<void> Regex::for_each_match(std::string_view text, const MatchBudget& budget,
                                     const std::function<void(std::size_t, std::size_t)>& found) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, Free> match(pcre2_match_data_create_from_pattern(code, nullptr));
  const std::unique_ptr<pcre2_match_context, Free> context(pcre2_match_context_create(nullptr));
  // A run of n spaces legitimately costs some steps per space in one match.
  pcre2_set_match_limit(context.get(),
                        static_cast<std::uint32_t>(std::min<std::size_t>(1'000'000 + 16 * text.size(), 1'000'000'000)));
  // The machine's stack (32 KiB of it) suffices for almost every pattern; the large one is made when it did not.
  std::unique_ptr<pcre2_jit_stack, Free> jit_stack;
  Window window;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t last = text.size() - start > window.size() ? start + window.size() : text.size();
    pcre2_set_offset_limit(context.get(), last);
    const auto before = std::chrono::steady_clock::now();
    const int rc = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
                               PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), context.get());
    const auto now = std::chrono::steady_clock::now();
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !jit_stack) {
      jit_stack.reset(pcre2_jit_stack_create(64 * 1024, std::size_t{64} << 20, nullptr));
      pcre2_jit_stack_assign(context.get(), nullptr, jit_stack.get());
      continue;
    }
    if ((rc < 0 && rc != PCRE2_ERROR_NOMATCH) || now > budget.deadline)
      return fail(
          ErrorCode::InvalidArgument, "The tokenizer's pattern needs too many steps for this text.",
          "Check that tokenizer.json is the model's own; its pattern is of a kind that takes exponential time.");
    window.adapt(now - before);
    if (rc == PCRE2_ERROR_NOMATCH) {
      if (last == text.size()) break;
      start = last + 1;
      while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xc0u) == 0x80u) ++start;
      continue;
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    found(bounds[0], bounds[1]);
    start = bounds[1];
  }
  return {};
}

}  // namespace krasis::text

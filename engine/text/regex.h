#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace krasis::text {

/// What is left of the time that the patterns of one encode() may take.
struct MatchBudget {
  std::chrono::steady_clock::time_point deadline;
  /// 20 s plus 60 s per MiB: a thousand times what a sane pattern needs.
  static MatchBudget for_text(std::size_t bytes);
};

/// A regular expression as Hugging Face's tokenizers understand it (Oniguruma, Ruby syntax), run by PCRE2 with JIT.
///
/// The pattern is translated: \s and \w get Oniguruma's meaning, {,n} becomes {0,n}; constructs that differ in other
/// ways (nested classes, &&, \h, (?m), subroutines, verbs) are refused. Matching bounds its steps per start position
/// and its time in all, so that no pattern hangs.
class Regex {
 public:
  /// Unsupported if the pattern is invalid or uses what is refused.
  static Expected<Regex> compile(std::string_view pattern);
  /// A pattern that matches `literal` as it is.
  static Expected<Regex> literal(std::string_view literal);

  /// Calls `found(begin, end)` for each match in `text` (valid UTF-8), from left to right, without empty ones.
  /// InvalidArgument if a limit is reached. May be called from several threads.
  Expected<void> for_each_match(std::string_view text, const MatchBudget& budget,
                                const std::function<void(std::size_t, std::size_t)>& found) const;

 private:
  static Expected<Regex> compile_pcre(const std::string& pattern, std::string_view shown);
  std::shared_ptr<const void> code_;  // pcre2_code
};

/// The translation to PCRE2's syntax; public for its tests.
Expected<std::string> translate_oniguruma(std::string_view pattern);

}  // namespace krasis::text

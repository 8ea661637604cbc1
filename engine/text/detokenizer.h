#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/text/tokenizer.h"

namespace krasis {

/// Turns tokens into text as they arrive, whole characters only: the concatenation of all results equals
/// Tokenizer::decode of all ids. One per sequence; not thread-safe. The tokenizer must outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true);

  /// The characters completed by `id`; empty while a character is unfinished. NotFound for an unknown id.
  Expected<std::string> append(std::int32_t id);
  /// Ends the text: an unfinished character becomes U+FFFD. Afterwards the detokenizer is as new.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // at most 3 bytes: the beginning of a character
};

/// Finds stop strings in text that arrives in pieces, and holds back what may be the beginning of one.
///
/// The first stop string to be completed counts (of several completed by the same byte, the longest), so the result
/// does not depend on how the text was cut. Neither it nor anything behind it is given out.
class StopMatcher {
 public:
  /// Empty strings in `stops` are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Text that is now certain not to belong to a stop string. Empty once stopped().
  std::string append(std::string_view text);
  /// The end of the text: what was held back.
  std::string flush();
  bool stopped() const { return stopped_; }
  /// The stop string that was found; empty before.
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace krasis

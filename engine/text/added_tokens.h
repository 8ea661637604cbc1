#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace krasis::text {

/// A token that is found in the text itself, before normalization (or after it, if `normalized`) and before BPE.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = false;
  bool lstrip = false;       ///< takes the whitespace before it
  bool rstrip = false;       ///< takes the whitespace behind it
  bool single_word = false;  ///< only between characters that are not of a word
  bool normalized = false;   ///< looked for in the normalized text, by its normalized content
};

/// A piece of text: an added token, or (id < 0) text without any.
struct AddedTokenPiece {
  std::int32_t id;
  std::string_view text;
};

/// Finds added tokens, leftmost first and of several at one place the longest, as Hugging Face's tokenizers do.
class AddedTokenMatcher {
 public:
  /// `content` is what is looked for; it must not be empty.
  void add(const AddedToken& token, std::string_view content);
  /// Cuts `text` (valid UTF-8) into pieces; with `allow_special` false, special tokens are not cut out.
  std::vector<AddedTokenPiece> split(std::string_view text, bool allow_special) const;
  bool empty() const { return tokens_.empty(); }

 private:
  struct Node {
    std::map<unsigned char, std::size_t> next;
    std::int32_t token = -1;  // index in tokens_
  };
  /// Index of the longest token that `text` begins with, and its length; -1 if there is none.
  std::int32_t longest_at(std::string_view text, std::size_t& length) const;

  std::vector<Node> nodes_{Node{}};
  std::vector<AddedToken> tokens_;
};

}  // namespace krasis::text

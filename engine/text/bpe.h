#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace krasis::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

/// Byte pair encoding (Sennrich et al. 2016) on bytes: a word starts as its single bytes, and the adjacent pair whose
/// merge has the lowest rank, leftmost first, is joined until no pair has a merge.
struct Bpe {
  StringMap<std::int32_t> ids;               ///< tokens by their bytes
  std::array<std::int32_t, 256> byte_ids{};  ///< -1 where a byte has no token
  struct Merge {
    std::int32_t rank;
    std::int32_t id;  ///< of the joined token
  };
  std::unordered_map<std::uint64_t, Merge> merges;  ///< by (left id << 32 | right id)
  bool ignore_merges = false;                       ///< a word that is a token as a whole is not taken apart

  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }
  /// Appends the ids of `word` to `out`. O(n log n). Corrupt if a byte has no token.
  Expected<void> encode_word(std::string_view word, std::vector<std::int32_t>& out) const;
};

/// The ids of words seen before, for one call of encode().
class WordCache {
 public:
  explicit WordCache(const Bpe& bpe) : bpe_(bpe) {}
  Expected<void> encode_word(std::string_view word, std::vector<std::int32_t>& out);

 private:
  struct Range {
    std::size_t begin, count;
  };
  const Bpe& bpe_;
  StringMap<Range> ranges_;
  std::vector<std::int32_t> ids_;
};

/// GPT-2's printable stand-ins for bytes: the bytes of a token as tokenizer.json writes it ("Ġthe" -> " the").
/// Nothing if it contains a character that stands for no byte.
std::optional<std::string> bytes_of_byte_level(std::string_view token);

}  // namespace krasis::text

#pragma once

#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/text/regex.h"

namespace krasis::text {

/// Cuts text into the words that BPE works on: the pre_tokenizer of tokenizer.json. The mapping of bytes to printable
/// characters that ByteLevel also does is left out; the model works on bytes.
class PreTokenizer {
 public:
  /// `json` is the component, whose last part must be ByteLevel. Unsupported with the name of anything unknown.
  static Expected<PreTokenizer> from_json(const nlohmann::json& json);

  /// The words of `piece`, in order; they point into `piece` or `storage`.
  Expected<std::vector<std::string_view>> split(std::string_view piece, std::deque<std::string>& storage,
                                                const MatchBudget& budget) const;

 private:
  enum class Keep { All, BetweenMatches, Matches };
  struct Stage {
    std::optional<Regex> regex;  // cuts at each match
    Keep keep = Keep::All;
    bool add_prefix_space = false;  // before cutting
  };
  Expected<void> add(const nlohmann::json& component);
  Expected<void> add(const std::string& type, const nlohmann::json& component);
  Expected<void> add_split(const nlohmann::json& component);

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace krasis::text

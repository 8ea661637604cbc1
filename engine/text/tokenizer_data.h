#pragma once

#include <unordered_map>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"

namespace krasis {

/// What a Tokenizer holds; filled by from_json (tokenizer_json.cpp), read by tokenizer.cpp.
struct Tokenizer::Data {
  struct Token {
    std::string bytes;
    bool exists = false;
    bool special = false;
  };
  std::vector<Token> tokens;  ///< by id
  text::Bpe bpe;
  text::StringMap<std::int32_t> unmapped_ids;  ///< tokens of the model that are not byte-level
  text::StringMap<std::int32_t> added_ids;
  text::AddedTokenMatcher before_normalization;
  text::AddedTokenMatcher after_normalization;
  bool nfc = false;
  std::optional<text::PreTokenizer> pre_tokenizer;
  std::vector<std::int32_t> prefix_ids, suffix_ids;
  TokenizerConfig config;

  /// Id of a token as tokenizer.json writes it, or -1.
  std::int32_t find(std::string_view token) const;
};

}  // namespace krasis

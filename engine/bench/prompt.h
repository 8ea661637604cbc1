#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/text/tokenizer.h"

namespace krasis {

/// The tokens that every repetition of a run reads.
struct BenchmarkPrompt {
  std::vector<std::int32_t> tokens;
  std::string fingerprint;         ///< of the tokens, hexadecimal
  std::vector<std::string> notes;  ///< e.g. that the text was repeated
};

/// The first `count` tokens of `text`; a shorter text is repeated, and a note says so. Errors are the tokenizer's, or
/// InvalidArgument for an empty text.
Expected<BenchmarkPrompt> text_prompt(const Tokenizer& tokenizer, std::string_view text, int count);

/// `count` ids below `vocabulary`, equal for equal seeds: for synthetic models, which have no tokenizer.
BenchmarkPrompt random_prompt(std::int64_t vocabulary, int count, std::uint64_t seed);

}  // namespace krasis

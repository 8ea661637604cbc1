#include "engine/bench/prompt.h"

#include <random>
#include <span>

#include <fmt/format.h>
#include <xxhash.h>

namespace krasis {
namespace {

std::string fingerprint(std::span<const std::int32_t> tokens) {
  const XXH128_hash_t hash = XXH3_128bits(tokens.data(), tokens.size_bytes());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

Expected<BenchmarkPrompt> text_prompt(const Tokenizer& tokenizer, std::string_view text, int count) {
  const auto wanted = static_cast<std::size_t>(count);
  // A token is seldom shorter than a byte: what lies far beyond cannot be among the first tokens. The cut is made at a
  // line feed, so that no character and no word is split.
  const std::size_t enough = wanted * 32;
  if (text.size() > enough) {
    if (const std::size_t line = text.find('\n', enough); line != std::string_view::npos) text = text.substr(0, line);
  }
  KRASIS_TRY(const std::vector<std::int32_t> all, tokenizer.encode(text, false));
  if (all.empty()) {
    return fail(ErrorCode::InvalidArgument, "The prompt's text has no tokens.", "Give a text that is not empty.");
  }
  BenchmarkPrompt prompt;
  prompt.tokens.reserve(wanted);
  while (prompt.tokens.size() < wanted) {
    const std::size_t more = std::min(all.size(), wanted - prompt.tokens.size());
    prompt.tokens.insert(prompt.tokens.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(more));
  }
  if (all.size() < wanted) {
    prompt.notes.push_back(fmt::format("The prompt's text has {} tokens and was repeated to fill {}.", all.size(), count));
  }
  prompt.fingerprint = fingerprint(prompt.tokens);
  return prompt;
}

BenchmarkPrompt random_prompt(std::int64_t vocabulary, int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  BenchmarkPrompt prompt;
  prompt.tokens.resize(static_cast<std::size_t>(count));
  for (auto& token : prompt.tokens) token = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocabulary));
  prompt.fingerprint = fingerprint(prompt.tokens);
  prompt.notes.push_back("The prompt is random tokens: the model has no tokenizer.");
  return prompt;
}

}  // namespace krasis

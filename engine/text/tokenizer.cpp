#include "engine/text/tokenizer.h"

#include "engine/text/tokenizer_data.h"
#include "engine/text/utf8.h"

namespace krasis {

Tokenizer::Tokenizer(std::unique_ptr<const Data> data) : data_(std::move(data)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::int32_t Tokenizer::Data::find(std::string_view token) const {
  if (const auto added = added_ids.find(token); added != added_ids.end()) return added->second;
  if (const auto bytes = text::bytes_of_byte_level(token)) {
    const auto found = bpe.ids.find(*bytes);
    return found == bpe.ids.end() ? -1 : found->second;
  }
  const auto found = unmapped_ids.find(token);
  return found == unmapped_ids.end() ? -1 : found->second;
}

Expected<std::vector<std::int32_t>> Tokenizer::encode(std::string_view text, bool allow_special) const {
  if (const auto offset = find_invalid_utf8(text))
    return fail(ErrorCode::InvalidArgument, "The text is not valid UTF-8 at byte " + std::to_string(*offset) + ".",
                "Convert it to UTF-8.");
  std::vector<std::int32_t> ids;
  text::WordCache words(data_->bpe);
  const auto budget = text::MatchBudget::for_text(text.size());
  for (const auto& raw : data_->before_normalization.split(text, allow_special)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    const std::string normalized = data_->nfc ? normalize_nfc(raw.text) : std::string(raw.text);
    for (const auto& piece : data_->after_normalization.split(normalized, allow_special)) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
        continue;
      }
      std::deque<std::string> storage;
      KRASIS_TRY(const auto split, data_->pre_tokenizer->split(piece.text, storage, budget));
      for (const std::string_view word : split) KRASIS_CHECK(words.encode_word(word, ids));
    }
  }
  return ids;
}

Expected<std::string> Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    KRASIS_TRY(const std::string_view token, token_bytes(id));
    if (!(skip_special && is_special(id))) bytes += token;
  }
  return replace_invalid_utf8(bytes);
}

Expected<std::string_view> Tokenizer::token_bytes(std::int32_t id) const {
  if (id < 0 || id >= vocabulary_size() || !data_->tokens[static_cast<std::size_t>(id)].exists)
    return fail(ErrorCode::NotFound, "The tokenizer has no token " + std::to_string(id) + ".",
                "Check that the tokenizer and the model belong together.");
  return std::string_view(data_->tokens[static_cast<std::size_t>(id)].bytes);
}

std::int32_t Tokenizer::vocabulary_size() const {
  return static_cast<std::int32_t>(data_->tokens.size());
}

Expected<std::int32_t> Tokenizer::token_id(std::string_view token) const {
  const std::int32_t id = data_->find(token);
  if (id < 0) return fail(ErrorCode::NotFound, "The tokenizer has no token '" + std::string(token) + "'.");
  return id;
}

bool Tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocabulary_size() && data_->tokens[static_cast<std::size_t>(id)].special;
}

const std::vector<std::int32_t>& Tokenizer::prefix_ids() const {
  return data_->prefix_ids;
}
const std::vector<std::int32_t>& Tokenizer::suffix_ids() const {
  return data_->suffix_ids;
}
const TokenizerConfig& Tokenizer::config() const {
  return data_->config;
}

}  // namespace krasis

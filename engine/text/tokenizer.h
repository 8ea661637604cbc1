#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace krasis {

/// What tokenizer_config.json (and chat_template.jinja beside it) say. Absent entries are empty.
struct TokenizerConfig {
  std::string bos_token;
  std::string eos_token;
  std::string pad_token;
  bool add_bos_token = false;
  std::string chat_template;  ///< Jinja source for ChatTemplate::parse; of several named ones, "default"
};

/// What a tokenizer file may be; beyond it, loading fails with an error that names the limit.
struct TokenizerLimits {
  std::size_t file_bytes = std::size_t{256} << 20;
  std::int32_t vocabulary = 1 << 22;  ///< ids must be below
  int json_depth = 64;
};

/// A byte-level BPE tokenizer read from Hugging Face's tokenizer.json.
///
/// Supported: BPE model (merges as "a b" or ["a", "b"], ignore_merges), added tokens (special, lstrip, rstrip,
/// single_word, normalized), normalizers NFC, Sequence and null, pre-tokenizers ByteLevel, Split (Isolated, Removed;
/// invert), Digits and Sequence, post-processors ByteLevel and TemplateProcessing (recorded, see prefix_ids). Anything
/// else fails with Unsupported and its name. Immutable after loading: all members may be called from several threads.
class Tokenizer {
 public:
  /// Reads `tokenizer_json`; an empty `tokenizer_config_json` path means none. A chat_template.jinja in the folder of
  /// tokenizer_config.json is read when that file holds no template. Errors: NotFound, Io, Corrupt, Unsupported.
  static Expected<Tokenizer> load(const std::filesystem::path& tokenizer_json,
                                  const std::filesystem::path& tokenizer_config_json = {},
                                  const TokenizerLimits& limits = {});
  /// The same from the files' contents.
  static Expected<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json = {},
                                       const TokenizerLimits& limits = {});

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Token ids of `text`, without the BOS or EOS of a post-processor (prefix_ids, suffix_ids; chat templates write
  /// their own). With `allow_special` false, the text of a special token is ordinary text, as it should be for what
  /// a user typed; added tokens that are not special are recognized in both cases, as in Hugging Face's library.
  ///
  /// `text` must be UTF-8; otherwise InvalidArgument with the offset (replace_invalid_utf8 in utf8.h repairs it).
  /// Corrupt if a byte has no token; InvalidArgument if the file's pattern needs more steps than allowed.
  /// O(n log n) in the length of the text.
  Expected<std::vector<std::int32_t>> encode(std::string_view text, bool allow_special = true) const;

  /// The text of `ids`; bytes that are not UTF-8 become U+FFFD. NotFound for an id that no token has.
  Expected<std::string> decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

  /// The bytes that a token stands for (perhaps a part of a character); valid as long as the tokenizer.
  Expected<std::string_view> token_bytes(std::int32_t id) const;

  /// The largest id plus one, added tokens included. A model's embedding may have more rows.
  std::int32_t vocabulary_size() const;
  /// Id of a token as tokenizer.json writes it (added tokens verbatim, "Ġthe" for " the"). NotFound if there is none.
  Expected<std::int32_t> token_id(std::string_view token) const;
  bool is_special(std::int32_t id) const;

  /// What the post-processor adds before and after a single text (usually BOS, or nothing).
  const std::vector<std::int32_t>& prefix_ids() const;
  const std::vector<std::int32_t>& suffix_ids() const;

  const TokenizerConfig& config() const;

 private:
  struct Data;
  explicit Tokenizer(std::unique_ptr<const Data> data);
  std::unique_ptr<const Data> data_;
};

}  // namespace krasis

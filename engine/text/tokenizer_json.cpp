// Reads Hugging Face's tokenizer.json and tokenizer_config.json into a Tokenizer.
#include <fstream>

#include "engine/text/json_guard.h"
#include "engine/text/tokenizer.h"
#include "engine/text/tokenizer_data.h"
#include "engine/text/utf8.h"

namespace krasis {

using nlohmann::json;
using text::bool_member;
using text::member;
using text::string_member;

namespace {

constexpr std::size_t kLongestAddedToken = 4096;

tl::unexpected<Error> corrupt(const std::string& cause) {
  return fail(ErrorCode::Corrupt, "tokenizer.json: " + cause + ".", "Download or copy the file again.");
}

tl::unexpected<Error> unsupported(const std::string& what) {
  return fail(ErrorCode::Unsupported, "The tokenizer's " + what + " is not supported.",
              "Use a model with a byte-level BPE tokenizer (GPT-2, Llama 3, Qwen, DeepSeek, gpt-oss).");
}

Expected<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    return fail(ErrorCode::NotFound, "There is no file " + path.string() + ".", "Check the model's folder.");
  if (!std::filesystem::is_regular_file(status))
    return fail(ErrorCode::Io, path.string() + " is not a file.", "Check the model's folder.");
  const auto size = std::filesystem::file_size(path, error);
  if (!error && size > limit)
    return fail(ErrorCode::Corrupt,
                path.string() + " has " + std::to_string(size) + " bytes, more than the limit of " +
                    std::to_string(limit) + ".",
                "Check that it is the file of the model.");
  std::ifstream file(path, std::ios::binary);
  std::string content(error ? 0 : size, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (error || !file || file.gcount() != static_cast<std::streamsize>(content.size()))
    return fail(ErrorCode::Io, path.string() + " cannot be read.", "Check its permissions and the disk.");
  return content;
}

Expected<std::int32_t> id_of(const json& value, const TokenizerLimits& limits, const std::string& token) {
  if (!value.is_number_integer()) return corrupt("the id of '" + token + "' is not an integer");
  const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
  if (negative || value.get<std::uint64_t>() >= static_cast<std::uint64_t>(limits.vocabulary))
    return corrupt("the id " + value.dump() + " of '" + token + "' is not between 0 and " +
                   std::to_string(limits.vocabulary - 1));
  return value.get<std::int32_t>();
}

}  // namespace

namespace text {

/// Fills Tokenizer::Data; one function for each component of the file.
template <class Data>
class TokenizerReader {
 public:
  TokenizerReader(Data& data, const TokenizerLimits& limits) : data_(data), limits_(limits) {}

  Expected<void> read(const json& root) {
    if (!root.is_object()) return corrupt("it is not an object");
    const json* model = member(root, "model");
    if (!model || !model->is_object()) return corrupt("there is no model");
    KRASIS_CHECK(read_model(*model));
    if (const json* normalizer = member(root, "normalizer")) KRASIS_CHECK(read_normalizer(*normalizer));
    const json* pre_tokenizer = member(root, "pre_tokenizer");
    KRASIS_TRY(data_.pre_tokenizer, PreTokenizer::from_json(pre_tokenizer ? *pre_tokenizer : json()));
    if (const json* added = member(root, "added_tokens")) KRASIS_CHECK(read_added_tokens(*added));
    if (const json* decoder = member(root, "decoder")) {
      KRASIS_TRY(const std::string type, string_member(*decoder, "type", "tokenizer.json: the decoder"));
      if (type != "ByteLevel") return unsupported("decoder '" + type + "'");
    }
    if (const json* post_processor = member(root, "post_processor")) KRASIS_CHECK(read_post_processor(*post_processor));
    return {};
  }

 private:
  Expected<void> read_model(const json& model) {
    KRASIS_TRY(const std::string type, string_member(model, "type", "tokenizer.json: the model"));
    if (!type.empty() && type != "BPE") return unsupported("model '" + type + "'");
    for (const char* key : {"dropout", "unk_token"})
      if (member(model, key)) return unsupported(std::string("option '") + key + "'");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      KRASIS_TRY(const std::string value, string_member(model, key, "tokenizer.json: the model"));
      if (!value.empty()) return unsupported(std::string("option '") + key + "'");
    }
    for (const char* key : {"fuse_unk", "byte_fallback"}) {
      KRASIS_TRY(const bool value, bool_member(model, key, false, "tokenizer.json: the model"));
      if (value) return unsupported(std::string("option '") + key + "'");
    }
    KRASIS_TRY(data_.bpe.ignore_merges, bool_member(model, "ignore_merges", false, "tokenizer.json: the model"));
    const json* vocabulary = member(model, "vocab");
    if (!vocabulary || !vocabulary->is_object() || vocabulary->empty()) return corrupt("the model has no vocabulary");
    KRASIS_CHECK(read_vocabulary(*vocabulary));
    const json* merges = member(model, "merges");
    if (!merges || !merges->is_array()) return corrupt("the model has no list of merges");
    return read_merges(*merges);
  }

  /// Makes `id` a token with these bytes; false if it is one already.
  bool create(std::int32_t id, std::string bytes) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= data_.tokens.size()) data_.tokens.resize(index + 1);
    if (data_.tokens[index].exists) return false;
    data_.tokens[index].bytes = std::move(bytes);
    data_.tokens[index].exists = true;
    return true;
  }

  Expected<void> read_vocabulary(const json& vocabulary) {
    data_.bpe.ids.reserve(vocabulary.size());
    for (const auto& [token, value] : vocabulary.items()) {
      KRASIS_TRY(const std::int32_t id, id_of(value, limits_, token));
      auto bytes = bytes_of_byte_level(token);
      if (bytes) {
        data_.bpe.ids.emplace(*bytes, id);
      } else {
        data_.unmapped_ids.emplace(token, id);
        bytes = token;
      }
      if (!create(id, std::move(*bytes))) return corrupt("the id " + std::to_string(id) + " is given to two tokens");
    }
    data_.bpe.byte_ids.fill(-1);
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto found = data_.bpe.ids.find(std::string(1, static_cast<char>(static_cast<unsigned char>(byte))));
      if (found != data_.bpe.ids.end()) data_.bpe.byte_ids[byte] = found->second;
    }
    return {};
  }

  Expected<void> read_merges(const json& merges) {
    if (merges.size() > 8 * static_cast<std::size_t>(limits_.vocabulary)) return corrupt("there are too many merges");
    data_.bpe.merges.reserve(merges.size());
    std::int32_t rank = 0;
    for (const json& merge : merges) {
      std::string left, right;
      if (merge.is_string()) {
        const auto& both = merge.template get_ref<const std::string&>();
        if (both.starts_with("#version")) continue;
        const std::size_t space = both.find(' ');
        if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
          return corrupt("the merge '" + both + "' is not two tokens");
        left = both.substr(0, space);
        right = both.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].template get_ref<const std::string&>();
        right = merge[1].template get_ref<const std::string&>();
      } else {
        return corrupt("merge number " + std::to_string(rank) + " is not two tokens");
      }
      for (const std::string& name : {left, right, left + right})
        if (data_.find(name) < 0)
          return corrupt("merge number " + std::to_string(rank) + " needs the token '" + name +
                         "', which the vocabulary does not have");
      // Of two merges of one pair the later counts, as in the original.
      data_.bpe.merges.insert_or_assign(Bpe::pair_key(data_.find(left), data_.find(right)),
                                        Bpe::Merge{rank, data_.find(left + right)});
      ++rank;
    }
    return {};
  }

  Expected<void> read_normalizer(const json& normalizer) {
    KRASIS_TRY(const std::string type, string_member(normalizer, "type", "tokenizer.json: the normalizer"));
    if (type == "NFC") {
      data_.nfc = true;
    } else if (type == "Sequence") {
      const json* parts = member(normalizer, "normalizers");
      if (!parts || !parts->is_array()) return corrupt("a normalizer Sequence has no list of normalizers");
      for (const json& part : *parts) KRASIS_CHECK(read_normalizer(part));
    } else {
      return unsupported("normalizer '" + type + "'");
    }
    return {};
  }

  Expected<void> read_added_tokens(const json& list) {
    if (!list.is_array()) return corrupt("added_tokens is not a list");
    for (const json& entry : list) {
      AddedToken token;
      const std::string what = "tokenizer.json: an added token";
      KRASIS_TRY(token.content, string_member(entry, "content", what));
      if (token.content.empty()) return corrupt("an added token has no content");
      if (token.content.size() > kLongestAddedToken) return corrupt("an added token is longer than 4096 bytes");
      const json* id = member(entry, "id");
      KRASIS_TRY(token.id, id_of(id ? *id : json(), limits_, token.content));
      KRASIS_TRY(token.special, bool_member(entry, "special", false, what));
      KRASIS_TRY(token.lstrip, bool_member(entry, "lstrip", false, what));
      KRASIS_TRY(token.rstrip, bool_member(entry, "rstrip", false, what));
      KRASIS_TRY(token.single_word, bool_member(entry, "single_word", false, what));
      KRASIS_TRY(token.normalized, bool_member(entry, "normalized", !token.special, what));
      KRASIS_CHECK(add(token));
    }
    return {};
  }

  Expected<void> add(const AddedToken& token) {
    const std::int32_t known = data_.find(token.content);
    if (known >= 0 && known != token.id)
      return corrupt("the added token '" + token.content + "' has the id " + std::to_string(token.id) +
                     ", but is token " + std::to_string(known) + " already");
    if (known < 0 && !create(token.id, token.content))
      return corrupt("the id " + std::to_string(token.id) + " is given to two tokens");
    auto& entry = data_.tokens[static_cast<std::size_t>(token.id)];
    entry.bytes = token.content;
    entry.special = entry.special || token.special;
    data_.added_ids.emplace(token.content, token.id);
    if (token.normalized) {
      data_.after_normalization.add(token, data_.nfc ? normalize_nfc(token.content) : token.content);
    } else {
      data_.before_normalization.add(token, token.content);
    }
    return {};
  }

  Expected<void> read_post_processor(const json& processor) {
    KRASIS_TRY(const std::string type, string_member(processor, "type", "tokenizer.json: the post-processor"));
    if (type == "ByteLevel") return {};  // adjusts offsets only
    if (type == "TemplateProcessing") return read_template(processor);
    if (type != "Sequence") return unsupported("post-processor '" + type + "'");
    const json* parts = member(processor, "processors");
    if (!parts || !parts->is_array()) return corrupt("a post-processor Sequence has no list of processors");
    for (const json& part : *parts) KRASIS_CHECK(read_post_processor(part));
    return {};
  }

  Expected<void> read_template(const json& processor) {
    const json* single = member(processor, "single");
    const json* tokens = member(processor, "special_tokens");
    if (!single || !single->is_array()) return corrupt("TemplateProcessing has no 'single'");
    bool behind_text = false;
    for (const json& piece : *single) {
      if (member(piece, "Sequence")) {
        behind_text = true;
        continue;
      }
      const json* special = member(piece, "SpecialToken");
      KRASIS_TRY(const std::string name,
                 string_member(special ? *special : json(), "id", "tokenizer.json: TemplateProcessing"));
      const json* entry = tokens ? member(*tokens, name.c_str()) : nullptr;
      const json* ids = entry ? member(*entry, "ids") : nullptr;
      if (!ids || !ids->is_array()) return corrupt("TemplateProcessing does not say what '" + name + "' is");
      for (const json& value : *ids) {
        KRASIS_TRY(const std::int32_t id, id_of(value, limits_, name));
        if (static_cast<std::size_t>(id) >= data_.tokens.size() || !data_.tokens[static_cast<std::size_t>(id)].exists)
          return corrupt("TemplateProcessing names the token " + std::to_string(id) + ", which does not exist");
        (behind_text ? data_.suffix_ids : data_.prefix_ids).push_back(id);
      }
    }
    if (!behind_text) return corrupt("TemplateProcessing leaves out the text");
    return {};
  }

  Data& data_;
  const TokenizerLimits& limits_;
};

namespace {

/// A token's text in tokenizer_config.json: a string, or an object with "content".
Expected<std::string> config_token(const json& root, const char* key) {
  const json* value = member(root, key);
  if (value && value->is_object()) return string_member(*value, "content", "tokenizer_config.json");
  return string_member(root, key, "tokenizer_config.json");
}

Expected<TokenizerConfig> read_config(std::string_view source, const TokenizerLimits& limits) {
  TokenizerConfig config;
  KRASIS_TRY(const json root, parse_json(source, "tokenizer_config.json", limits.json_depth));
  if (!root.is_object()) return fail(ErrorCode::Corrupt, "tokenizer_config.json is not an object.");
  KRASIS_TRY(config.bos_token, config_token(root, "bos_token"));
  KRASIS_TRY(config.eos_token, config_token(root, "eos_token"));
  KRASIS_TRY(config.pad_token, config_token(root, "pad_token"));
  KRASIS_TRY(config.add_bos_token, bool_member(root, "add_bos_token", false, "tokenizer_config.json"));
  const json* chat_template = member(root, "chat_template");
  if (chat_template && chat_template->is_array()) {
    for (const json& entry : *chat_template) {
      KRASIS_TRY(const std::string name, string_member(entry, "name", "tokenizer_config.json: a chat template"));
      KRASIS_TRY(const std::string body, string_member(entry, "template", "tokenizer_config.json: a chat template"));
      if (name == "default") config.chat_template = body;
    }
  } else {
    KRASIS_TRY(config.chat_template, string_member(root, "chat_template", "tokenizer_config.json"));
  }
  return config;
}

}  // namespace
}  // namespace text

Expected<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                         const TokenizerLimits& limits) {
  if (tokenizer_json.size() > limits.file_bytes || tokenizer_config_json.size() > limits.file_bytes)
    return fail(ErrorCode::Corrupt,
                "The tokenizer's files have more than " + std::to_string(limits.file_bytes) + " bytes.",
                "Check that they are the files of the model.");
  auto data = std::make_unique<Data>();
  {
    KRASIS_TRY(const json root, text::parse_json(tokenizer_json, "tokenizer.json", limits.json_depth));
    KRASIS_CHECK(text::TokenizerReader<Data>(*data, limits).read(root));
  }
  if (!tokenizer_config_json.empty()) {
    KRASIS_TRY(data->config, text::read_config(tokenizer_config_json, limits));
  }
  return Tokenizer(std::move(data));
}

Expected<Tokenizer> Tokenizer::load(const std::filesystem::path& tokenizer_json,
                                    const std::filesystem::path& tokenizer_config_json, const TokenizerLimits& limits) {
  KRASIS_TRY(const std::string source, read_file(tokenizer_json, limits.file_bytes));
  std::string config_source;
  if (!tokenizer_config_json.empty()) {
    KRASIS_TRY(config_source, read_file(tokenizer_config_json, limits.file_bytes));
  }
  KRASIS_TRY(Tokenizer tokenizer, from_json(source, config_source, limits));
  const auto template_file = tokenizer_config_json.parent_path() / "chat_template.jinja";
  if (!tokenizer_config_json.empty() && tokenizer.config().chat_template.empty() &&
      std::filesystem::exists(template_file)) {
    auto data = std::make_unique<Data>(*tokenizer.data_);
    KRASIS_TRY(data->config.chat_template, read_file(template_file, limits.file_bytes));
    return Tokenizer(std::move(data));
  }
  return tokenizer;
}

}  // namespace krasis

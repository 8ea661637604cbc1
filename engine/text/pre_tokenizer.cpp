#include "engine/text/pre_tokenizer.h"

#include "engine/text/json_guard.h"

namespace krasis::text {

namespace {

// ByteLevel's own pattern: GPT-2, "encoder.py".
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

tl::unexpected<Error> unsupported(const std::string& what) {
  return fail(ErrorCode::Unsupported, "The tokenizer's " + what + " is not supported.",
              "Use a model with a byte-level BPE tokenizer (GPT-2, Llama 3, Qwen, DeepSeek, gpt-oss).");
}

}  // namespace

Expected<PreTokenizer> PreTokenizer::from_json(const nlohmann::json& json) {
  PreTokenizer result;
  if (!json.is_null()) KRASIS_CHECK(result.add(json));
  if (!result.byte_level_) return unsupported("lack of a ByteLevel pre-tokenizer");
  return result;
}

Expected<void> PreTokenizer::add(const nlohmann::json& component) {
  if (!component.is_object()) return fail(ErrorCode::Corrupt, "A pre-tokenizer in tokenizer.json is not an object.");
  const auto type = string_member(component, "type", "A pre-tokenizer");
  return type ? add(*type, component) : tl::unexpected(type.error());
}

Expected<void> PreTokenizer::add(const std::string& type, const nlohmann::json& component) {
  if (type == "Sequence") {
    const nlohmann::json* parts = member(component, "pretokenizers");
    if (!parts || !parts->is_array())
      return fail(ErrorCode::Corrupt, "A pre-tokenizer Sequence in tokenizer.json has no list of pretokenizers.");
    for (const nlohmann::json& part : *parts) KRASIS_CHECK(add(part));
    return {};
  }
  if (byte_level_) return unsupported("pre-tokenizer '" + type + "' behind ByteLevel");
  if (type == "Split") return add_split(component);
  if (type == "Digits") {
    KRASIS_TRY(const bool individual, bool_member(component, "individual_digits", false, "The pre-tokenizer Digits"));
    KRASIS_TRY(Regex regex, Regex::compile(individual ? R"(\p{N})" : R"(\p{N}+)"));
    stages_.push_back({std::move(regex)});
    return {};
  }
  if (type == "ByteLevel") {
    KRASIS_TRY(const bool add_prefix_space, bool_member(component, "add_prefix_space", true, "ByteLevel"));
    KRASIS_TRY(const bool use_regex, bool_member(component, "use_regex", true, "ByteLevel"));
    Stage stage;
    stage.add_prefix_space = add_prefix_space;
    if (use_regex) {
      KRASIS_TRY(stage.regex, Regex::compile(kGpt2Pattern));
    }
    if (use_regex || add_prefix_space) stages_.push_back(std::move(stage));
    byte_level_ = true;
    return {};
  }
  return unsupported("pre-tokenizer '" + type + "'");
}

Expected<void> PreTokenizer::add_split(const nlohmann::json& component) {
  Stage stage;
  KRASIS_TRY(const bool invert, bool_member(component, "invert", false, "The pre-tokenizer Split"));
  KRASIS_TRY(const std::string behavior, string_member(component, "behavior", "The pre-tokenizer Split"));
  if (behavior == "Removed") {
    stage.keep = invert ? Keep::Matches : Keep::BetweenMatches;
  } else if (behavior != "Isolated") {
    return unsupported("Split behavior '" + behavior + "'");
  }
  const nlohmann::json* pattern = member(component, "pattern");
  const nlohmann::json* regex = pattern ? member(*pattern, "Regex") : nullptr;
  const nlohmann::json* literal = pattern ? member(*pattern, "String") : nullptr;
  if (regex && regex->is_string()) {
    KRASIS_TRY(stage.regex, Regex::compile(regex->get_ref<const std::string&>()));
  } else if (literal && literal->is_string()) {
    KRASIS_TRY(stage.regex, Regex::literal(literal->get_ref<const std::string&>()));
  } else {
    return fail(ErrorCode::Corrupt, "A pre-tokenizer Split in tokenizer.json has no pattern (Regex or String).");
  }
  stages_.push_back(std::move(stage));
  return {};
}

Expected<std::vector<std::string_view>> PreTokenizer::split(std::string_view piece, std::deque<std::string>& storage,
                                                            const MatchBudget& budget) const {
  std::vector<std::string_view> words;
  if (!piece.empty()) words.push_back(piece);
  for (const Stage& stage : stages_) {
    std::vector<std::string_view> cut;
    cut.reserve(words.size());
    for (std::string_view word : words) {
      if (stage.add_prefix_space && !word.starts_with(' ')) word = storage.emplace_back(" " + std::string(word));
      if (!stage.regex) {
        cut.push_back(word);
        continue;
      }
      std::size_t end_of_last = 0;
      const auto between = [&](std::size_t end) {
        if (end > end_of_last && stage.keep != Keep::Matches)
          cut.push_back(word.substr(end_of_last, end - end_of_last));
      };
      KRASIS_CHECK(stage.regex->for_each_match(word, budget, [&](std::size_t begin, std::size_t end) {
        between(begin);
        if (stage.keep != Keep::BetweenMatches) cut.push_back(word.substr(begin, end - begin));
        end_of_last = end;
      }));
      between(word.size());
    }
    words = std::move(cut);
  }
  return words;
}

}  // namespace krasis::text

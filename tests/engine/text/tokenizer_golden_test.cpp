// Token ids and texts against Hugging Face's tokenizers library (tests/goldens/text/make_text_goldens.py).
#include <gmock/gmock.h>

#include "engine/text/chat_template.h"
#include "engine/text/detokenizer.h"
#include "engine/text/tokenizer.h"
#include "tests/engine/text/text_goldens.h"

namespace krasis::test {
namespace {

using nlohmann::ordered_json;

std::string detokenize(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, bool skip_special) {
  Detokenizer detokenizer(tokenizer, skip_special);
  std::string text;
  for (const std::int32_t id : ids) text += detokenizer.append(id).value_or("<error>");
  return text + detokenizer.flush();
}

void expect_goldens(const Tokenizer& tokenizer, const ordered_json& golden) {
  ASSERT_FALSE(golden["encode"].empty());
  for (const ordered_json& entry : golden["encode"]) {
    const auto text = entry["text"].get<std::string>();
    SCOPED_TRACE(entry["text"].dump());
    const auto ids = entry["ids"].get<std::vector<std::int32_t>>();
    const auto plain_ids = entry.value("plain_ids", ids);
    const auto encoded = tokenizer.encode(text);
    ASSERT_TRUE(encoded) << encoded.error().message();
    EXPECT_EQ(*encoded, ids);
    const auto plain = tokenizer.encode(text, false);
    ASSERT_TRUE(plain) << plain.error().message();
    EXPECT_EQ(*plain, plain_ids);
  }
  for (const ordered_json& entry : golden.value("decode", ordered_json::array())) {
    const auto ids = entry["ids"].get<std::vector<std::int32_t>>();
    SCOPED_TRACE(entry["ids"].dump());
    EXPECT_EQ(tokenizer.decode(ids).value_or("<error>"), entry["text"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, true).value_or("<error>"), entry["without_special"].get<std::string>());
    EXPECT_EQ(detokenize(tokenizer, ids, false), entry["text"].get<std::string>());
    EXPECT_EQ(detokenize(tokenizer, ids, true), entry["without_special"].get<std::string>());
  }
}

void expect_chat_goldens(const Tokenizer& tokenizer, const ordered_json& chat) {
  const auto parsed = ChatTemplate::parse(tokenizer.config().chat_template);
  ASSERT_TRUE(parsed) << parsed.error().message();
  for (const ordered_json& entry : chat) {
    SCOPED_TRACE(entry.dump());
    std::vector<ChatMessage> messages;
    for (const ordered_json& message : entry["messages"])
      messages.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
    ChatTemplateOptions options;
    options.add_generation_prompt = entry["add_generation_prompt"].get<bool>();
    options.bos_token = tokenizer.config().bos_token;
    options.eos_token = tokenizer.config().eos_token;
    options.variables = entry.value("variables", ordered_json::object());
    const auto text = parsed->render(messages, options);
    ASSERT_TRUE(text) << text.error().message();
    EXPECT_EQ(*text, entry["text"].get<std::string>());
  }
}

class PublishedTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(PublishedTokenizer, AgreesWithHuggingFace) {
  const auto tokenizer_json = read_published(GetParam(), "tokenizer");
  const auto config_json = read_published(GetParam(), "tokenizer_config");
  if (!tokenizer_json || !config_json) GTEST_SKIP() << "../shared/tokenizers/" << GetParam() << " is not here";
  const auto tokenizer = Tokenizer::from_json(*tokenizer_json, *config_json);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  const ordered_json golden = read_golden(GetParam());
  expect_goldens(*tokenizer, golden);
  if (!golden["chat"].empty()) expect_chat_goldens(*tokenizer, golden["chat"]);
}

INSTANTIATE_TEST_SUITE_P(Models, PublishedTokenizer, testing::Values("qwen3", "gptoss", "deepseek_v3"));

TEST(TokenizerFixtures, AgreeWithHuggingFace) {
  const ordered_json goldens = read_golden("fixtures");
  ASSERT_FALSE(goldens["fixtures"].empty());
  for (const ordered_json& fixture : goldens["fixtures"]) {
    SCOPED_TRACE(fixture["name"].get<std::string>());
    const auto tokenizer = Tokenizer::from_json(fixture_json(goldens, fixture["patch"]));
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    expect_goldens(*tokenizer, fixture);
    if (fixture.contains("x_with_affixes")) {
      std::vector<std::int32_t> ids = tokenizer->prefix_ids();
      const auto x = tokenizer->encode("x");
      ids.insert(ids.end(), x->begin(), x->end());
      ids.insert(ids.end(), tokenizer->suffix_ids().begin(), tokenizer->suffix_ids().end());
      EXPECT_EQ(ids, fixture["x_with_affixes"].get<std::vector<std::int32_t>>());
    } else {
      EXPECT_THAT(tokenizer->prefix_ids(), testing::IsEmpty());
    }
  }
}

/// The folder under resources/models that holds the embedded model, or nothing.
std::optional<std::filesystem::path> embedded_model() {
  const auto models = std::filesystem::path(KRASIS_SOURCE_DIR) / "resources/models";
  if (!std::filesystem::is_directory(models)) return std::nullopt;
  for (const auto& entry : std::filesystem::directory_iterator(models))
    if (std::filesystem::exists(entry.path() / "tokenizer.json")) return entry.path();
  return std::nullopt;
}

TEST(EmbeddedModelTokenizer, AgreesWithHuggingFace) {
  const auto golden_file = std::filesystem::path(KRASIS_SOURCE_DIR) / "tests/goldens/text/embedded.json";
  const auto folder = embedded_model();
  if (!folder || !std::filesystem::exists(golden_file))
    GTEST_SKIP() << "the embedded model or its goldens are not here";
  const auto tokenizer = Tokenizer::load(*folder / "tokenizer.json", *folder / "tokenizer_config.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  const ordered_json golden = read_golden("embedded");
  ASSERT_FALSE(golden["encode"].empty());
  for (const ordered_json& entry : golden["encode"]) {
    SCOPED_TRACE(entry["text"].dump());
    const auto ids = tokenizer->encode(entry["text"].get<std::string>());
    ASSERT_TRUE(ids) << ids.error().message();
    EXPECT_EQ(*ids, entry["ids"].get<std::vector<std::int32_t>>());
    EXPECT_EQ(detokenize(*tokenizer, *ids, false), tokenizer->decode(*ids).value_or("<error>"));
  }
  ASSERT_FALSE(golden["chat"].empty());
  expect_chat_goldens(*tokenizer, golden["chat"]);
}

}  // namespace
}  // namespace krasis::test

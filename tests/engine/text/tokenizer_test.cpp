// What a tokenizer file may be, what its errors say, and how long encoding takes at worst.
#include "engine/text/tokenizer.h"

#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <random>

#include "engine/text/regex.h"
#include "engine/text/utf8.h"
#include "tests/engine/text/text_goldens.h"

namespace krasis::test {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using testing::HasSubstr;

std::string patched(const std::string& patch) {
  return fixture_json(read_golden("fixtures"), ordered_json::parse(patch));
}

struct BadFile {
  const char* patch;
  ErrorCode code;
  const char* message;
};

class BadTokenizer : public testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizer, FailsWithAReason) {
  const auto tokenizer = Tokenizer::from_json(patched(GetParam().patch));
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, GetParam().code) << tokenizer.error().message();
  EXPECT_THAT(tokenizer.error().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Components, BadTokenizer,
    testing::Values(
        BadFile{R"({"model": null})", ErrorCode::Corrupt, "no model"},
        BadFile{R"({"model": {"vocab": null}})", ErrorCode::Corrupt, "no vocabulary"},
        BadFile{R"({"model": {"vocab": [1, 2]}})", ErrorCode::Corrupt, "no vocabulary"},
        BadFile{R"({"model": {"merges": null}})", ErrorCode::Corrupt, "no list of merges"},
        BadFile{R"({"model": {"merges": ["a b c"]}})", ErrorCode::Corrupt, "not two tokens"},
        BadFile{R"({"model": {"merges": [["a"]]}})", ErrorCode::Corrupt, "merge number 0"},
        BadFile{R"({"model": {"merges": ["q x"]}})", ErrorCode::Corrupt, "needs the token 'qx'"},
        BadFile{R"({"model": {"merges": ["qqq x"]}})", ErrorCode::Corrupt, "needs the token 'qqq'"},
        BadFile{R"({"model": {"vocab": {"zz": -1}}})", ErrorCode::Corrupt, "id -1 of 'zz'"},
        BadFile{R"({"model": {"vocab": {"zz": 4194304}}})", ErrorCode::Corrupt, "between 0 and 4194303"},
        BadFile{R"({"model": {"vocab": {"zz": 1e30}}})", ErrorCode::Corrupt, "not an integer"},
        BadFile{R"({"model": {"vocab": {"zz": 18446744073709551615}}})", ErrorCode::Corrupt, "18446744073709551615"},
        BadFile{R"({"model": {"vocab": {"zz": 5}}})", ErrorCode::Corrupt, "id 5 is given to two tokens"},
        BadFile{R"({"model": {"vocab": {"zz": "5"}}})", ErrorCode::Corrupt, "not an integer"},
        BadFile{R"({"model": {"type": "Unigram"}})", ErrorCode::Unsupported, "model 'Unigram'"},
        BadFile{R"({"model": {"byte_fallback": true}})", ErrorCode::Unsupported, "byte_fallback"},
        BadFile{R"({"model": {"dropout": 0.1}})", ErrorCode::Unsupported, "dropout"},
        BadFile{R"({"model": {"unk_token": "<unk>"}})", ErrorCode::Unsupported, "unk_token"},
        BadFile{R"({"model": {"end_of_word_suffix": "</w>"}})", ErrorCode::Unsupported, "end_of_word_suffix"},
        BadFile{R"({"model": {"ignore_merges": "yes"}})", ErrorCode::Corrupt, "ignore_merges"},
        BadFile{R"({"normalizer": {"type": "Lowercase"}})", ErrorCode::Unsupported, "normalizer 'Lowercase'"},
        BadFile{R"({"normalizer": {"type": "Sequence"}})", ErrorCode::Corrupt, "list of normalizers"},
        BadFile{R"({"pre_tokenizer": null})", ErrorCode::Unsupported, "ByteLevel"},
        BadFile{R"({"pre_tokenizer": {"type": "Metaspace"}})", ErrorCode::Unsupported, "pre-tokenizer 'Metaspace'"},
        BadFile{R"({"pre_tokenizer": {"type": 3}})", ErrorCode::Corrupt, "'type' is not a string"},
        BadFile{
            R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]}})",
            ErrorCode::Unsupported, "'Digits' behind ByteLevel"},
        BadFile{R"({"pre_tokenizer": {"type": "Split", "behavior": "MergedWithNext", "pattern": {"String": "a"}}})",
                ErrorCode::Unsupported, "MergedWithNext"},
        BadFile{R"({"pre_tokenizer": {"type": "Split", "behavior": "Isolated"}})", ErrorCode::Corrupt, "no pattern"},
        BadFile{R"({"pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "(a"}}})",
                ErrorCode::Unsupported, "'(a' cannot be used"},
        BadFile{R"({"pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "[a&&b]"}}})",
                ErrorCode::Unsupported, "intersection"},
        BadFile{R"({"decoder": {"type": "WordPiece"}})", ErrorCode::Unsupported, "decoder 'WordPiece'"},
        BadFile{R"({"post_processor": {"type": "BertProcessing"}})", ErrorCode::Unsupported, "BertProcessing"},
        BadFile{R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "q"}}]}})",
                ErrorCode::Corrupt, "what 'q' is"},
        BadFile{R"({"added_tokens": [{"id": 5, "content": "<x>"}]})", ErrorCode::Corrupt, "id 5 is given to two"},
        BadFile{R"({"added_tokens": [{"id": 400, "content": "a"}]})", ErrorCode::Corrupt, "'a' has the id 400"},
        BadFile{R"({"added_tokens": [{"id": 400, "content": ""}]})", ErrorCode::Corrupt, "no content"},
        BadFile{R"({"added_tokens": [{"content": "<x>"}]})", ErrorCode::Corrupt, "'<x>' is not an integer"},
        BadFile{R"({"added_tokens": [7]})", ErrorCode::Corrupt, "no content"}));

TEST(TokenizerFile, BrokenJsonSaysWhere) {
  for (const std::string& text : {std::string("{\"model\": "), std::string("{\"model\": \"\xff\"}"), std::string()}) {
    const auto tokenizer = Tokenizer::from_json(text);
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, ErrorCode::Corrupt);
    EXPECT_THAT(tokenizer.error().message(), HasSubstr("not valid JSON"));
  }
  EXPECT_THAT(Tokenizer::from_json("[]").error().message(), HasSubstr("not an object"));
}

TEST(TokenizerFile, DeepNestingAndSizeHaveLimits) {
  const auto deep = Tokenizer::from_json(std::string(100'000, '['));
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message(), HasSubstr("nested more than 64"));
  TokenizerLimits limits;
  limits.file_bytes = 100;
  EXPECT_THAT(Tokenizer::from_json(patched("{}"), "", limits).error().message(), HasSubstr("more than 100 bytes"));
}

TEST(TokenizerFile, MissingFileIsNamed) {
  const auto tokenizer = Tokenizer::load("/nonexistent/tokenizer.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::NotFound);
  EXPECT_THAT(tokenizer.error().message(), HasSubstr("/nonexistent/tokenizer.json"));
}

TEST(TokenizerFile, ConfigAndChatTemplateFile) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "krasis_tokenizer_config";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << patched("{}");
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null, "add_bos_token": true})";
  std::ofstream(folder / "chat_template.jinja") << "{{ messages }}";
  const auto tokenizer = Tokenizer::load(folder / "tokenizer.json", folder / "tokenizer_config.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->config().bos_token, "<s>");
  EXPECT_EQ(tokenizer->config().eos_token, "</s>");
  EXPECT_EQ(tokenizer->config().pad_token, "");
  EXPECT_TRUE(tokenizer->config().add_bos_token);
  EXPECT_EQ(tokenizer->config().chat_template, "{{ messages }}");
  std::filesystem::remove_all(folder);

  const auto named = Tokenizer::from_json(
      patched("{}"), R"({"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]})");
  EXPECT_EQ(named->config().chat_template, "D");
  EXPECT_FALSE(Tokenizer::from_json(patched("{}"), R"({"bos_token": 5})"));
}

TEST(TokenizerLookup, IdsBytesAndSpecialTokens) {
  const auto tokenizer =
      Tokenizer::from_json(patched(R"({"added_tokens": [{"id": 310, "content": "<é>", "special": true}]})"));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->vocabulary_size(), 311);
  EXPECT_EQ(tokenizer->token_id("<é>").value_or(-1), 310);
  EXPECT_EQ(tokenizer->token_bytes(310).value_or(""), "<é>");
  EXPECT_TRUE(tokenizer->is_special(310));
  EXPECT_FALSE(tokenizer->is_special(5));
  EXPECT_FALSE(tokenizer->is_special(-1));
  const auto space = tokenizer->token_id("Ġ");
  ASSERT_TRUE(space);
  EXPECT_EQ(tokenizer->token_bytes(*space).value_or(""), " ");
  EXPECT_EQ(tokenizer->token_id("nothing").error().code, ErrorCode::NotFound);
  for (const std::int32_t id : {-1, 309, 311}) EXPECT_EQ(tokenizer->token_bytes(id).error().code, ErrorCode::NotFound);
  EXPECT_FALSE(tokenizer->decode(std::vector<std::int32_t>{5, 309}));
}

TEST(TokenizerText, InvalidUtf8IsAnErrorWithItsPlace) {
  const auto tokenizer = Tokenizer::from_json(patched("{}"));
  for (const std::string tail : {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    const auto ids = tokenizer->encode("abc" + tail);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().code, ErrorCode::InvalidArgument);
    EXPECT_THAT(ids.error().message(), HasSubstr("at byte 3"));
    EXPECT_TRUE(tokenizer->encode(replace_invalid_utf8("abc" + tail)));
  }
}

TEST(TokenizerText, AByteWithoutATokenIsAnError) {
  const auto tokenizer = Tokenizer::from_json(patched(R"({"model": {"vocab": {"!": null}}})"));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_TRUE(tokenizer->encode("abc"));
  EXPECT_THAT(tokenizer->encode("abc!").error().message(), HasSubstr("byte 33"));
}

/// BPE as its definition says: joins the pair of lowest rank, leftmost first, by looking through the whole word.
std::vector<std::string> naive_bpe(const std::string& word,
                                   const std::map<std::pair<std::string, std::string>, int>& ranks) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    auto best = ranks.end();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found != ranks.end() && (best == ranks.end() || found->second < best->second)) best = found, at = i;
    }
    if (best == ranks.end()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(TokenizerText, RandomWordsAgreeWithTheDefinition) {
  const ordered_json goldens = read_golden("fixtures");
  const auto tokenizer = Tokenizer::from_json(goldens["base"].dump());
  std::map<std::pair<std::string, std::string>, int> ranks;
  for (const ordered_json& merge : goldens["base"]["model"]["merges"]) {
    const auto both = merge.get<std::string>();
    const auto space = both.find(' ');
    ranks.emplace(std::pair(both.substr(0, space), both.substr(space + 1)), static_cast<int>(ranks.size()));
  }
  std::mt19937 random(7);
  const std::string letters = "dragonshelot";
  for (int round = 0; round < 300; ++round) {
    std::string word;
    const std::size_t length = 1 + random() % 300;
    while (word.size() < length) word += letters[random() % letters.size()];
    std::vector<std::int32_t> expected;
    for (const std::string& part : naive_bpe(word, ranks)) expected.push_back(tokenizer->token_id(part).value());
    EXPECT_EQ(tokenizer->encode(word).value(), expected) << word;
  }
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids) << ids.error().message();
  if (ids) {
    EXPECT_EQ(tokenizer.decode(*ids).value_or(""), text);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A quadratic method needs minutes for these; the bound leaves room for sanitizers and busy machines.
TEST(TokenizerSpeed, LongTextAndLongWordsAreNotQuadratic) {
  const auto json_text = read_published("qwen3", "tokenizer");
  const auto tokenizer = Tokenizer::from_json(json_text ? *json_text : patched(R"({"normalizer": {"type": "NFC"}})"));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  std::mt19937 random(3);
  std::string prose, letters, marks = "e";
  while (prose.size() < (1u << 20)) prose += "dragon " + std::to_string(random() % 5000) + " reads, and the hill\n";
  for (int i = 0; i < 200'000; ++i) letters += static_cast<char>('a' + random() % 26);
  for (int i = 0; i < 100'000; ++i) marks += "\u0316";
  const std::pair<const char*, std::string> texts[] = {{"1 MiB of prose", prose},
                                                       {"one word of 200 KB", letters},
                                                       {"one letter, 500 KB", std::string(500'000, 'a')},
                                                       {"spaces, 500 KB", std::string(500'000, ' ') + "x"},
                                                       {"line feeds, 500 KB", std::string(500'000, '\n')},
                                                       {"100,000 combining marks", marks}};
  for (const auto& [name, text] : texts) {
    const double seconds = seconds_to_encode(*tokenizer, text);
    std::printf("%-24s %.3f s\n", name, seconds);
    EXPECT_LT(seconds, 30.0) << name;
  }
}

TEST(TokenizerSpeed, MarksInTheWrongOrderAreNormalizedInTime) {
  std::string marks = "e", expected = "e";
  for (int i = 0; i < 200'000; ++i) marks += i % 2 ? "\u0316" : "\u0302";  // classes 230, 220, 230, ...
  const auto start = std::chrono::steady_clock::now();
  const std::string normalized = normalize_nfc(marks);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  expected = "\u00ea";  // the circumflex joins the letter, as no mark of its class comes before it
  for (int i = 0; i < 100'000; ++i) expected += "\u0316";
  for (int i = 1; i < 100'000; ++i) expected += "\u0302";
  EXPECT_EQ(normalized, expected);
}

TEST(TokenizerSpeed, HostilePatternsEnd) {
  for (const char* pattern : {"(a+)+$", "(a|a)*b", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(?=(a+)+b)a"}) {
    const auto regex = text::Regex::compile(pattern);
    ASSERT_TRUE(regex) << regex.error().message();
    const auto start = std::chrono::steady_clock::now();
    // Either an answer or an error, in bounded time.
    const auto result = regex->for_each_match(std::string(5000, 'a') + "!", {start + std::chrono::seconds(2)},
                                              [](std::size_t, std::size_t) {});
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60)) << pattern;
    if (!result) {
      EXPECT_THAT(result.error().message(), HasSubstr("too many steps"));
    }
  }
}

TEST(Regex, OnigurumaIsTranslated) {
  EXPECT_EQ(text::translate_oniguruma(R"(\s+(?!\S)[^\s\d]\d{,3})").value(),
            R"([\t-\r\x{85}\p{Z}]+(?![^\t-\r\x{85}\p{Z}])[^\t-\r\x{85}\p{Z}\d]\d{0,3})");
  EXPECT_EQ(text::translate_oniguruma(R"([]a]\u00e9\v\[)").value(), R"([\]a]\x{00e9}\x0B\[)");
  for (const char* pattern :
       {"[a[b]]", "[\\W]", "\\h", "(?m:a)", "(*ACCEPT)", "(?R)", "(?<n>a)", "a{2}+", "a{x}", "[a", "\\", "\\1", "\\K"})
    EXPECT_EQ(text::translate_oniguruma(pattern).error().code, ErrorCode::Unsupported) << pattern;
}

TEST(TokenizerFuzz, MutatedFilesGiveErrorsOrTokenizers) {
  const ordered_json goldens = read_golden("fixtures");
  std::mt19937 random(11);
  int loaded = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto& fixture = goldens["fixtures"][random() % goldens["fixtures"].size()];
    std::string source = fixture_json(goldens, fixture["patch"]);
    const std::size_t mutations = 1 + random() % 4;
    for (std::size_t i = 0; i < mutations; ++i) {
      const std::size_t at = random() % source.size();
      switch (random() % 6) {
        case 0:
          source[at] = static_cast<char>(random());
          break;
        case 1:
          source.erase(at, random() % 40);
          break;
        case 2:
          source.insert(at, source.substr(random() % source.size(), random() % 40));
          break;
        case 3:
          source[at] = "{}[]\",:0-eE\\ntf"[random() % 15];
          break;
        case 4:
          source.replace(at, 1, std::to_string(random()));
          break;
        default:
          if (random() % 20 == 0)
            source.resize(at);
          else
            source[at] = static_cast<char>('0' + random() % 10);
      }
      if (source.empty()) source = "x";
    }
    const auto tokenizer = Tokenizer::from_json(source);
    if (!tokenizer) {
      ++refused;
      EXPECT_FALSE(tokenizer.error().cause.empty());
      continue;
    }
    ++loaded;
    for (const char* text : {"hello the dragon 12 é 😀\n", "<a>b <left> word both"}) {
      const auto ids = tokenizer->encode(text);
      if (ids) {
        EXPECT_TRUE(tokenizer->decode(*ids));
      }
    }
  }
  EXPECT_GT(loaded, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace krasis::test

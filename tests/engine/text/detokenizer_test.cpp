#include "engine/text/detokenizer.h"

#include <random>

#include "engine/text/utf8.h"
#include "tests/engine/text/text_goldens.h"

namespace krasis::test {
namespace {

Tokenizer base_tokenizer() {
  const auto goldens = read_golden("fixtures");
  auto tokenizer = Tokenizer::from_json(fixture_json(
      goldens,
      nlohmann::ordered_json::parse(R"({"added_tokens": [{"id": 310, "content": "<end>", "special": true}]})")));
  EXPECT_TRUE(tokenizer) << tokenizer.error().message();
  return std::move(*tokenizer);
}

std::int32_t byte_id(const Tokenizer& tokenizer, unsigned char byte) {
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const auto bytes = tokenizer.token_bytes(id);
    if (bytes && *bytes == std::string_view(reinterpret_cast<const char*>(&byte), 1)) return id;
  }
  return -1;
}

TEST(Detokenizer, HoldsBackUnfinishedCharacters) {
  const Tokenizer tokenizer = base_tokenizer();
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0xf0)).value(), "");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0x9f)).value(), "");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0x98)).value(), "");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0x80)).value(), "😀");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0xe2)).value(), "");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 'a')).value(), "\ufffda");  // e2 can no longer become a character
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 0xc3)).value(), "");
  EXPECT_EQ(detokenizer.flush(), "\ufffd");
  EXPECT_EQ(detokenizer.append(byte_id(tokenizer, 'b')).value(), "b");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, SpecialTokensAreSkippedOnRequest) {
  const Tokenizer tokenizer = base_tokenizer();
  EXPECT_EQ(Detokenizer(tokenizer, true).append(310).value(), "");
  EXPECT_EQ(Detokenizer(tokenizer, false).append(310).value(), "<end>");
  EXPECT_EQ(Detokenizer(tokenizer).append(5000).error().code, ErrorCode::NotFound);
}

TEST(Detokenizer, RandomBytesGiveTheTextOfDecode) {
  const Tokenizer tokenizer = base_tokenizer();
  std::mt19937 random(5);
  const std::vector<unsigned char> bytes = {0x41, 0x80, 0xbf, 0xc3, 0xa9, 0xe2, 0x82, 0xac,
                                            0xed, 0xa0, 0xf0, 0x9f, 0x98, 0xf4, 0xff};
  for (int round = 0; round < 500; ++round) {
    std::vector<std::int32_t> ids;
    Detokenizer detokenizer(tokenizer);
    std::string streamed;
    for (int i = 0; i < 20; ++i) {
      ids.push_back(byte_id(tokenizer, bytes[random() % bytes.size()]));
      const auto piece = detokenizer.append(ids.back()).value();
      EXPECT_FALSE(find_invalid_utf8(piece));
      streamed += piece;
    }
    EXPECT_EQ(streamed + detokenizer.flush(), tokenizer.decode(ids).value());
  }
}

TEST(StopMatcher, HoldsBackWhatMayBeginAStopString) {
  StopMatcher matcher({"<end>", "\n\n"});
  EXPECT_EQ(matcher.append("abc<"), "abc");
  EXPECT_EQ(matcher.append("en"), "");
  EXPECT_EQ(matcher.append("x\n"), "<enx");
  EXPECT_EQ(matcher.append("y"), "\ny");
  EXPECT_EQ(matcher.append("z<e"), "z");
  EXPECT_EQ(matcher.append("nd>tail"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), "<end>");
  EXPECT_EQ(matcher.append("more"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, FlushGivesWhatWasHeld) {
  StopMatcher matcher({"stop", ""});
  EXPECT_EQ(matcher.append("abc st"), "abc ");
  EXPECT_EQ(matcher.flush(), "st");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(StopMatcher({}).append("anything"), "anything");
}

// Where the text is cut must not matter: compared with a search of the whole text for the stop that ends first.
TEST(StopMatcher, CutsDoNotMatter) {
  std::mt19937 random(9);
  const std::vector<std::string> stops = {"abab", "ba", "aaab", "bbbb"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += "aaabc"[random() % 5];
    std::string expected = text;
    for (std::size_t end = 1; end <= text.size() && expected == text; ++end)
      for (const std::string& stop : {stops[0], stops[2], stops[3], stops[1]})  // longest first
        if (std::string_view(text).substr(0, end).ends_with(stop)) {
          expected = text.substr(0, end - stop.size());
          break;
        }
    StopMatcher matcher(stops);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = 1 + random() % 4;
      out += matcher.append(std::string_view(text).substr(at, length));
      at += length;
    }
    out += matcher.flush();
    EXPECT_EQ(out, expected) << text;
  }
}

TEST(Utf8, ReplacesMaximalParts) {
  // The example of the Unicode standard, table 3-11.
  EXPECT_EQ(replace_invalid_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), "\ufffd\ufffd\ufffd\ufffd\x41");
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(find_invalid_utf8("aé😀"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("a\xc3\xa9\xff"), 3u);
  EXPECT_EQ(to_utf8(to_utf32("aé€😀")), "aé€😀");
}

}  // namespace
}  // namespace krasis::test

// Templates against Jinja2 with the settings of transformers, and what hostile ones may do.
#include "engine/text/chat_template.h"

#include <gmock/gmock.h>

#include <chrono>
#include <random>

#include "tests/engine/text/text_goldens.h"

namespace krasis::test {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

Expected<std::string> render(std::string_view source, const ordered_json& variables = ordered_json::object(),
                             const ChatTemplateLimits& limits = {}) {
  KRASIS_TRY(const ChatTemplate parsed, ChatTemplate::parse(source));
  return parsed.render_variables(variables, limits);
}

TEST(ChatTemplate, SnippetsAgreeWithJinja2) {
  const ordered_json goldens = read_golden("jinja");
  ASSERT_GE(goldens["cases"].size(), 60u);
  for (const ordered_json& entry : goldens["cases"]) {
    SCOPED_TRACE(entry["template"].dump());
    const auto text = render(entry["template"].get<std::string>(), entry["variables"]);
    if (entry.contains("text")) {
      ASSERT_TRUE(text) << text.error().message();
      EXPECT_EQ(*text, entry["text"].get<std::string>());
    } else {
      ASSERT_FALSE(text) << *text << " instead of " << entry["error"];
      EXPECT_EQ(text.error().code, ErrorCode::InvalidArgument) << text.error().message();
    }
  }
}

TEST(ChatTemplate, RefusalKeepsTheTemplatesWords) {
  const auto text = render("{{ raise_exception('Only user and assistant roles') }}");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().cause, "The chat template refuses this conversation: Only user and assistant roles");
}

TEST(ChatTemplate, VariablesWinOverOptions) {
  const auto parsed =
      ChatTemplate::parse("{{ bos_token }}{{ eos_token is defined }}{{ messages[0].role }}{{ tools is none }}{{ x }}");
  ChatTemplateOptions options;
  options.bos_token = "<s>";
  options.variables = {{"x", 5}, {"bos_token", "<t>"}};
  const std::vector<ChatMessage> messages = {{"user", "hi"}};
  EXPECT_EQ(parsed->render(messages, options).value(), "<t>FalseuserTrue5");
}

TEST(ChatTemplate, StrftimeNowUsesTheGivenTime) {
  ChatTemplateLimits limits;
  limits.now = 1'000'000'000;  // 2001-09-09 01:46:40 UTC; the same year and month in every time zone
  EXPECT_EQ(render("{{ strftime_now('%Y-%m') }}", ordered_json::object(), limits).value(), "2001-09");
}

struct Refused {
  const char* source;
  ErrorCode code;
  const char* message;
};

class RefusedTemplate : public testing::TestWithParam<Refused> {};

TEST_P(RefusedTemplate, NamesThePlace) {
  const auto parsed = ChatTemplate::parse(GetParam().source);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, GetParam().code) << parsed.error().message();
  EXPECT_THAT(parsed.error().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Sources, RefusedTemplate,
    testing::Values(Refused{"a\né {% include 'x' %}", ErrorCode::Unsupported,
                            "line 2, column 6 what is not supported: the statement 'include'"},
                    Refused{"{% call f() %}{% endcall %}", ErrorCode::Unsupported, "'call'"},
                    Refused{"{% raw %}{% endraw %}", ErrorCode::Unsupported, "'raw'"},
                    Refused{"{{ x|batch(2) }}", ErrorCode::Unsupported,
                            "line 1, column 6 what is not supported: the filter 'batch'"},
                    Refused{"{{ x is prime }}", ErrorCode::Unsupported, "the test 'prime'"},
                    Refused{"{{ x.encode() }}", ErrorCode::Unsupported, "the method 'encode'"},
                    Refused{"{{ 2 ** 3 }}", ErrorCode::Unsupported, "**"},
                    Refused{"{{ f(*x) }}", ErrorCode::Unsupported, "unpacked"},
                    Refused{"{{ cycler(1) }}", ErrorCode::Unsupported, "'cycler'"},
                    Refused{"{% for x in y recursive %}{% endfor %}", ErrorCode::Unsupported, "recursive"},
                    Refused{"{% for x in y %}{% macro f() %}{% endmacro %}{% endfor %}", ErrorCode::Unsupported,
                            "a macro inside"},
                    Refused{"{% for (a, (b, c)) in y %}{% endfor %}", ErrorCode::Unsupported, "nested targets"},
                    Refused{"{{ 99999999999999999999 }}", ErrorCode::Unsupported, "64 bits"},
                    Refused{"{{ '\\N{DASH}' }}", ErrorCode::Unsupported, "\\N"},
                    Refused{"{{ 1 + }}", ErrorCode::InvalidArgument, "line 1, column 8: an expression is missing"},
                    Refused{"{{ 1", ErrorCode::InvalidArgument, "a tag does not end"},
                    Refused{"{# x", ErrorCode::InvalidArgument, "a comment does not end"},
                    Refused{"{{ 'x }}", ErrorCode::InvalidArgument, "a string does not end"},
                    Refused{"{{ (1] }}", ErrorCode::InvalidArgument, "unexpected ']'"},
                    Refused{"{{ a b }}", ErrorCode::InvalidArgument, "unexpected 'b'"},
                    Refused{"{{ $ }}", ErrorCode::InvalidArgument, "no meaning"},
                    Refused{"{{ }}", ErrorCode::InvalidArgument, "missing"},
                    Refused{"{% if x %}", ErrorCode::InvalidArgument, "'endif' is missing"},
                    Refused{"{% if x %}{% endfor %}", ErrorCode::InvalidArgument, "expected 'endif'"},
                    Refused{"{% endif %}", ErrorCode::InvalidArgument, "unexpected 'endif'"},
                    Refused{"{% break %}", ErrorCode::InvalidArgument, "outside of a loop"},
                    Refused{"{% %}", ErrorCode::InvalidArgument, "name is missing"},
                    Refused{"{% set none = 1 %}", ErrorCode::InvalidArgument, "'none' cannot be set"},
                    Refused{"\xff", ErrorCode::InvalidArgument, "UTF-8 at byte 0"}));

TEST(ChatTemplate, RuntimeErrorsNameThePlace) {
  EXPECT_THAT(render("x\n  {{ a.b.c }}").error().message(), HasSubstr("line 2, column 7: 'a' is undefined"));
  EXPECT_THAT(render("{{ 9223372036854775807 + 1 }}").error().message(), HasSubstr("64 bits"));
  EXPECT_THAT(render("{{ 'a' % 1 }}").error().message(), HasSubstr("formatting"));
  EXPECT_EQ(render("{{ 'a' % 1 }}").error().code, ErrorCode::Unsupported);
  EXPECT_EQ(render("x", ordered_json::array()).error().code, ErrorCode::InvalidArgument);
}

std::string nested(const std::string& open, const std::string& middle, const std::string& close, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += open;
  text += middle;
  for (int i = 0; i < count; ++i) text += close;
  return text;
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  const std::string loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x";
  const std::string end = "{% endfor %}{% endfor %}{% endfor %}";
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += " + 1";
  std::string postfix = "{{ a";
  for (int i = 0; i < 100'000; ++i) postfix += ".b";
  const std::pair<std::string, const char*> sources[] = {
      {loops + end, "too many steps"},
      {"{{ 'x' * 100000000000 }}", "too much text"},
      {"{{ 'x' * 9223372036854775807 }}", "too much text"},
      {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
       "too much text"},
      {"{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "too much text"},
      {"{{ range(9999999) }}", "100,000"},
      {"{{ range(-9223372036854775807, 9223372036854775807) }}", "100,000"},
      {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "too deeply"},
      {"{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
       "too deeply"},
      {"{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a|tojson }}",
       "too deeply"},
      {"{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a == [ns.a] "
       "}}",
       "too deeply"},
      {"{% set ns = namespace(a=1) %}{% set ns.a = [ns] %}{{ ns.a }}", "cannot be printed"},
      {"{{ " + nested("(", "1", ")", 100'000) + " }}", "nest"},
      {"{{ " + nested("[", "1", "]", 400) + " }}", "nest"},
      {"{{ " + nested("not ", "1", "", 100'000) + " }}", "nest"},
      {"{{ " + nested("-", "1", "", 100'000) + " }}", "nest"},
      {"{{ " + nested("1 if 1 else ", "1", "", 100'000) + " }}", "nest"},
      {sum + " }}", "nest"},
      {postfix + " }}", "nest"},
      {nested("{% if 1 %}", "x", "{% endif %}", 100'000), "nest"},
      {"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
       "too many steps"}};
  for (const auto& [source, message] : sources) {
    SCOPED_TRACE(source.substr(0, 100));
    const auto start = std::chrono::steady_clock::now();
    const auto text = render(source);
    ASSERT_FALSE(text);
    EXPECT_THAT(text.error().message(), HasSubstr(message));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  }
}

TEST(ChatTemplate, LongElifChainsAndTextAreFine) {
  std::string source = "{% if n == 0 %}0";
  for (int i = 1; i < 2000; ++i) source += "{% elif n == " + std::to_string(i) + " %}" + std::to_string(i);
  EXPECT_EQ(render(source + "{% endif %}", {{"n", 1999}}).value(), "1999");
  EXPECT_EQ(render(std::string(1 << 20, 'x')).value().size(), 1u << 20);
}

TEST(ChatTemplateFuzz, MutationsGiveErrorsOrText) {
  const ordered_json cases = read_golden("jinja")["cases"];
  std::mt19937 random(13);
  const std::string pieces[] = {"{{", "}}",    "{%",     "%}",  "{#",  "#}", "-",    "|",  "(",     ")",  "[",
                                "]",  "{",     "}",      ":",   ",",   ".",  "'",    "\\", "~",     "if", "for",
                                "in", "endif", "endfor", "set", "not", "is", "loop", "x",  "99999", "\n", "é"};
  ChatTemplateLimits limits;
  limits.steps = 20'000;
  limits.string_bytes = limits.output_bytes = 1 << 20;
  int rendered = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string source = cases[random() % cases.size()]["template"].get<std::string>();
    const std::size_t mutations = 1 + random() % 4;
    for (std::size_t i = 0; i < mutations; ++i) {
      const std::size_t at = random() % (source.size() + 1);
      switch (random() % 5) {
        case 0:
          source.insert(at, pieces[random() % std::size(pieces)]);
          break;
        case 1:
          source.erase(at, 1 + random() % 6);
          break;
        case 2:
          source.insert(at, source.substr(random() % (source.size() + 1), random() % 30));
          break;
        case 3:
          if (at < source.size()) source[at] = static_cast<char>(random() % 128);
          break;
        default:
          source += cases[random() % cases.size()]["template"].get<std::string>();
      }
    }
    const auto text = render(source, cases[0]["variables"], limits);
    if (text) {
      ++rendered;
    } else {
      ++refused;
      EXPECT_FALSE(text.error().cause.empty());
      EXPECT_FALSE(text.error().remedy.empty()) << text.error().cause;
    }
  }
  EXPECT_GT(rendered, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace krasis::test

#include "engine/protocol/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

namespace krasis::protocol {
namespace {

using nlohmann::json;
using testing::HasSubstr;

RunConfiguration configuration() {
  RunConfiguration r;
  r.lgs = 4;
  r.hcs = HotCache::Multi;
  r.hcs_share = 0.3;
  r.model = "/models/\"quoted\"";
  return r;
}

std::vector<Request> requests() {
  return {Hello{},
          Load{"l1", configuration()},
          Benchmark{"b1", configuration()},
          Generate{
              "g1", configuration(), {{"system", "Be short."}, {"user", "Tell me\na story: \xf0\x9f\xa4\x96"}}, "", 20},
          Generate{"g2", configuration(), {}, "Once upon", 5},
          Cancel{"b1"},
          Cancel{""},
          Shutdown{}};
}

std::vector<Event> events() {
  const MachineFacts machine{"EPYC, 64 GiB",
                             "EPYC",
                             std::int64_t{64} << 30,
                             "",
                             "",
                             "Linux 6.1",
                             "abcd",
                             R"({"cores":8})",
                             R"({"memory_read_gb_per_s":17.5})"};
  Sample sample;
  sample.id = "b1";
  sample.index = 2;
  sample.prefill_tokens = 512;
  sample.prefill_s = 0.1;
  sample.ttft_s = 1.0 / 3;
  sample.decode_tokens = 2;
  sample.decode_s = 0.75;
  sample.decode_token_s = {0.25, 0.5};
  sample.metrics_json = R"({"cache_hits":3})";
  sample.output_text = "a\tb";
  Finished finished;
  finished.id = "b1";
  finished.prompt_tokens = 512;
  finished.tokens = 3;
  finished.stop_reason = "length";
  finished.verdict = {"fail", "worst regret, nats", 9.5, 0.15, "token 1"};
  finished.plan_json = R"({"items":[{"bytes":1}]})";
  return {Ready{"0.1.0", {{"host", "EPYC", 0, 1 << 30}}, machine},
          Environment{machine},
          Loading{"b1", "quantize", 0.5},
          Loaded{"b1", {"fade", "tiny", "qwen3_moe", "5 layers", true}, 4, R"({"a":[1,2]})", "9f", {"one", "two"}},
          Stage{"b1", "warm-up", 0, 1},
          sample,
          Token{"g1", 7, " tea", 0.125},
          finished,
          Log{"warning", "load", "careful"},
          Heartbeat{12.5, "repetition"},
          Failed{"b1", "out_of_memory", "Too big.", "Lower LGS.", "load"}};
}

TEST(Protocol, RequestsRoundTrip) {
  for (const Request& request : requests()) {
    const std::string line = encode(request);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto decoded = decode_request(line);
    ASSERT_TRUE(decoded) << line << "\n" << decoded.error().message();
    EXPECT_EQ(*decoded, request) << line;
  }
}

TEST(Protocol, EventsRoundTrip) {
  const auto all = events();
  EXPECT_EQ(all.size(), std::variant_size_v<Event>);
  for (const Event& event : all) {
    const std::string line = encode(event);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto decoded = decode_event(line);
    ASSERT_TRUE(decoded) << line << "\n" << decoded.error().message();
    EXPECT_EQ(*decoded, event) << line;
  }
}

TEST(Protocol, InvalidUtf8IsReplacedWhenWritten) {
  const auto decoded = decode_event(encode(Event(Token{"g", 0, "caf\xe9", 0})));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<Token>(*decoded).text, "caf\xef\xbf\xbd");
}

// What came later than version 1's first programs may be missing, so that they still understand each other.
TEST(Protocol, TelemetryAndTracesAreOptional) {
  const Benchmark traced{"b1", configuration(), "/tmp/a b.json"};
  EXPECT_EQ(decode_request(encode(Request{traced})).value(), Request{traced});
  EXPECT_THAT(encode(Request{Benchmark{"b1", configuration()}}), testing::Not(HasSubstr("trace_file")));
  Ready ready{"0.1.0", {}, {}, "No driver."};
  EXPECT_EQ(decode_event(encode(Event{ready})).value(), Event{ready});
  EXPECT_THAT(encode(Event{ready}), testing::Not(HasSubstr("host_memory_bytes")));
  ready.host_memory_bytes = std::int64_t{7} << 30;
  EXPECT_EQ(decode_event(encode(Event{ready})).value(), Event{ready});
  Stage stage{"b1", "verdict", 0, 1};
  EXPECT_THAT(encode(Event{stage}), testing::Not(HasSubstr("share")));
  stage.part = "reference";
  stage.done = 41;
  stage.all = 128;
  stage.share = 0.75;
  stage.left_s = 12.5;
  EXPECT_EQ(decode_event(encode(Event{stage})).value(), Event{stage});
  Finished finished{.id = "b1", .stop_reason = "length"};
  EXPECT_THAT(encode(Event{finished}), testing::Not(HasSubstr("telemetry")));
  finished.telemetry_json = R"({"prefill":{"seconds":0.5}})";
  finished.disturbance = "krasis chat (process 7) computed meanwhile.";
  EXPECT_EQ(decode_event(encode(Event{finished})).value(), Event{finished});
  json line = json::parse(encode(Event{finished}));
  line["telemetry"] = "text";
  const auto wrong = decode_event(line.dump());
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().cause, HasSubstr("\"telemetry\" must be an object"));
}

// Every field of every message is required: without it, decoding says which one is missing.
TEST(Protocol, EveryFieldIsRequired) {
  const auto check = [](const std::string& line, auto decode) {
    const json whole = json::parse(line);
    for (const auto& [key, value] : whole.items()) {
      json without = whole;
      without.erase(key);
      const auto decoded = decode(without.dump());
      ASSERT_FALSE(decoded) << without;
      EXPECT_THAT(decoded.error().cause, HasSubstr("\"" + key + "\"")) << without;
      json mistyped = whole;
      mistyped[key] = json::array({json::array()});
      EXPECT_FALSE(decode(mistyped.dump())) << mistyped;
    }
  };
  for (const Request& request : requests()) check(encode(request), decode_request);
  for (const Event& event : events()) check(encode(event), decode_event);
}

TEST(Protocol, UnknownFieldsAreIgnored) {
  EXPECT_TRUE(decode_request(R"({"v":1,"type":"cancel","id":"a","why":["because"]})"));
}

// A line as programs wrote it while precisions were numbers of bits.
TEST(Protocol, OldNamesOfParametersAreRead) {
  const auto request = decode_request(
      R"({"v":1,"type":"benchmark","id":"run-1","configuration":{"model":"embedded","lgs":2,"hcs":"off","gpu_bits":8,)"
      R"("cpu_bits":4,"attention_bits":16,"dense_mlp_bits":8,"lm_head_bits":4,"group_size":128,"kv_cache":"bf16"}})");
  ASSERT_TRUE(request) << request.error().message();
  const RunConfiguration& read = std::get<Benchmark>(*request).configuration;
  RunConfiguration expected;
  expected.gpu_format = expected.dense_mlp_format = "int8";
  expected.cpu_format = expected.lm_head_format = "int4";
  expected.attention_format = "bf16";
  EXPECT_EQ(read, expected);
}

TEST(Protocol, RefusesWithTheReason) {
  const std::string deep =
      R"({"v":1,"type":"cancel","id":"a","x":)" + std::string(40, '[') + std::string(40, ']') + "}";
  const std::string bottomless(1'000'000, '[');
  for (
      const auto& [line, cause] : {
          std::pair<std::string, std::string>{"", "no JSON object"},
          {"hello", "no JSON object"},
          {"[]", "no JSON object"},
          {"{\"v\":1,\"type\":\"cancel\",\"id\":\"\xff\"}", "no JSON object in UTF-8"},
          {R"({"type":"hello"})", "no version"},
          {R"({"v":"1","type":"hello"})", "no version"},
          {R"({"v":2,"type":"hello"})", "protocol version 2"},
          {R"({"v":1})", "no \"type\""},
          {R"({"v":1,"type":7})", "no \"type\""},
          {R"({"v":1,"type":"jump"})", "unknown type \"jump\""},
          {R"({"v":1,"type":"ready"})", "unknown type \"ready\""},  // an event is no request
          {R"({"v":1,"type":"load","id":"a","configuration":{"lgs":0}})", "lgs cannot be \"0\""},
          {R"({"v":1,"type":"load","id":"a","configuration":{"lsg":1}})", "no parameter \"lsg\""},
          {R"({"v":1,"type":"load","id":"a","configuration":7})", "must be a JSON object"},
          {R"({"v":1,"type":"generate","id":"a","configuration":{},"messages":[],"prompt":"","max_tokens":1})",
           "either"},
          {R"({"v":1,"type":"generate","id":"a","configuration":{},"messages":[],"prompt":"x","max_tokens":0})",
           "\"max_tokens\" is out of range"},
          {R"({"v":1,"type":"generate","id":"a","configuration":{},"messages":[{"role":"user"}],"prompt":"","max_tokens":1})",
           "\"messages.content\" is missing"},
          {R"({"v":1,"type":"cancel","id":")" + std::string(5000, 'x') + "\"}", "\"id\" is too long"},
          {R"({"v":1,"type":"cancel","id":1e999})", "no JSON object"},
          {deep, "nested"},
          {bottomless, "nested"},
          {std::string(kMaxLineBytes + 1, ' '), "longer than 16 MiB"},
      }) {
    const auto decoded = decode_request(line);
    ASSERT_FALSE(decoded) << line.substr(0, 200);
    EXPECT_THAT(decoded.error().cause, HasSubstr(cause)) << line.substr(0, 200);
  }
  for (const auto& [line, cause] : {
           std::pair<std::string, std::string>{R"({"v":1,"type":"heartbeat","uptime_s":-1,"stage":""})",
                                               "out of range"},
           {R"({"v":1,"type":"loading","id":"a","stage":"x","done":1.5})", "out of range"},
           {R"({"v":1,"type":"log","level":"loud","stage":"","text":""})", "unknown word"},
           {R"({"v":1,"type":"token","id":"a","index":-1,"text":"","time_s":0})", "\"index\" is out of range"},
           {R"({"v":1,"type":"token","id":"a","index":1e12,"text":"","time_s":0})", "\"index\" must be a whole number"},
           {R"({"v":1,"type":"token","id":"a","index":0,"text":"","time_s":null})", "\"time_s\" must be a number"},
       }) {
    const auto decoded = decode_event(line);
    ASSERT_FALSE(decoded) << line;
    EXPECT_THAT(decoded.error().cause, HasSubstr(cause)) << line;
  }
}

TEST(Protocol, SampleMustNotContradictItself) {
  for (Event event : events()) {
    if (auto* sample = std::get_if<Sample>(&event)) {
      sample->decode_tokens = 3;
      const auto decoded = decode_event(encode(event));
      ASSERT_FALSE(decoded);
      EXPECT_THAT(decoded.error().cause, HasSubstr("contradict"));
    }
  }
}

// What cannot be a message is refused, what is one reads back as itself after another round: never a crash or a throw.
TEST(Protocol, SurvivesMutations) {
  std::vector<std::string> lines;
  for (const Request& request : requests()) lines.push_back(encode(request));
  for (const Event& event : events()) lines.push_back(encode(event));
  std::mt19937 random(20260222);
  const std::string_view tokens[] = {"null", "-1", "1e400", "{}", "[]", "\"", "\\u0000", "\xff", "9223372036854775808",
                                     "}"};
  int accepted = 0, refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string line = lines[random() % lines.size()];
    for (std::size_t changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % (line.size() + 1);
      switch (random() % 5) {
        case 0:
          line.insert(at, tokens[random() % std::size(tokens)]);
          break;
        case 1:
          line.erase(at, random() % 8);
          break;
        case 2:
          line.resize(at);
          break;
        case 3:
          line.insert(at, line.substr(random() % (line.size() + 1), random() % 20));
          break;
        default:
          line.insert(at, 1, static_cast<char>(random() % 256));
          break;
      }
    }
    if (const auto request = decode_request(line)) {
      ++accepted;
      const auto again = decode_request(encode(*request));
      ASSERT_TRUE(again) << line;
      EXPECT_EQ(*again, *request);
    } else {
      ++refused;
      EXPECT_FALSE(request.error().cause.empty());
    }
    if (const auto event = decode_event(line)) {
      ++accepted;
      const auto again = decode_event(encode(*event));
      ASSERT_TRUE(again) << line;
      EXPECT_EQ(*again, *event);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(accepted, 100);  // otherwise the mutations test the JSON parser alone
  EXPECT_GT(refused, 5000);
}

TEST(LineSplitter, CutsAcrossPieces) {
  LineSplitter splitter;
  EXPECT_TRUE(splitter.append("{\"a\"").empty());
  auto lines = splitter.append(":1}\n\nsecond\nthi");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(*lines[0], "{\"a\":1}");
  EXPECT_EQ(*lines[1], "");
  EXPECT_EQ(*lines[2], "second");
  EXPECT_EQ(splitter.rest(), "thi");
}

TEST(LineSplitter, DropsAHugeLineAndGoesOn) {
  LineSplitter splitter;
  const std::string piece(1 << 20, 'x');
  int errors = 0;
  for (int i = 0; i < 40; ++i) {
    for (const auto& line : splitter.append(piece)) {
      EXPECT_FALSE(line);
      ++errors;
    }
    EXPECT_LE(splitter.rest().size(), kMaxLineBytes);
  }
  EXPECT_EQ(errors, 1);
  const auto lines = splitter.append("end\nnext\n");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(*lines[0], "next");
}

// protocol.schema.json against what is really written: as much of JSON Schema as that file uses.
class Schema {
 public:
  Schema() {
    std::ifstream file(KRASIS_SOURCE_DIR "/engine/protocol/protocol.schema.json");
    root_ = json::parse(file);
  }
  const json& of(const std::string& kind, const std::string& type) const { return root_.at("$defs").at(kind).at(type); }
  const json& types(const std::string& kind) const { return root_.at("$defs").at(kind); }

  std::string complaint(const json& given, const json& value, const std::string& path) const {
    const json* schema = &given;
    if (given.contains("$ref")) schema = &root_.at(json::json_pointer(given["$ref"].get<std::string>().substr(1)));
    if (schema->contains("const") && value != (*schema)["const"]) return path + ": const";
    if (schema->contains("enum")) {
      const auto& words = (*schema)["enum"];
      if (std::find(words.begin(), words.end(), value) == words.end()) return path + ": enum";
    }
    if (schema->contains("type") && !has_type((*schema)["type"], value)) return path + ": type";
    if (schema->contains("minimum") && value < (*schema)["minimum"]) return path + ": minimum";
    if (schema->contains("maximum") && value > (*schema)["maximum"]) return path + ": maximum";
    for (const auto& key : schema->value("required", json::array())) {
      if (!value.contains(key.get<std::string>())) return path + ": lacks " + key.get<std::string>();
    }
    if (value.is_array() && schema->contains("items")) {
      for (const auto& element : value) {
        if (auto c = complaint((*schema)["items"], element, path + "[]"); !c.empty()) return c;
      }
    }
    if (schema->contains("properties")) {
      for (const auto& [key, element] : value.items()) {
        if (!(*schema)["properties"].contains(key)) return path + ": undocumented " + key;
        if (auto c = complaint((*schema)["properties"][key], element, path + "." + key); !c.empty()) return c;
      }
    }
    return {};
  }

 private:
  static bool has_type(const json& type, const json& value) {
    if (type.is_array()) {
      return std::any_of(type.begin(), type.end(), [&](const json& one) { return has_type(one, value); });
    }
    return (type == "string" && value.is_string()) || (type == "integer" && value.is_number_integer()) ||
           (type == "number" && value.is_number()) || (type == "boolean" && value.is_boolean()) ||
           (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
           (type == "null" && value.is_null());
  }
  json root_;
};

TEST(ProtocolSchema, DescribesEveryMessage) {
  const Schema schema;
  EXPECT_EQ(schema.types("request").size(), std::variant_size_v<Request>);
  EXPECT_EQ(schema.types("event").size(), std::variant_size_v<Event>);
  const auto check = [&](const char* kind, const std::string& line) {
    const json value = json::parse(line);
    const json& definition = schema.of(kind, value["type"]);
    EXPECT_EQ(schema.complaint(definition, value, value["type"]), "") << line;
    // Required is exactly what is written: EveryFieldIsRequired shows that the reader insists on it.
    EXPECT_EQ(definition["required"].size(), value.size()) << line;
  };
  for (const Request& request : requests()) check("request", encode(request));
  for (const Event& event : events()) check("event", encode(event));
  const auto check_optional = [&](const char* kind, const std::string& line) {
    const json value = json::parse(line);
    EXPECT_EQ(schema.complaint(schema.of(kind, value["type"]), value, value["type"]), "") << line;
  };
  check_optional("request", encode(Request{Benchmark{"b1", configuration(), "/tmp/trace.json"}}));
  check_optional("event", encode(Event{Ready{"0.1.0", {}, {}, "No driver."}}));
  check_optional("event", encode(Event{Finished{.id = "b1", .telemetry_json = R"({"decode":{}})"}}));
}

TEST(ProtocolErrors, CodesHaveNamesBothWays) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::Internal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(error_code(code_name(code)), code);
  }
  EXPECT_EQ(error_code("no such thing"), ErrorCode::Internal);
}

}  // namespace
}  // namespace krasis::protocol

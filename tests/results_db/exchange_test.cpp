#include "results_db/exchange.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/config/configuration_io.h"
#include "engine/config/parameters.h"
#include "results_db/export_markdown.h"
#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExchangeTest : public ::testing::Test {
 protected:
  /// One finished run with everything, one queued.
  void fill(Database& database) {
    NewRun run = example_run("comma, \"quote\" and\nline");
    run.parameters.hcs = HotCache::On;
    run.parameters.hcs_share = 1.0 / 3;
    run.parameters.seed = 7;
    const RunId id = must(database.enqueue(run));
    must(database.claim(id));
    must(database.set_environment(id, example_environment()));
    Repetition warm_up = example_repetition(0);
    warm_up.warm_up = true;
    Repetition odd = example_repetition(1, 0.1 + 0.2, 1.0 / 3);
    odd.metrics_json = R"({"nested":{"list":[1,2.5,null]}})";
    for (const Repetition& r : {warm_up, example_repetition(0), odd}) must(database.append_repetition(id, r));
    must(database.append_log(id, std::vector{LogLine{"", "error", "decode", "ünïcode \x01 and \"quotes\""}}));
    must(database.set_disturbance(id, "A chat computed."));
    must(database.set_note(id, "a note"));
    must(database.set_tags(id, std::vector<std::string>{"t1", "t 2"}));
    must(database.finish(id, {RunStatus::OutOfMemory, {Verdict::Fail, "KL", 1.0 / 7, 0.1}, {"c", "r", "s", 9}}));
    must(database.enqueue(example_run()));
  }
  Database open(const char* name) { return must(Database::open(folder / name)); }
  TemporaryFolder folder;
};

TEST_F(ExchangeTest, JsonRoundTripKeepsEverything) {
  Database from = open("a.db");
  fill(from);
  const std::string text = must(export_json(from));
  Database to = open("b.db");
  auto report = must(import_json(to, text));
  EXPECT_EQ(report.added, 2u);
  EXPECT_EQ(report.skipped, 0u);
  EXPECT_EQ(must(export_json(to)), text);  // field for field, to the last bit of each sample
  EXPECT_EQ(must(to.repetitions(1)), must(from.repetitions(1)));
  EXPECT_EQ(must(to.log(1)), must(from.log(1)));
  EXPECT_EQ(must(to.run(1)).parameters, must(from.run(1)).parameters);
  EXPECT_EQ(must(to.run(1)).verdict, must(from.run(1)).verdict);
  EXPECT_EQ(must(to.run(1)).tags, must(from.run(1)).tags);
  EXPECT_EQ(must(to.queued_runs()).size(), 1u);
  report = must(import_json(to, text));
  EXPECT_EQ(report.added, 0u);
  EXPECT_EQ(report.skipped, 2u);
  EXPECT_EQ(must(to.run_count()), 2);
  must(to.check_integrity());
}

TEST_F(ExchangeTest, JsonHoldsRawSamples) {
  Database database = open("a.db");
  fill(database);
  const auto json = nlohmann::json::parse(must(export_json(database)));
  EXPECT_EQ(json["format"], "krasis-results");
  const auto& run = json["runs"][0];
  EXPECT_EQ(run["parameters"]["lgs"], 2);
  EXPECT_EQ(run["configuration"]["lgs"], 2);
  EXPECT_EQ(run["environment"]["facts"]["cores"], 8);
  EXPECT_EQ(run["samples"].size(), 3u);
  EXPECT_EQ(run["samples"][2]["prefill_s"], 0.1 + 0.2);
  EXPECT_EQ(run["samples"][1]["decode_token_s"], (std::vector<double>{0.1, 0.1, 0.1, 0.1}));
}

TEST_F(ExchangeTest, ARunThatWasGoingIsImportedAsCrashed) {
  Database from = open("a.db");
  const RunId id = must(from.enqueue(example_run()));
  must(from.claim(id));
  must(from.append_repetition(id, example_repetition(0)));
  Database to = open("b.db");
  must(import_json(to, must(export_json(from))));
  EXPECT_EQ(must(to.run(1)).status, RunStatus::Crashed);
  EXPECT_EQ(must(to.repetitions(1)).size(), 1u);
}

TEST_F(ExchangeTest, BytesThatAreNoUtf8) {
  Database from = open("a.db");
  const RunId id = must(from.enqueue(example_run()));
  must(from.append_log(id, std::vector{LogLine{"", "info", "", std::string("bad \xff\xfe") + '\0' + "end"}}));
  EXPECT_EQ(must(from.log(id))[0].text, std::string("bad \xff\xfe") + '\0' + "end");
  Database to = open("b.db");
  must(import_json(to, must(export_json(from))));
  EXPECT_EQ(must(to.log(1))[0].text, std::string("bad \uFFFD\uFFFD") + '\0' + "end");
}

TEST_F(ExchangeTest, BadJsonAddsNothing) {
  Database from = open("a.db");
  fill(from);
  const std::string good = must(export_json(from));
  Database to = open("b.db");
  const auto code_of = [&](const std::string& text) {
    const auto result = import_json(to, text);
    EXPECT_EQ(must(to.run_count()), 0);
    EXPECT_TRUE(result || !result.error().remedy.empty());
    return result ? std::optional<ErrorCode>() : result.error().code;
  };
  for (const std::string& text : {std::string(), std::string("{}"), std::string("[1]"), good.substr(0, good.size() / 2),
                                  std::string(R"({"format":"other","version":1,"runs":[]})"),
                                  std::string(R"({"format":"krasis-results","version":1,"runs":{}})"),
                                  std::string(1000000, '['), R"({"format":)" + std::string(1000000, '[')}) {
    EXPECT_EQ(code_of(text), ErrorCode::Corrupt) << text.substr(0, 60);
  }
  EXPECT_EQ(code_of(R"({"format":"krasis-results","version":2,"runs":[]})"), ErrorCode::Unsupported);
  const auto with = [&](auto change) {
    auto json = nlohmann::json::parse(good);
    change(json["runs"][0]);
    return json.dump();
  };
  using Json = nlohmann::json;
  EXPECT_EQ(code_of(with([](Json& run) { run.erase("model"); })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["model"] = 3; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["uuid"] = "../x"; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["status"] = "splendid"; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["lgs"] = 1e300; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["lgs"] = 18446744073709551615u; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["lgs"] = 1ll << 40; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["lgs"] = "2"; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["hcs"] = "sometimes"; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["parameters"]["kv_cache"] = nullptr; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["failure"]["signal"] = 1ll << 40; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["samples"][0]["prefill_s"] = "fast"; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["samples"][0]["prefill_s"] = 0; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["samples"][0]["prefill_s"] = nullptr; })), ErrorCode::Corrupt);
  EXPECT_EQ(code_of(with([](Json& run) { run["samples"][1] = run["samples"][0]; })),
            ErrorCode::Conflict);             // index twice
  must(import_json(to, with([](Json&) {})));  // untouched, it can be read
  EXPECT_EQ(must(to.run_count()), 2);
}

/// An export that the program wrote while its schema was `version`; its "comment" says how the file was made.
std::filesystem::path export_of_schema(int version) {
  return std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/export_schema_v" + std::to_string(version) + ".json";
}

TEST_F(ExchangeTest, ExportsOfEveryOlderSchemaAreImported) {
  int version = 2;
  for (; std::filesystem::exists(export_of_schema(version)); ++version) {
    SCOPED_TRACE(version);
    Database database = open(("v" + std::to_string(version) + ".db").c_str());
    const auto report = import_json(database, read_all(export_of_schema(version)));
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->added, 1u);
    const RunSummary summary = must(database.summary(1));
    EXPECT_EQ(summary.run.note, "kept from schema " + std::to_string(version));
    EXPECT_EQ(summary.run.verdict, (VerdictRecord{Verdict::Pass, "KL divergence", 0.01, 0.1}));
    EXPECT_EQ(summary.decode_tokens_per_second.samples, std::vector<double>{4});
    const RunParameters& p = summary.run.parameters;
    EXPECT_EQ(p.hcs_share, 0.25);
    // What the writer did not know is what was true of every run then; the goldens that have it say something else.
    EXPECT_EQ(p.prefill_path, version < 3 ? "stream" : "cpu");
    EXPECT_EQ(p.gpus, version < 4 ? "all" : "0,2");
    EXPECT_EQ(summary.run.telemetry_json, version < 4 ? "{}" : R"({"decode":{}})");
    EXPECT_EQ(p.hcs_policy, version < 5 ? "static" : "adaptive");
    EXPECT_EQ(p.attention, version < 6 ? "resident" : "streamed");
    EXPECT_EQ(p.numa, version < 7 ? "interleave" : "shards");
    EXPECT_EQ(summary.run.disturbance, version < 8 ? "" : "Another worker computed.");
    EXPECT_EQ(p.gpu_format, "int4");
    EXPECT_EQ(p.attention_format, "int8");
    must(database.check_integrity());
  }
  EXPECT_GE(version, Database::current_schema_version()) << "a golden of each schema before the current one";
}

TEST_F(ExchangeTest, NumbersOfBitsAreImportedAsTheFormatsThatTheyMeant) {
  Database database = open("bits.db");
  const std::string old =
      read_all(std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/export_schema_v8_bits.json");
  EXPECT_EQ(must(import_json(database, old)).added, 3u);
  const auto runs = must(database.runs());
  const auto formats = [&](std::size_t run) {
    const RunParameters& p = runs[run].parameters;
    return std::vector{p.gpu_format, p.cpu_format, p.attention_format, p.dense_mlp_format, p.lm_head_format};
  };
  EXPECT_THAT(formats(0), ElementsAre("int8", "int4", "bf16", "int8", "int4"));
  EXPECT_THAT(formats(1), ElementsAre("bf16", "bf16", "bf16", "bf16", "bf16"));
  EXPECT_THAT(formats(2), ElementsAre("int4", "int8", "int8", "int4", "bf16"));
  // What was asked for is kept as it was written, and still read.
  EXPECT_THAT(runs[0].configuration_json, HasSubstr("\"gpu_bits\":8"));
  EXPECT_EQ(configuration_from_json(runs[0].configuration_json)->gpu_format, "int8");
  EXPECT_THAT(must(export_json(database)), HasSubstr("\"gpu_format\": \"int8\""));
}

// Four bits either way; whatever shows, keys or exports a run tells them apart.
TEST_F(ExchangeTest, Int4AndMxfp4AreDifferentRuns) {
  Database database = open("a.db");
  NewRun int4 = example_run(), mxfp4 = example_run();
  mxfp4.parameters.gpu_format = mxfp4.parameters.cpu_format = "mxfp4";
  must(database.enqueue(std::vector{int4, mxfp4}));
  const auto runs = must(database.summaries());
  EXPECT_EQ(runs[0].run.parameters, int4.parameters);
  EXPECT_EQ(runs[1].run.parameters, mxfp4.parameters);
  EXPECT_THAT(export_csv(runs), ::testing::AllOf(HasSubstr(",int4,int4,int8,"), HasSubstr(",mxfp4,mxfp4,int8,")));
  EXPECT_THAT(export_markdown(runs), ::testing::AllOf(HasSubstr("| INT4/INT4 |"), HasSubstr("| MXFP4/MXFP4 |")));
  Database copy = open("b.db");
  EXPECT_EQ(must(import_json(copy, must(export_json(database)))).added, 2u);
  EXPECT_EQ(must(copy.run(2)).parameters.gpu_format, "mxfp4");
}

TEST_F(ExchangeTest, AnExportThatTellsItsSchemaLacksNothingOfIt) {
  Database from = open("a.db");
  fill(from);
  auto json = nlohmann::json::parse(must(export_json(from)));
  EXPECT_EQ(json["schema"], Database::current_schema_version());
  json["runs"][0]["parameters"].erase("hcs_policy");
  Database to = open("b.db");
  const auto damaged = import_json(to, json.dump());
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().cause, HasSubstr("\"hcs_policy\" is missing"));
  json["schema"] = Database::current_schema_version() + 1;
  EXPECT_EQ(import_json(to, json.dump()).error().code, ErrorCode::Unsupported);
  EXPECT_EQ(must(to.run_count()), 0);
}

TEST(Parameters, AreDescribedAsTheTableDeclaresThem) {
  RunParameters parameters;
  parameters.prompt_fingerprint = "p";
  const auto values = describe(parameters);
  ASSERT_EQ(values.size(), stored_parameters().size() + 1);
  for (std::size_t i = 0; i + 1 < values.size(); ++i) EXPECT_EQ(values[i].name, stored_parameters()[i]->name);
  EXPECT_EQ(values.back().value, "p");
  EXPECT_EQ(shown(parameters, "hcs"), "OFF");
  EXPECT_EQ(shown(parameters, "hcs_share"), "-") << "without a cache";
  parameters.hcs = HotCache::Multi;
  parameters.hcs_share = 1.0 / 3;
  parameters.gpu_format = "int8";
  EXPECT_EQ(shown(parameters, "hcs"), "multi");
  EXPECT_EQ(shown(parameters, "hcs_share"), "33.33 %");
  EXPECT_EQ(shown(parameters, "gpu_format"), "INT8");
  EXPECT_EQ(shown(parameters, "kv_cache"), "BF16");
  EXPECT_EQ(shown(parameters, "no_such"), "");
}

TEST_F(ExchangeTest, CsvIsQuotedAndExact) {
  Database database = open("a.db");
  fill(database);
  const std::string csv = export_csv(must(database.summaries()));
  EXPECT_THAT(csv,
              ::testing::StartsWith("uuid,created_at,sweep,model,model_fingerprint,synthetic,machine,build,device,"));
  EXPECT_THAT(csv, HasSubstr(",\"comma, \"\"quote\"\" and\nline\",Tiny-MoE,"));
  EXPECT_THAT(csv, HasSubstr(",out_of_memory,fail,KL,0.14285714285714285,0.1,c,2,"));
  EXPECT_THAT(csv, HasSubstr(",A chat computed.,t1;t 2,a note\r\n"));
  // A queued run: n = 0 and no figures.
  EXPECT_THAT(csv, HasSubstr(",queued,none,,,,,0,,,,,,,,0,,,,,,,,0,,,,,,,,0,,,,,,,,,,\r\n"));
  const std::string repetitions = must(export_repetitions_csv(database));
  EXPECT_THAT(repetitions, HasSubstr(",512,0.30000000000000004,"));
  EXPECT_EQ(std::count(repetitions.begin(), repetitions.end(), '\n'), 4);  // heading, a warm-up, two repetitions
}

}  // namespace
}  // namespace krasis::results

#include "results_db/database.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "results_db/schema.h"
#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

class DatabaseTest : public ::testing::Test {
 protected:
  Database open(OpenMode mode = OpenMode::Create) { return must(Database::open(path, {mode, 50})); }
  TemporaryFolder folder;
  std::filesystem::path path = folder / "results.db";
};

TEST_F(DatabaseTest, NewFileHasTheCurrentSchemaAndRules) {
  {
    Database database = open();
    EXPECT_FALSE(database.read_only());
    EXPECT_EQ(database.read_only_reason(), "");
    EXPECT_EQ(database.schema_version(), Database::current_schema_version());
    must(database.check_integrity());
  }
  RawSqlite raw(path);
  EXPECT_EQ(raw.get("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(raw.get("PRAGMA application_id"), std::to_string(0x4b524153));
  EXPECT_EQ(raw.get("PRAGMA user_version"), std::to_string(Database::current_schema_version()));
}

TEST_F(DatabaseTest, ARunKeepsEverythingThatWasRecorded) {
  Database database = open();
  NewRun run = example_run();
  run.uuid = "12345678-9abc-4def-8123-456789abcdef";
  run.created_at = "2026-02-22T10:11:12.345Z";
  run.parameters.hcs = HotCache::Multi;
  run.parameters.hcs_share = 0.125;
  run.parameters.hcs_policy = "adaptive";
  run.parameters.kv_cache = "fp8";
  run.parameters.seed = 7;
  run.parameters.prompt_fingerprint = "p1";
  run.plan_json = R"({"device0":100})";
  const RunId id = must(database.enqueue(run));
  must(database.claim(id));
  must(database.set_environment(id, example_environment()));
  must(database.set_plan(id, R"({"device0":100,"high_water":98})"));
  Repetition warm_up = example_repetition(0, 9);
  warm_up.warm_up = true;
  warm_up.measured_at = "2026-02-22T10:11:13Z";
  Repetition first = example_repetition(0);
  first.measured_at = "2026-02-22T10:11:14Z";
  first.metrics_json = R"({"h2d_bytes":123})";
  first.decode_token_s = {0.1, 0.1 + 1e-16, std::nextafter(0.1, 1.0), 5e-324};
  Repetition second = example_repetition(1);
  second.measured_at = "2026-02-22T10:11:15Z";
  second.decode_token_s.clear();
  for (const Repetition& r : {warm_up, first, second}) must(database.append_repetition(id, r));
  const LogLine line{"2026-02-22T10:11:16Z", "info", "decode", "done\nwell"};
  must(database.append_log(id, std::vector{line, line}));
  must(database.finish(id, {RunStatus::Done, {Verdict::Fail, "KL divergence", 0.3, 0.1}, {"c", "r", "s", 11}}));

  const RunRecord record = must(database.run(id));
  EXPECT_EQ(record.uuid, run.uuid);
  EXPECT_EQ(record.created_at, run.created_at);
  EXPECT_EQ(record.sweep, run.sweep);
  EXPECT_EQ(record.model, run.model);
  EXPECT_EQ(record.parameters, run.parameters);
  EXPECT_EQ(record.configuration_json, run.configuration_json);
  EXPECT_EQ(record.plan_json, R"({"device0":100,"high_water":98})");
  EXPECT_EQ(record.status, RunStatus::Done);
  EXPECT_EQ(record.verdict, (VerdictRecord{Verdict::Fail, "KL divergence", 0.3, 0.1}));
  EXPECT_EQ(record.failure, (FailureRecord{"c", "r", "s", 11}));
  EXPECT_LT(record.started_at, record.finished_at + "~");
  ASSERT_TRUE(record.environment);
  EnvironmentRecord environment = *record.environment;
  EXPECT_FALSE(environment.fingerprint.empty());
  environment.fingerprint.clear();
  EXPECT_EQ(environment, example_environment());
  EXPECT_EQ(must(database.repetitions(id)), (std::vector{warm_up, first, second}));
  EXPECT_EQ(must(database.log(id)), (std::vector{line, line}));
  EXPECT_EQ(must(database.log(id, 1)).size(), 1u);
}

TEST_F(DatabaseTest, ModelsAndEnvironmentsAreStoredOnce) {
  Database database = open();
  for (int i = 0; i < 2; ++i) {
    const RunId id = must(database.enqueue(example_run()));
    must(database.claim(id));
    must(database.set_environment(id, example_environment()));
  }
  EXPECT_EQ(must(database.models()).size(), 1u);
  const auto runs = must(database.runs());
  EXPECT_EQ(runs[0].environment, runs[1].environment);
  EnvironmentRecord other = example_environment();
  other.driver = "550";
  must(database.set_environment(runs[1].id, other));
  EXPECT_EQ(RawSqlite(path).get("SELECT count(*) FROM environments"), "2");
}

TEST_F(DatabaseTest, SummaryIsDerivedWithoutWarmUps) {
  Database database = open();
  const RunId id = must(database.enqueue(example_run()));
  must(database.claim(id));
  Repetition warm_up = example_repetition(0, 100, 100);
  warm_up.warm_up = true;
  must(database.append_repetition(id, warm_up));
  must(database.append_repetition(id, example_repetition(0, 0.5, 0.4)));
  must(database.append_repetition(id, example_repetition(1, 0.25, 0.8)));
  const RunSummary summary = must(database.summary(id));
  EXPECT_EQ(summary.prefill_tokens_per_second.samples, (std::vector<double>{1024, 2048}));
  EXPECT_EQ(summary.ttft_s.samples, (std::vector<double>{0.51, 0.26}));
  EXPECT_EQ(summary.decode_tokens_per_second.samples, (std::vector<double>{10, 5}));
  EXPECT_EQ(summary.ms_per_token.samples, (std::vector<double>{100, 200}));
  EXPECT_EQ(summary.prefill_tokens_per_second.statistics.mean, 1536);
  EXPECT_EQ(summary.decode_tokens_per_second.statistics.median, 7.5);
  EXPECT_DOUBLE_EQ(summary.prefill_tokens_per_second.value, 1024 / 0.75) << "tokens over time, not the mean of rates";
  EXPECT_DOUBLE_EQ(summary.decode_tokens_per_second.value, 8 / 1.2);
  EXPECT_DOUBLE_EQ(summary.ms_per_token.value, 150);
  EXPECT_DOUBLE_EQ(summary.ttft_s.value, 0.385);
}

// Measured runs once had the name of the embedded model's folder, failed ones the name by which it is asked for.
TEST_F(DatabaseTest, TheEmbeddedModelHasOneNameInEveryRun) {
  Database database = open();
  NewRun measured = example_run();
  measured.model = {"sha256:read", "tiny-moe", "qwen3_moe", "5 layers", false};
  measured.configuration_json = R"({"model":"embedded"})";
  NewRun crashed = measured;
  crashed.model = {"of config.json", "embedded", "qwen3_moe", "5 layers", false};
  NewRun by_path = measured;  // the same weights, asked for as a folder
  by_path.configuration_json = R"({"model":"/models/tiny-moe"})";
  for (const NewRun& run : {measured, crashed, by_path}) must(database.enqueue(run));
  const auto runs = must(database.runs());
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].model.name, "embedded");
  EXPECT_EQ(runs[1].model.name, "embedded");
  EXPECT_EQ(runs[2].model.name, "tiny-moe");
  RunFilter filter;
  filter.text = "embedded";
  EXPECT_EQ(must(database.runs(filter)).size(), 2u);
}

TEST_F(DatabaseTest, QueueKeepsItsOrder) {
  Database database = open();
  const std::vector<NewRun> runs(4, example_run());
  const auto ids = must(database.enqueue(runs));
  const auto order = [&] {
    std::vector<RunId> queued;
    for (const RunRecord& run : must(database.queued_runs())) queued.push_back(run.id);
    return queued;
  };
  EXPECT_EQ(order(), ids);
  must(database.set_position(ids[3], 0));
  EXPECT_EQ(order(), (std::vector{ids[3], ids[0], ids[1], ids[2]}));
  must(database.set_position(ids[0], 99));
  EXPECT_EQ(order(), (std::vector{ids[3], ids[1], ids[2], ids[0]}));
  must(database.remove_queued(ids[1]));
  EXPECT_EQ(must(database.claim_next())->id, ids[3]);
  EXPECT_EQ(must(database.claim(ids[0])).status, RunStatus::Running);
  EXPECT_EQ(order(), (std::vector{ids[2]}));
  EXPECT_EQ(database.claim(ids[0]).error().code, ErrorCode::Conflict);
  EXPECT_EQ(database.remove_queued(ids[0]).error().code, ErrorCode::Conflict);
  must(database.finish(ids[2], {RunStatus::Cancelled, {}, {}}));
  EXPECT_EQ(must(database.claim_next()), std::nullopt);
  const RunId again = must(database.requeue(ids[2]));
  EXPECT_EQ(order(), (std::vector{again}));
  EXPECT_NE(must(database.run(again)).uuid, must(database.run(ids[2])).uuid);
}

TEST_F(DatabaseTest, AQueuedRunWithLogAndNoteCanBeRemoved) {
  Database database = open();
  const RunId id = must(database.enqueue(example_run()));
  must(database.append_log(id, std::vector{LogLine{"", "info", "", "waiting"}}));
  must(database.set_note(id, "note"));
  must(database.remove_queued(id));
  EXPECT_EQ(must(database.run_count()), 0);
  EXPECT_EQ(RawSqlite(path).get("SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM annotations)"), "0");
}

TEST_F(DatabaseTest, WhatHasEndedIsOnlyAnnotated) {
  Database database = open();
  const RunId id = must(database.enqueue(example_run()));
  EXPECT_EQ(database.append_repetition(id, example_repetition(0)).error().code, ErrorCode::Conflict);  // not running
  EXPECT_EQ(database.finish(id, {RunStatus::Done, {}, {}}).error().code, ErrorCode::Conflict);
  must(database.claim(id));
  must(database.append_repetition(id, example_repetition(0)));
  EXPECT_EQ(database.append_repetition(id, example_repetition(0)).error().code, ErrorCode::Conflict);  // same index
  EXPECT_EQ(database.finish(id, {RunStatus::Running, {}, {}}).error().code, ErrorCode::InvalidArgument);
  must(database.finish(id, {RunStatus::Done, {Verdict::Pass, "", {}, {}}, {}}));
  EXPECT_EQ(database.finish(id, {RunStatus::Failed, {}, {}}).error().code, ErrorCode::Conflict);
  EXPECT_EQ(database.append_repetition(id, example_repetition(1)).error().code, ErrorCode::Conflict);
  EXPECT_EQ(database.set_plan(id, "{}").error().code, ErrorCode::Conflict);
  EXPECT_EQ(database.set_parameters(id, {}).error().code, ErrorCode::Conflict);
  EXPECT_EQ(database.set_environment(id, example_environment()).error().code, ErrorCode::Conflict);
  // Not even with another program:
  RawSqlite raw(path);
  EXPECT_EQ(raw.exec("UPDATE runs SET verdict = 'fail'"), SQLITE_CONSTRAINT);
  EXPECT_EQ(raw.exec("DELETE FROM runs"), SQLITE_CONSTRAINT);
  EXPECT_EQ(raw.exec("UPDATE repetitions SET prefill_s = 0.001"), SQLITE_CONSTRAINT);
  EXPECT_EQ(raw.exec("DELETE FROM repetitions"), SQLITE_CONSTRAINT);
  must(database.set_note(id, "first"));
  must(database.set_note(id, "second"));
  must(database.set_tags(id, std::vector<std::string>{"a \"quoted\" one", "b"}));
  must(database.append_log(id, std::vector{LogLine{"", "info", "", "late"}}));
  const RunRecord run = must(database.run(id));
  EXPECT_EQ(run.note, "second");
  EXPECT_EQ(run.tags, (std::vector<std::string>{"a \"quoted\" one", "b"}));
  EXPECT_EQ(raw.get("SELECT count(*) FROM annotations"), "3");
}

TEST_F(DatabaseTest, FiltersAndTextThatLooksLikeSql) {
  Database database = open();
  const std::string nasty = "x'); DROP TABLE runs; -- \" % _ \\ 100%";
  NewRun run = example_run(nasty);
  run.model.name = nasty;
  run.parameters.kv_cache = nasty;
  const RunId first = must(database.enqueue(run));
  const RunId second = must(database.enqueue(example_run("other")));
  must(database.set_note(second, nasty));
  must(database.set_note(second, "Plain Note"));
  EXPECT_EQ(must(database.run(first)).sweep, nasty);
  EXPECT_EQ(must(database.run(first)).parameters.kv_cache, nasty);
  // The model was stored under the same fingerprint before: the first name stays.
  EXPECT_EQ(must(database.run(second)).model.name, nasty);
  const auto ids = [&](const RunFilter& filter) {
    std::vector<RunId> found;
    for (const RunRecord& record : must(database.runs(filter))) found.push_back(record.id);
    return found;
  };
  RunFilter filter;
  filter.sweep = nasty;
  EXPECT_EQ(ids(filter), std::vector{first});
  filter = {};
  filter.text = "plain note";
  EXPECT_EQ(ids(filter), std::vector{second});
  filter.text = "100_";  // no wildcard
  EXPECT_TRUE(ids(filter).empty());
  filter.text = "'";
  EXPECT_EQ(ids(filter).size(), 2u);
  filter = {};
  filter.uuids = {must(database.run(second)).uuid, "') OR 1=1 --"};
  EXPECT_EQ(ids(filter), std::vector{second});
  filter = {};
  filter.newest_first = true;
  EXPECT_EQ(ids(filter), (std::vector{second, first}));
  filter.limit = 1;
  EXPECT_EQ(ids(filter), std::vector{second});
  filter = {};
  filter.statuses = {RunStatus::Done, RunStatus::Running};
  EXPECT_TRUE(ids(filter).empty());
  EXPECT_EQ(database.run(99).error().code, ErrorCode::NotFound);
  EXPECT_EQ(database.summary(99).error().code, ErrorCode::NotFound);
}

TEST_F(DatabaseTest, ImpossibleValuesAreRefused) {
  Database database = open();
  const RunId id = must(database.enqueue(example_run()));
  must(database.claim(id));
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto refused = [&](auto change) {
    Repetition r = example_repetition(0);
    change(r);
    const auto result = database.append_repetition(id, r);
    return !result && result.error().code == ErrorCode::InvalidArgument && !result.error().cause.empty();
  };
  for (const double value : {nan, infinity, -infinity, -0.1, 1e300}) {
    EXPECT_TRUE(refused([&](Repetition& r) { r.prefill_s = value; })) << value;
    EXPECT_TRUE(refused([&](Repetition& r) { r.ttft_s = value; })) << value;
    EXPECT_TRUE(refused([&](Repetition& r) { r.decode_s = value; })) << value;
    EXPECT_TRUE(refused([&](Repetition& r) { r.decode_token_s[2] = value; })) << value;
  }
  EXPECT_TRUE(refused([](Repetition& r) { r.prefill_s = 0; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.decode_s = 5e-324; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.decode_tokens = std::numeric_limits<std::int64_t>::max(); }));
  EXPECT_TRUE(refused([](Repetition& r) { r.decode_token_s.pop_back(); }));
  EXPECT_TRUE(refused([](Repetition& r) { r.index = -1; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.prefill_tokens = -1; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.metrics_json = "{"; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.metrics_json = "[]"; }));
  EXPECT_TRUE(refused([](Repetition& r) { r.measured_at = "yesterday"; }));
  EXPECT_TRUE(must(database.repetitions(id)).empty());

  const auto run_refused = [&](auto change) {
    NewRun run = example_run();
    change(run);
    const auto result = database.enqueue(run);
    return !result && result.error().code == ErrorCode::InvalidArgument;
  };
  EXPECT_TRUE(run_refused([](NewRun& r) { r.model.fingerprint.clear(); }));
  EXPECT_TRUE(run_refused([](NewRun& r) { r.parameters.device_count = -1; }));
  EXPECT_TRUE(run_refused([&](NewRun& r) { r.parameters.hcs_share = nan; }));
  EXPECT_TRUE(run_refused([](NewRun& r) { r.parameters.hcs_share = 1.5; }));
  EXPECT_TRUE(run_refused([](NewRun& r) { r.uuid = "../../etc/passwd"; }));
  EXPECT_TRUE(run_refused([](NewRun& r) { r.created_at = "2026-02-22 10:11:12"; }));
  EXPECT_TRUE(run_refused([](NewRun& r) { r.configuration_json = "no json"; }));
  EXPECT_TRUE(run_refused([](NewRun& r) {
    r.configuration_json = R"({"a":)" + std::string(100000, '[') + std::string(100000, ']') + "}";
  }));
  EXPECT_EQ(database.finish(id, {RunStatus::Done, {Verdict::Fail, "KL", nan, 0.1}, {}}).error().code,
            ErrorCode::InvalidArgument);
  // All or none:
  std::vector<NewRun> two(2, example_run());
  two[0].uuid = two[1].uuid = "12345678-9abc-4def-8123-456789abcdef";
  EXPECT_EQ(database.enqueue(two).error().code, ErrorCode::Conflict);
  EXPECT_EQ(must(database.run_count()), 1);
}

TEST_F(DatabaseTest, AKilledProcessLosesAtMostTheRepetitionInFlight) {
  RunId id = 0;
  {
    Database database = open();
    id = must(database.enqueue(example_run()));
  }
  int acknowledged[2];
  ASSERT_EQ(::pipe(acknowledged), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto database = Database::open(path);
    if (!database || !database->claim(id)) ::_exit(1);
    for (int i = 0;; ++i) {
      if (!database->append_repetition(id, example_repetition(i))) ::_exit(2);
      if (::write(acknowledged[1], "x", 1) != 1) ::_exit(3);
    }
  }
  ::close(acknowledged[1]);
  char byte = 0;
  std::size_t stored = 0;
  while (stored < 40 && ::read(acknowledged[0], &byte, 1) == 1) ++stored;
  ASSERT_EQ(stored, 40u);
  ::usleep(1234);  // somewhere inside of a write
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  while (::read(acknowledged[0], &byte, 1) == 1) ++stored;
  ::close(acknowledged[0]);

  Database database = open();
  must(database.check_integrity());
  const auto repetitions = must(database.repetitions(id));
  EXPECT_GE(repetitions.size(), stored);
  EXPECT_LE(repetitions.size(), stored + 1);
  for (std::size_t i = 0; i < repetitions.size(); ++i) {
    EXPECT_EQ(repetitions[i].index, static_cast<int>(i));
    EXPECT_EQ(repetitions[i].decode_token_s, example_repetition(0).decode_token_s);
  }
  EXPECT_EQ(must(database.run(id)).status, RunStatus::Running);
  EXPECT_EQ(must(database.mark_interrupted()), std::vector{id});
  const RunRecord run = must(database.run(id));
  EXPECT_EQ(run.status, RunStatus::Crashed);
  EXPECT_FALSE(run.failure.cause.empty());
  EXPECT_FALSE(run.failure.remedy.empty());
}

TEST_F(DatabaseTest, WhatACrashInterruptedIsTheNextInTheQueueAgain) {
  Database database = open();
  std::vector<RunId> ids;
  for (int i = 0; i < 3; ++i) {
    NewRun run = example_run();
    run.uuid.clear();
    run.parameters.lgs = i + 1;
    ids.push_back(must(database.enqueue(run)));
  }
  must(database.claim(ids[0]));
  must(database.append_repetition(ids[0], example_repetition(0)));
  must(database.claim(ids[1]));
  RawSqlite(path).exec("UPDATE runs SET owner = 'gone:1:1' WHERE status = 'running'");
  const auto copies = must(database.requeue_interrupted());
  ASSERT_EQ(copies.size(), 2U);
  const auto queued = must(database.queued_runs());
  ASSERT_EQ(queued.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(queued[i].parameters.lgs, static_cast<std::int64_t>(i) + 1);
  EXPECT_EQ(queued[0].id, copies[0]);
  EXPECT_EQ(must(database.run(ids[0])).status, RunStatus::Crashed);
  EXPECT_EQ(must(database.repetitions(ids[0])).size(), 1U) << "evidence stays with the run that was interrupted";
  EXPECT_TRUE(must(database.requeue_interrupted()).empty()) << "it is offered once";
  const RunId next = must(database.requeue(ids[2], QueuePlace::Next));
  EXPECT_EQ(must(database.queued_runs()).front().id, next);
}

TEST_F(DatabaseTest, ARunOfALivingProcessIsNotInterrupted) {
  Database database = open();
  const RunId id = must(database.enqueue(example_run()));
  must(database.claim(id));
  Database second = open();
  EXPECT_TRUE(must(second.mark_interrupted()).empty());
  EXPECT_EQ(must(database.run(id)).status, RunStatus::Running);
}

TEST_F(DatabaseTest, AnotherConnectionSeesChanges) {
  Database writer = open();
  Database reader = open(OpenMode::ReadOnly);
  const auto before = must(reader.change_counter());
  EXPECT_EQ(must(reader.change_counter()), before);
  must(writer.enqueue(example_run()));
  EXPECT_NE(must(reader.change_counter()), before);
  EXPECT_EQ(must(reader.runs()).size(), 1u);
  EXPECT_EQ(reader.enqueue(example_run()).error().code, ErrorCode::Unsupported);
}

TEST_F(DatabaseTest, TelemetryBelongsToARunThatIsRunning) {
  Database database = open();
  NewRun run = example_run();
  run.parameters.gpus = "1,0";
  const RunId id = must(database.enqueue(run));
  EXPECT_EQ(database.set_telemetry(id, "{}").error().code, ErrorCode::Conflict) << "it is queued";
  must(database.claim(id));
  EXPECT_EQ(database.set_telemetry(id, "[]").error().code, ErrorCode::InvalidArgument);
  must(database.set_telemetry(id, R"({"prefill":{"seconds":0.5}})"));
  must(database.finish(id, {}));
  EXPECT_EQ(database.set_telemetry(id, "{}").error().code, ErrorCode::Conflict) << "it has ended";
  const RunRecord stored = must(database.run(id));
  EXPECT_EQ(stored.telemetry_json, R"({"prefill":{"seconds":0.5}})");
  EXPECT_EQ(stored.parameters.gpus, "1,0");
}

TEST_F(DatabaseTest, MigratesFromVersion1) {
  {
    RawSqlite raw(path);
    ASSERT_EQ(raw.exec(read_all(std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/schema_v1.sql")), SQLITE_OK);
  }
  const std::string before = read_all(path);
  const auto old = Database::open(path, {OpenMode::ReadOnly, 50});
  ASSERT_FALSE(old);  // may not be written, so it cannot be upgraded
  EXPECT_EQ(old.error().code, ErrorCode::Unsupported);
  EXPECT_TRUE(read_all(path) == before) << "overwritten";

  Database database = open(OpenMode::ReadWrite);
  EXPECT_EQ(database.schema_version(), Database::current_schema_version());
  const auto summaries = must(database.summaries());
  ASSERT_EQ(summaries.size(), 2u);
  EXPECT_EQ(summaries[0].run.model.name, "Old-MoE");
  EXPECT_EQ(summaries[0].run.note, "kept from version 1");
  EXPECT_EQ(summaries[0].run.parameters.hcs_policy, "static");
  EXPECT_EQ(summaries[0].run.verdict, (VerdictRecord{Verdict::Pass, "KL divergence", 0.01, 0.1}));
  EXPECT_EQ(summaries[0].decode_tokens_per_second.samples, std::vector<double>{4});
  EXPECT_EQ(must(database.repetitions(1))[0].decode_token_s, (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
  EXPECT_EQ(summaries[0].run.telemetry_json, "{}");
  EXPECT_EQ(summaries[0].run.parameters.gpus, "all");
  must(database.set_telemetry(2, R"({"decode":{}})"));  // that run is still running
  EXPECT_EQ(must(database.run(2)).telemetry_json, R"({"decode":{}})");
  EXPECT_EQ(must(database.mark_interrupted()), std::vector<RunId>{2});
  EXPECT_EQ(RawSqlite(path).exec("UPDATE runs SET lgs = 9"), SQLITE_CONSTRAINT);  // the new rules hold
  must(database.check_integrity());
}

TEST_F(DatabaseTest, MigratesPrecisionsFromVersion8) {
  {
    RawSqlite raw(path);
    ASSERT_EQ(raw.exec(read_all(std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/schema_v8.sql")), SQLITE_OK);
    ASSERT_EQ(raw.exec("UPDATE runs SET cpu_bits = 5 WHERE id = 3"), SQLITE_OK);  // as no program wrote it
  }
  Database database = open(OpenMode::ReadWrite);
  const auto runs = must(database.runs());
  ASSERT_EQ(runs.size(), 3u);
  const auto formats = [&](std::size_t run) {
    const RunParameters& p = runs[run].parameters;
    return p.gpu_format + " " + p.cpu_format + " " + p.attention_format + " " + p.dense_mlp_format + " " +
           p.lm_head_format;
  };
  EXPECT_EQ(formats(0), "int8 int4 bf16 int8 int4");
  EXPECT_EQ(formats(1), "bf16 bf16 bf16 bf16 bf16");
  EXPECT_EQ(formats(2), "int4 5 bits int8 int4 bf16");
  EXPECT_EQ(runs[0].parameters.prefill_path, "cpu");
  EXPECT_EQ(runs[0].parameters.threads, 8);
  EXPECT_EQ(runs[0].disturbance, "Another worker computed.");
  EXPECT_EQ(must(database.repetitions(1)).size(), 1u);
  must(database.check_integrity());
  RawSqlite raw(path);
  EXPECT_EQ(raw.get("SELECT count(*) FROM pragma_table_info('runs') WHERE name LIKE '%bits'"), "0");
  EXPECT_EQ(raw.exec("UPDATE runs SET gpu_format = 'int4' WHERE id = 1"), SQLITE_CONSTRAINT) << "it has ended";
  EXPECT_EQ(raw.exec("UPDATE runs SET gpu_format = 'int8' WHERE id = 3"), SQLITE_OK) << "it is queued";
}

// Steps follow from the table of parameters: what was released must not change with it.
TEST_F(DatabaseTest, TheStepsToAnOlderSchemaMakeWhatTheyMadeThen) {
  const std::string tables =
      "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE sql <> '' ORDER BY name)";
  for (const int version : {7, 8}) {
    RawSqlite then(folder / ("then" + std::to_string(version))), now(folder / ("now" + std::to_string(version)));
    ASSERT_EQ(then.exec(read_all(std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/schema_v" +
                                 std::to_string(version) + ".sql")),
              SQLITE_OK);
    for (int step = 0; step < version; ++step) {
      ASSERT_EQ(now.exec(migrations()[static_cast<std::size_t>(step)]), SQLITE_OK) << step;
    }
    EXPECT_EQ(now.get(tables), then.get(tables));
  }
}

TEST_F(DatabaseTest, EachIndexOnRunsHasAQuery) {
  open();
  RawSqlite raw(path);
  const std::pair<std::string, std::string> queries[] = {
      {"runs_by_status", "SELECT id FROM runs WHERE status = 'queued' ORDER BY position, id"},
      {"runs_by_sweep", "SELECT r.id FROM runs r JOIN models m ON m.id = r.model_id WHERE r.sweep = 'x'"}};
  std::string indexes;
  for (const auto& [index, query] : queries) {
    indexes += (indexes.empty() ? "" : ",") + index;
    const std::string plan = raw.plan(query);
    EXPECT_NE(plan.find(index), std::string::npos) << plan;
    EXPECT_EQ(plan.find("TEMP B-TREE"), std::string::npos) << plan;
  }
  EXPECT_EQ(raw.get("SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'index' AND "
                    "tbl_name = 'runs' AND sql IS NOT NULL ORDER BY name)"),
            indexes);
}

TEST_F(DatabaseTest, AValueThatAParameterCannotHaveNamesTheRun) {
  Database database = open();
  must(database.enqueue(example_run()));
  ASSERT_EQ(RawSqlite(path).exec("UPDATE runs SET hcs = 'sometimes'"), SQLITE_OK);
  const auto runs = database.runs();
  ASSERT_FALSE(runs);
  EXPECT_EQ(runs.error().code, ErrorCode::Corrupt);
  EXPECT_NE(runs.error().cause.find("hcs cannot be \"sometimes\""), std::string::npos) << runs.error().cause;
}

TEST_F(DatabaseTest, TenThousandRunsAreListed) {
  Database database = open();
  std::vector<Database::WholeRun> runs(10000);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    RunRecord& run = runs[i].run;
    std::string number = std::to_string(100000000000 + i);
    run.uuid = "00000000-0000-4000-8000-" + number;
    run.created_at = "2026-02-22T10:11:12Z";
    run.model = example_run().model;
    run.parameters = example_run().parameters;
    run.environment = std::make_shared<EnvironmentRecord>(example_environment());
    run.status = RunStatus::Done;
    for (int r = 0; r < 3; ++r) runs[i].repetitions.push_back(example_repetition(r));
  }
  EXPECT_EQ(must(database.import_runs(runs)).added, 10000u);
  const auto start = std::chrono::steady_clock::now();
  const auto summaries = must(database.summaries());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSERT_EQ(summaries.size(), 10000u);
  EXPECT_EQ(summaries.back().decode_tokens_per_second.statistics.n, 3u);
  EXPECT_LT(seconds, 20) << "a list must not take time in the square of its length";
  RecordProperty("seconds", std::to_string(seconds));
}

}  // namespace
}  // namespace krasis::results

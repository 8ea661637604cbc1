// One table of what a worker says during a run, and what the database then holds: for both clients the same.
#include "results_db/run_recorder.h"

#include <gmock/gmock.h>

#include "results_db/from_worker.h"
#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

using protocol::Event;
using testing::IsEmpty;

/// What a run's row holds in the end, as text.
struct Stored {
  RunStatus status = RunStatus::Done;
  std::string model = "Fake";
  std::int64_t threads = 8;
  std::string prompt = "9a0b";
  std::string plan = R"({"predicted":1})";
  std::string telemetry = "{}";
  std::string disturbance;
  std::string ceilings = "{}";
  std::size_t repetitions = 0;
  std::vector<std::string> log;  ///< "level stage: text"
  Verdict verdict = Verdict::None;
  std::string cause;
  bool operator==(const Stored&) const = default;
};

void PrintTo(const Stored& s, std::ostream* out) {
  *out << name_of(s.status) << ", " << s.model << ", " << s.threads << " threads, prompt " << s.prompt << ", plan "
       << s.plan << ", telemetry " << s.telemetry << ", disturbance \"" << s.disturbance << "\", ceilings "
       << s.ceilings << ", " << s.repetitions << " repetitions, " << name_of(s.verdict) << ", \"" << s.cause
       << "\", log " << testing::PrintToString(s.log);
}

struct Case {
  const char* name;
  std::vector<Event> events;
  RequestEnd end;
  Stored stored;
};

protocol::MachineFacts machine(std::string ceilings = "{}") {
  return {"Desk", "Some CPU", std::int64_t{1} << 34, "", "", "Linux 6.1", "b1", "{}", std::move(ceilings)};
}
Event loaded(std::vector<std::string> notes = {}, std::int64_t threads = 8) {
  return protocol::Loaded{"1", {"fa4e", "Fake", "qwen3_moe", "2 layers", false}, threads, R"({"predicted":1})", "9a0b",
                          std::move(notes)};
}
Event sample(int index, bool warm_up = false) {
  return protocol::Sample{"1", warm_up, index, 16, 0.5, 0.51, 2, 0.2, {0.1, 0.1}, "{}", "Once"};
}
Event finished(const char* explanation = "", const char* disturbance = "") {
  protocol::Finished event;
  event.id = "1";
  event.plan_json = R"({"reached":2})";
  event.telemetry_json = R"({"decode":{}})";
  event.disturbance = disturbance;
  event.verdict.explanation = explanation;
  return event;
}
Event stopped() {
  protocol::Finished event;
  event.id = "1";
  event.cancelled = true;
  event.verdict.explanation = "Stopped before it was judged.";
  return event;
}
RequestEnd passed() {
  RequestEnd end;
  end.verdict = {"pass", "regret, nats", 0.01, 0.15, {}};
  return end;
}
RequestEnd ended(RequestEnd::Kind kind, std::string stage, int signal = 0) {
  RequestEnd end;
  end.kind = kind;
  if (kind == RequestEnd::Kind::Cancelled) return end;
  end.cause = "It broke.";
  end.remedy = "Mend it.";
  end.stage = std::move(stage);
  end.signal = signal;
  return end;
}

std::vector<Case> cases() {
  using Kind = RequestEnd::Kind;
  const std::string reached = R"({"reached":2})", telemetry = R"({"decode":{}})";
  return {
      {"Done",
       {loaded({"8 of 8 GB are page-locked."}), protocol::Environment{machine(R"({"memory":10})")}, sample(0, true),
        sample(0), sample(1), finished("All 64 tokens were judged.")},
       passed(),
       {.plan = reached,
        .telemetry = telemetry,
        .ceilings = R"({"memory":10})",
        .repetitions = 3,
        .log = {"info load: 8 of 8 GB are page-locked.", "info verdict: All 64 tokens were judged."},
        .verdict = Verdict::Pass}},
      {"Disturbed",
       {loaded(), sample(0), finished("", "Another worker computed meanwhile.")},
       passed(),
       {.plan = reached,
        .telemetry = telemetry,
        .disturbance = "Another worker computed meanwhile.",
        .repetitions = 1,
        .verdict = Verdict::Pass}},
      {"Cancelled", {loaded(), sample(0), stopped()}, ended(Kind::Cancelled, ""),
       {.status = RunStatus::Cancelled, .repetitions = 1}},
      {"AnErrorWithoutIdIsAWarning",
       {protocol::Failed{"", "corrupt", "That was no request.", "", "start"}, loaded(), finished()},
       passed(),
       {.plan = reached,
        .telemetry = telemetry,
        .log = {"warning start: That was no request."},
        .verdict = Verdict::Pass}},
      {"FailedWhileItRepeats",
       {loaded(), sample(0), protocol::Failed{"1", "internal", "It broke.", "Mend it.", "repetition"}},
       ended(Kind::Failed, "repetition"),
       {.status = RunStatus::Failed,
        .repetitions = 1,
        .log = {"error repetition: It broke. Mend it."},
        .cause = "It broke."}},
      {"OutOfMemoryBeforeItsModelIsKnown",
       {protocol::Loading{"1", "quantize", 0.5}},
       ended(Kind::OutOfMemory, "load"),
       {.status = RunStatus::OutOfMemory,
        .model = "tiny",
        .threads = 3,
        .prompt = "",
        .plan = "{}",
        .log = {"error load: It broke. Mend it."},
        .cause = "It broke."}},
      {"CrashedWithLastWords",
       {loaded({}, 0), sample(0), protocol::Log{"warning", "repetition", "segfault follows"}},
       ended(Kind::Crashed, "repetition", 11),
       {.status = RunStatus::Crashed,
        .threads = 3,
        .repetitions = 1,
        .log = {"warning repetition: segfault follows", "error repetition: It broke. Mend it."},
        .cause = "It broke."}},
  };
}

Stored stored(Database& database, RunId id) {
  const RunRecord run = must(database.run(id));
  Stored s{run.status, run.model.name, run.parameters.threads, run.parameters.prompt_fingerprint};
  s.plan = run.plan_json;
  s.telemetry = run.telemetry_json;
  s.disturbance = run.disturbance;
  s.ceilings = run.environment ? run.environment->ceilings_json : "no environment";
  s.repetitions = must(database.repetitions(id)).size();
  for (const LogLine& line : must(database.log(id))) s.log.push_back(line.level + " " + line.stage + ": " + line.text);
  s.verdict = run.verdict.verdict;
  s.cause = run.failure.cause;
  return s;
}

RunConfiguration configuration() {
  RunConfiguration configuration;
  configuration.model = "/models/tiny/";
  configuration.threads = 3;
  return configuration;
}

struct Recording : testing::Test {
  TemporaryFolder folder;
  Database database = must(Database::open(folder / "runs.db"));
  RunRecorder recorder;

  RunRecord claimed() { return must(database.claim(must(database.enqueue(new_run_of(configuration(), "a sweep"))))); }
  Stored record(const Case& c, bool ready_first) {
    if (ready_first) must(recorder.hear(protocol::Ready{"1.0", {}, machine()}));
    const RunRecord run = claimed();
    must(recorder.begin(database, run));
    if (!ready_first) must(recorder.hear(protocol::Ready{"1.0", {}, machine()}));
    for (const Event& event : c.events) must(recorder.hear(event));
    EXPECT_EQ(recorder.run(), run.id);
    must(recorder.finish(outcome_of(c.end)));
    EXPECT_EQ(recorder.run(), 0);
    return stored(database, run.id);
  }
};

TEST_F(Recording, StoresEachKindOfRun) {
  for (const Case& c : cases()) {
    EXPECT_EQ(record(c, true), c.stored) << c.name;
    EXPECT_EQ(record(c, false), c.stored) << c.name << ", the row before the worker is ready";
  }
}

TEST_F(Recording, AProcessIsTheEnvironmentOfAllItsRuns) {
  must(recorder.hear(protocol::Ready{"1.0", {}, machine()}));
  must(recorder.hear(protocol::Environment{machine(R"({"memory":10})")}));
  for (int i = 0; i < 2; ++i) {
    const RunRecord run = claimed();
    must(recorder.begin(database, run));
    must(recorder.finish(outcome_of(passed())));
    EXPECT_EQ(stored(database, run.id).ceilings, R"({"memory":10})");
  }
}

TEST_F(Recording, BetweenRunsNothingIsStored) {
  const Case done = cases().front();
  for (const Event& event : done.events) must(recorder.hear(event));
  must(recorder.finish(outcome_of(passed())));
  EXPECT_THAT(must(database.runs()), IsEmpty());
}

TEST_F(Recording, AnErrorOfTheDatabaseIsTheCallers) {
  must(recorder.begin(database, claimed()));
  must(recorder.hear(sample(0)));
  const auto twice = recorder.hear(sample(0));
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::Conflict);
  const RunId run = recorder.run();
  must(recorder.finish(outcome_of(passed())));
  EXPECT_EQ(stored(database, run).repetitions, 1U);
}

}  // namespace
}  // namespace krasis::results

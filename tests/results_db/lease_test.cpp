// Who may measure with a database, and who may judge a run that somebody else measures.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/results_db/fixture.h"

namespace krasis::results {
namespace {

using ::testing::HasSubstr;

class LeaseTest : public ::testing::Test {
 protected:
  Database open(std::optional<ProcessIdentity> identity = {}, const std::string& program = "the window") {
    return must(Database::open(path, {OpenMode::Create, 2000, program, std::move(identity)}));
  }
  /// As if the lease had not been renewed for longer than it lasts.
  void let_it_run_out() {
    ASSERT_EQ(RawSqlite(path).exec("UPDATE measuring SET renewed_at = '2026-01-01T00:00:00.000Z'"), SQLITE_OK);
  }
  TemporaryFolder folder;
  std::filesystem::path path = folder / "results.db";
};

/// On another machine, after another boot, or in a container of this machine.
std::vector<ProcessIdentity> elsewhere() {
  ProcessIdentity boot = this_process(), container = this_process();
  boot.host = "far";
  boot.boot = "6f1b0c9e-0000-4000-8000-000000000000";
  container.host = "container";
  container.pid_namespace = "pid:[1]";
  return {boot, container};
}

TEST_F(LeaseTest, OneMeasuresTheOthersReadAndEnqueue) {
  for (const ProcessIdentity& other : elsewhere()) {
    SCOPED_TRACE(other.host);
    path = folder / (other.host + ".db");
    Database here = open();
    Database there = open(other, "krasis bench");
    EXPECT_EQ(must(here.measurer()), std::nullopt);
    const RunId first = must(there.enqueue(example_run()));
    must(there.claim(first));
    const auto measurer = must(here.measurer());
    ASSERT_TRUE(measurer);
    EXPECT_EQ(measurer->host, other.host);
    EXPECT_EQ(measurer->pid, other.pid);
    EXPECT_EQ(measurer->program, "krasis bench");
    EXPECT_FALSE(measurer->since.empty());
    EXPECT_FALSE(measurer->here);
    EXPECT_TRUE(must(there.measurer())->here);

    const RunId second = must(here.enqueue(example_run()));
    for (const auto& refused :
         {here.claim(second).map([](auto&&) {}), here.claim_next().map([](auto&&) {}), here.begin_measuring()}) {
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::Conflict);
      EXPECT_THAT(refused.error().cause,
                  HasSubstr("krasis bench (process " + std::to_string(other.pid) + " on " + other.host + ")"));
    }
    EXPECT_EQ(must(here.run(second)).status, RunStatus::Queued);
    must(here.set_note(first, "seen from here"));

    must(there.end_measuring());
    EXPECT_TRUE(must(here.measurer())) << "its run is still running";
    must(there.finish(first, {}));
    must(there.end_measuring());
    EXPECT_EQ(must(here.measurer()), std::nullopt);
    must(here.claim(second));
    EXPECT_FALSE(there.begin_measuring());
  }
}

TEST_F(LeaseTest, ARunThatLivesElsewhereIsNobodyElsesToJudge) {
  for (const ProcessIdentity& other : elsewhere()) {
    SCOPED_TRACE(other.host);
    path = folder / (other.host + ".db");
    Database here = open();
    Database there = open(other);
    const RunId run = must(there.enqueue(example_run()));
    must(there.claim(run));
    EXPECT_TRUE(must(here.mark_interrupted()).empty());
    EXPECT_EQ(must(there.run(run)).status, RunStatus::Running);
    let_it_run_out();
    must(there.begin_measuring());  // renews
    EXPECT_TRUE(must(here.mark_interrupted()).empty());
    let_it_run_out();
    EXPECT_EQ(must(here.measurer()), std::nullopt);
    EXPECT_EQ(must(here.mark_interrupted()), std::vector{run});
    EXPECT_EQ(must(here.run(run)).status, RunStatus::Crashed);
    must(here.begin_measuring());
    EXPECT_EQ(there.begin_measuring().error().code, ErrorCode::Conflict) << "it came back too late";
  }
}

TEST_F(LeaseTest, AProcessThatCanBeSeenNeedsNoRenewalAndLeavesWithItsDeath) {
  RunId run = 0;
  {
    Database database = open();
    run = must(database.enqueue(example_run()));
  }
  int claimed[2];
  ASSERT_EQ(::pipe(claimed), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto database = Database::open(path, {OpenMode::Create, 2000, "krasis bench"});
    const bool mine = database && database->claim(run);
    (void)!::write(claimed[1], mine ? "y" : "n", 1);
    for (;;) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(claimed[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  Database here = open();
  let_it_run_out();
  EXPECT_TRUE(must(here.mark_interrupted()).empty()) << "it lives, though it does not renew";
  EXPECT_EQ(must(here.measurer())->pid, child);
  EXPECT_FALSE(here.begin_measuring());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(must(here.measurer()), std::nullopt);
  must(here.begin_measuring());
  EXPECT_EQ(must(here.mark_interrupted()), std::vector{run});
  ::close(claimed[0]);
  ::close(claimed[1]);
}

TEST_F(LeaseTest, OwnersOfOlderProgramsAreUnderstood) {
  const ProcessIdentity here = this_process();
  EXPECT_EQ(life_of(here.owner(), here), ProcessLife::Alive);
  EXPECT_EQ(life_of(here.boot + ":" + std::to_string(here.pid) + ":" + here.started, here), ProcessLife::Alive);
  EXPECT_EQ(life_of(here.boot + ":" + std::to_string(here.pid) + ":1", here), ProcessLife::Gone);
  EXPECT_EQ(life_of("another-boot:1:1", here), ProcessLife::Unknown);
  ProcessIdentity nowhere = here;
  nowhere.pid_namespace.clear();  // a kernel without namespaces
  EXPECT_EQ(life_of(nowhere.owner(), here), ProcessLife::Alive);
  for (const char* text : {"", ":", "::", "a:b", "a:b:c:d:e:f", ":::::::"})
    EXPECT_EQ(life_of(text, here), ProcessLife::Gone) << text;
}

TEST_F(LeaseTest, MigratesFromVersion7) {
  {
    RawSqlite raw(path);
    ASSERT_EQ(raw.exec(read_all(std::string(KRASIS_SOURCE_DIR) + "/tests/results_db/data/schema_v7.sql")), SQLITE_OK);
  }
  Database database = open();
  EXPECT_EQ(database.schema_version(), Database::current_schema_version());
  const auto summaries = must(database.summaries());
  ASSERT_EQ(summaries.size(), 2u);
  EXPECT_EQ(summaries[0].run.note, "kept from schema 7");
  EXPECT_EQ(summaries[0].run.parameters.numa, "shards");
  EXPECT_EQ(summaries[0].run.disturbance, "");
  EXPECT_EQ(must(database.measurer()), std::nullopt);
  EXPECT_EQ(must(database.mark_interrupted()), std::vector<RunId>{2}) << "of another boot, and nobody renews for it";
  must(database.claim(must(database.enqueue(example_run()))));
  EXPECT_TRUE(must(database.measurer())->here);
  must(database.check_integrity());
}

TEST_F(LeaseTest, ADisturbanceIsStoredWithItsRun) {
  Database database = open();
  const RunId run = must(database.enqueue(example_run()));
  EXPECT_EQ(database.set_disturbance(run, "x").error().code, ErrorCode::Conflict) << "it is queued";
  must(database.claim(run));
  must(database.set_disturbance(run, "Somebody computed."));
  must(database.finish(run, {}));
  EXPECT_EQ(database.set_disturbance(run, "").error().code, ErrorCode::Conflict) << "it has ended";
  EXPECT_EQ(must(database.run(run)).disturbance, "Somebody computed.");
}

}  // namespace
}  // namespace krasis::results

// The client against a scripted worker: each way in which a worker can end badly, and the good one.
#include "engine/worker/worker_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>

namespace krasis {
namespace {

using namespace protocol;
using namespace std::chrono_literals;
using testing::HasSubstr;
using WorkerEvent = protocol::Event;

std::unique_ptr<WorkerProcess> start(const std::string& script) {
  auto worker = WorkerProcess::start({KRASIS_FAKE_WORKER, "--script", script, "--delay-ms", "1"});
  EXPECT_TRUE(worker) << worker.error().message();
  return worker ? std::move(*worker) : nullptr;
}

RunConfiguration small() {
  RunConfiguration r;
  r.decode_tokens = 4;
  r.warmups = 1;
  r.repetitions = 3;
  return r;
}

/// What came until the request ended, or until the worker did, or nothing for two seconds but heartbeats.
struct Outcome {
  std::vector<WorkerEvent> events;
  std::optional<Error> error;
  bool silent = false;

  template <class T>
  std::vector<T> all() const {
    std::vector<T> result;
    for (const WorkerEvent& event : events) {
      if (const auto* one = std::get_if<T>(&event)) result.push_back(*one);
    }
    return result;
  }
};

Outcome follow(WorkerProcess& worker, std::chrono::milliseconds patience = 20s) {
  Outcome outcome;
  for (;;) {
    auto event = worker.next(patience);
    if (!event) {
      outcome.error = event.error();
      return outcome;
    }
    if (!*event) {
      outcome.silent = true;
      return outcome;
    }
    outcome.events.push_back(**event);
    if (std::holds_alternative<Finished>(**event) || std::holds_alternative<Failed>(**event)) return outcome;
  }
}

Outcome benchmark(WorkerProcess& worker, std::chrono::milliseconds patience = 20s) {
  EXPECT_TRUE(worker.send(Benchmark{"run", small()}));
  return follow(worker, patience);
}

TEST(WorkerProcess, GoodRunFromReadyToEnd) {
  auto worker = start("ok");
  ASSERT_TRUE(worker);
  const Outcome outcome = benchmark(*worker);
  ASSERT_FALSE(outcome.error) << outcome.error->message();
  ASSERT_EQ(outcome.all<Ready>().size(), 1U);
  EXPECT_EQ(outcome.all<Ready>()[0].machine.cpu, "Fake CPU");
  const auto samples = outcome.all<Sample>();
  ASSERT_EQ(samples.size(), 4U);
  EXPECT_TRUE(samples[0].warm_up);
  EXPECT_FALSE(samples[1].warm_up);
  EXPECT_EQ(samples[3].decode_token_s.size(), 4U);
  EXPECT_EQ(outcome.all<Finished>().at(0).verdict.verdict, "pass");

  ASSERT_TRUE(worker->send(Generate{"g", small(), {{"user", "Hello"}}, "", 20}));
  std::string text;
  for (const Token& token : follow(*worker).all<Token>()) text += token.text;
  EXPECT_THAT(text, HasSubstr("Once upon a time"));

  ASSERT_TRUE(worker->send(Shutdown{}));
  const Outcome end = follow(*worker);
  ASSERT_TRUE(end.error);
  ASSERT_TRUE(worker->end());
  EXPECT_EQ(worker->end()->exit_code, 0);
  EXPECT_EQ(worker->end()->signal, 0);
  EXPECT_FALSE(worker->send(Hello{}));
}

TEST(WorkerProcess, CancelEndsARun) {
  auto worker = start("slow");
  ASSERT_TRUE(worker);
  ASSERT_TRUE(worker->send(Benchmark{"run", small()}));
  for (int samples = 0; samples < 4;) {
    auto event = worker->next(10s);
    ASSERT_TRUE(event && *event);
    if (std::holds_alternative<Sample>(**event)) ++samples;
  }
  ASSERT_TRUE(worker->send(Cancel{"run"}));
  const Outcome outcome = follow(*worker);
  ASSERT_EQ(outcome.all<Finished>().size(), 1U);
  EXPECT_TRUE(outcome.all<Finished>()[0].cancelled);
}

struct Death {
  const char* script;
  int signal;
  int exit_code;
  std::size_t samples;
  const char* cause;
  const char* last_line;
};

class WorkerDies : public testing::TestWithParam<Death> {};

TEST_P(WorkerDies, IsAnErrorThatSaysHow) {
  const Death& expected = GetParam();
  auto worker = start(expected.script);
  ASSERT_TRUE(worker);
  const Outcome outcome = benchmark(*worker);
  ASSERT_TRUE(outcome.error);
  EXPECT_THAT(outcome.error->cause, HasSubstr(expected.cause));
  EXPECT_FALSE(outcome.error->remedy.empty());
  ASSERT_TRUE(worker->end());
  EXPECT_EQ(worker->end()->signal, expected.signal);
  EXPECT_EQ(worker->end()->exit_code, expected.exit_code);
  EXPECT_EQ(outcome.all<Sample>().size(), expected.samples) << "what came before is not lost";
  std::string last;
  for (const std::string& line : worker->end()->last_lines) last += line + "\n";
  EXPECT_THAT(last, HasSubstr(expected.last_line));
  EXPECT_FALSE(worker->next(1ms)) << "it stays ended";
}

INSTANTIATE_TEST_SUITE_P(EachStage, WorkerDies,
                         testing::Values(Death{"crash-start", 11, 0, 0, "signal 11 (Segmentation fault)", "cannot start: no reason"},
                                         Death{"exit-start", 0, 127, 0, "exit code 127", "error while loading shared libraries"},
                                         Death{"crash-load", 11, 0, 0, "signal 11", "bad tensor"},
                                         Death{"crash-warm-up", 11, 0, 0, "signal 11", "segfault follows"},
                                         Death{"crash-run", 11, 0, 2, "signal 11", "segfault follows"},
                                         Death{"crash-verdict", 6, 0, 4, "signal 6 (Aborted)", ""},
                                         Death{"killed", 9, 0, 2, "signal 9 (Killed)", ""},
                                         Death{"exits", 0, 0, 1, "exit code 0", ""},
                                         Death{"partial-line", 0, 0, 0, "exit code 0", ""}),
                         [](const auto& test) {
                           std::string name = test.param.script;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(WorkerProcess, NonsenseAndOtherVersionsAreNotTrusted) {
  for (const auto& [script, code] : {std::pair{"nonsense", ErrorCode::Corrupt}, {"huge-line", ErrorCode::Corrupt}, {"wrong-version", ErrorCode::Unsupported}}) {
    auto worker = start(script);
    ASSERT_TRUE(worker);
    const Outcome outcome = benchmark(*worker);
    ASSERT_TRUE(outcome.error) << script;
    EXPECT_EQ(outcome.error->code, code) << script << ": " << outcome.error->message();
    worker->kill();
    ASSERT_TRUE(worker->end());
  }
}

TEST(WorkerProcess, SilenceIsSeenAndTheProcessCanBeKilled) {
  for (const char* script : {"stall-start", "stall-load", "stall-run"}) {
    auto worker = start(script);
    ASSERT_TRUE(worker);
    EXPECT_TRUE(benchmark(*worker, 1500ms).silent) << script;
    worker->kill();
    ASSERT_TRUE(worker->end());
    EXPECT_EQ(worker->end()->signal, SIGKILL);
  }
}

TEST(WorkerProcess, OutOfMemoryIsAnAnswerAndTheWorkerLives) {
  auto worker = start("out-of-memory");
  ASSERT_TRUE(worker);
  const auto failures = benchmark(*worker).all<Failed>();
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].code, code_name(ErrorCode::OutOfMemory));
  EXPECT_THAT(failures[0].cause, HasSubstr("6.0 GiB"));
  EXPECT_FALSE(worker->end());
}

TEST(WorkerProcess, CommandsThatDoNotExist) {
  const auto worker = WorkerProcess::start({"/nowhere/krasis", "worker"});
  ASSERT_FALSE(worker);
  EXPECT_EQ(worker.error().code, ErrorCode::NotFound);
  EXPECT_THAT(worker.error().cause, HasSubstr("/nowhere/krasis"));
  EXPECT_FALSE(WorkerProcess::start({}));
}

TEST(WorkerProcess, DestructionEndsADeafWorker) {
  const auto begin = std::chrono::steady_clock::now();
  {
    auto worker = start("ignores-cancel");
    ASSERT_TRUE(worker);
    ASSERT_TRUE(worker->send(Benchmark{"run", small()}));
    for (bool deaf = false; !deaf;) {
      auto event = worker->next(10s);
      ASSERT_TRUE(event && *event);
      deaf = std::holds_alternative<Sample>(**event);
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);
}

TEST(WorkerProcess, BigRequestArrivesWhole) {
  auto worker = start("ok");
  ASSERT_TRUE(worker);
  ASSERT_TRUE(worker->send(Generate{"g", small(), {}, std::string(5 << 20, 'a'), 4}));
  EXPECT_EQ(follow(*worker).all<Finished>().size(), 1U);
}

}  // namespace
}  // namespace krasis

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QElapsedTimer>
#include <QTest>

#include "ui/controllers/worker_controller.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using results::Verdict;
using testing::HasSubstr;

/// A controller of a fake worker with a script, and everything it said.
struct Scene {
  explicit Scene(const QString& script, QStringList more = {}) : controller(command(script, std::move(more))) {
    controller.set_patience({.first_word = std::chrono::seconds(5), .silence = std::chrono::milliseconds(2500)});
    QObject::connect(&controller, &WorkerController::finished, &controller,
                     [this](const results::RunOutcome& o) { outcomes.push_back(o); });
    QObject::connect(&controller, &WorkerController::heard, &controller, [this](const protocol::Event& event) {
      if (const auto* sample = std::get_if<protocol::Sample>(&event)) samples.push_back(*sample);
      if (const auto* loaded = std::get_if<protocol::Loaded>(&event)) model = loaded->model.name;
    });
    QObject::connect(&controller, &WorkerController::text_streamed, &controller,
                     [this](const QString& t, qint64) { text += t; });
    configuration.warmups = 1;
    configuration.repetitions = 3;
  }
  static WorkerCommand command(const QString& script, QStringList more) {
    QStringList arguments{"--script", script};
    arguments << more << "worker";
    return {KRASIS_FAKE_WORKER, arguments};
  }
  bool wait(int milliseconds = 20000) {
    return QTest::qWaitFor([this] { return !outcomes.empty(); }, milliseconds);
  }
  results::RunOutcome benchmark() {
    controller.benchmark(configuration);
    EXPECT_TRUE(wait()) << "every request ends";
    QTest::qWait(100);
    EXPECT_EQ(outcomes.size(), 1U) << "and ends once";
    return outcomes.empty() ? results::RunOutcome{} : outcomes.front();
  }

  WorkerController controller;
  RunConfiguration configuration;
  std::vector<results::RunOutcome> outcomes;
  std::vector<protocol::Sample> samples;
  std::string model;
  QString text;
};

TEST(WorkerCommand, SplitsAsAShellDoes) {
  const auto command = WorkerCommand::parse("ssh -p 22 \"big host\" krasis worker");
  EXPECT_EQ(command.program, "ssh");
  EXPECT_EQ(command.arguments, QStringList({"-p", "22", "big host", "krasis", "worker"}));
  EXPECT_EQ(WorkerCommand::parse(command.line()).arguments, command.arguments);
  EXPECT_TRUE(WorkerCommand::parse("  ").program.isEmpty());
}

TEST(WorkerController, ABenchmarkGivesItsSamplesAndVerdict) {
  Scene scene("ok");
  const auto outcome = scene.benchmark();
  EXPECT_EQ(outcome.status, RunStatus::Done);
  EXPECT_EQ(outcome.verdict.verdict, Verdict::Pass);
  ASSERT_EQ(scene.samples.size(), 4U);
  EXPECT_TRUE(scene.samples[0].warm_up);
  EXPECT_EQ(scene.samples[3].index, 2);
  EXPECT_EQ(scene.model, "Fake-Model");
  EXPECT_EQ(scene.controller.state(), WorkerController::State::Idle);
  scene.outcomes.clear();
  EXPECT_EQ(scene.benchmark().status, RunStatus::Done) << "the process serves the next run";
}

TEST(WorkerController, AFailedVerdictIsADoneRun) {
  Scene scene("fail-verdict");
  const auto outcome = scene.benchmark();
  EXPECT_EQ(outcome.status, RunStatus::Done);
  EXPECT_EQ(outcome.verdict.verdict, Verdict::Fail);
}

TEST(WorkerController, GeneratedTextStreams) {
  Scene scene("ok");
  AnswerFigures figures;
  QObject::connect(&scene.controller, &WorkerController::answered, &scene.controller,
                   [&](const AnswerFigures& f) { figures = f; });
  scene.controller.generate(scene.configuration, {{"user", "Hello"}}, 50);
  ASSERT_TRUE(scene.wait());
  EXPECT_THAT(scene.text.toStdString(), HasSubstr("Once upon a time"));
  EXPECT_GT(figures.tokens, 0);
}

struct Death {
  const char* script;
  RunStatus status;
  const char* cause;
  int signal;
  const char* stage;
  std::size_t repetitions;  ///< that had been measured before
};

class EveryDeath : public testing::TestWithParam<Death> {};

TEST_P(EveryDeath, IsOneOutcomeThatSaysWhy) {
  const Death& death = GetParam();
  Scene scene(death.script);
  const auto outcome = scene.benchmark();
  EXPECT_EQ(outcome.status, death.status);
  EXPECT_THAT(outcome.failure.cause, HasSubstr(death.cause));
  EXPECT_EQ(outcome.failure.signal, death.signal);
  if (*death.stage != 0) {
    EXPECT_EQ(outcome.failure.stage, death.stage);
  }
  EXPECT_EQ(scene.samples.size(), death.repetitions);
  EXPECT_FALSE(scene.controller.is_busy());
}

INSTANTIATE_TEST_SUITE_P(
    Scripts, EveryDeath,
    testing::Values(Death{"crash-start", RunStatus::Crashed, "signal 11", 11, "start", 0},
                    Death{"exit-start", RunStatus::Crashed, "error while loading shared libraries", 0, "start", 0},
                    Death{"crash-load", RunStatus::Crashed, "bad tensor", 11, "load", 0},
                    Death{"crash-warm-up", RunStatus::Crashed, "the last words", 11, "warm-up", 0},
                    Death{"crash-run", RunStatus::Crashed, "segfault follows", 11, "repetition", 2},
                    Death{"crash-verdict", RunStatus::Crashed, "signal 6", 6, "verdict", 4},
                    Death{"killed", RunStatus::Crashed, "signal 9", 9, "", 2},
                    Death{"exits", RunStatus::Crashed, "ended with code 0", 0, "", 1},
                    Death{"stall-start", RunStatus::Crashed, "silent", 0, "start", 0},
                    Death{"stall-load", RunStatus::Crashed, "silent", 0, "load", 0},
                    Death{"stall-run", RunStatus::Crashed, "silent", 0, "", 1},
                    Death{"out-of-memory", RunStatus::OutOfMemory, "need 6.0 GiB", 0, "load", 0},
                    Death{"error-run", RunStatus::Failed, "gave up", 0, "repetition", 2},
                    Death{"nonsense", RunStatus::Crashed, "no message", 0, "", 0},
                    Death{"partial-line", RunStatus::Crashed, "ended with code 0", 0, "", 0},
                    Death{"cancelled-by-itself", RunStatus::Cancelled, "", 0, "", 1},
                    Death{"huge-line", RunStatus::Crashed, "longer than 16 MiB", 0, "", 0},
                    Death{"wrong-version", RunStatus::Crashed, "version", 0, "start", 0}),
    [](const auto& test) {
      std::string name = test.param.script;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(WorkerController, AnErrorAboutALineThatWasNoRequestEndsNothing) {
  Scene scene("stray-error");
  EXPECT_EQ(scene.benchmark().status, RunStatus::Done);
  EXPECT_EQ(scene.samples.size(), 4U);
}

TEST(WorkerController, AProgramThatIsNotThereIsACrashWithAdvice) {
  WorkerController controller({"/nowhere/krasis", {"worker"}});
  std::vector<results::RunOutcome> outcomes;
  QObject::connect(&controller, &WorkerController::finished, &controller,
                   [&](const results::RunOutcome& o) { outcomes.push_back(o); });
  controller.benchmark({});
  ASSERT_TRUE(QTest::qWaitFor([&] { return !outcomes.empty(); }, 5000));
  EXPECT_EQ(outcomes[0].status, RunStatus::Crashed);
  EXPECT_THAT(outcomes[0].failure.cause, HasSubstr("/nowhere/krasis"));
  EXPECT_THAT(outcomes[0].failure.remedy, HasSubstr("worker command"));
}

TEST(WorkerController, CancellingEndsTheRequestAndKeepsTheProcess) {
  Scene scene("slow");
  scene.controller.benchmark(scene.configuration);
  ASSERT_TRUE(QTest::qWaitFor([&] { return scene.samples.size() == 4; }, 10000));
  scene.controller.cancel();
  ASSERT_TRUE(scene.wait());
  EXPECT_EQ(scene.outcomes[0].status, RunStatus::Cancelled);
  EXPECT_EQ(scene.controller.state(), WorkerController::State::Idle);
}

TEST(WorkerController, AWorkerThatIgnoresCancelIsKilled) {
  Scene scene("ignores-cancel");
  scene.controller.set_patience({});
  scene.controller.benchmark(scene.configuration);
  ASSERT_TRUE(QTest::qWaitFor([&] { return !scene.samples.empty(); }, 10000));
  QElapsedTimer clock;
  clock.start();
  scene.controller.cancel();
  ASSERT_TRUE(scene.wait());
  EXPECT_EQ(scene.outcomes[0].status, RunStatus::Cancelled);
  EXPECT_LT(clock.elapsed(), 8000);
}

TEST(WorkerController, AfterACrashTheNextRequestGetsANewProcess) {
  Scene scene("crash-run");
  scene.benchmark();
  scene.controller.set_command(Scene::command("ok", {}));
  scene.outcomes.clear();
  EXPECT_EQ(scene.benchmark().status, RunStatus::Done);
}

}  // namespace
}  // namespace krasis::ui

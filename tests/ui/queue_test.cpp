// The queue in the window, by clicks: whose runs its rows are, what stops it, and what is never lost.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QInputDialog>
#include <QLabel>
#include <QMessageBox>
#include <QPlainTextEdit>
#include <QStatusBar>
#include <QTimer>

#include "tests/ui/invented_runs.h"
#include "tests/ui/window_fixture.h"
#include "ui/models/queue_model.h"
#include "ui/models/results_model.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using testing::HasSubstr;
using testing::Not;

class Queue : public test::Window {
 protected:
  void enqueue(const QString& lgs) const {
    page(MainWindow::Sweep);
    type_axis("LGS", lgs);
    click("enqueue");
  }
  void enqueue_paused(const QString& lgs) const {
    if (!window->queue()->is_paused()) click("pauseQueue");
    enqueue(lgs);
  }
  const std::vector<QueueRow>& queue() const { return window->queue_model()->rows(); }
  QTableView* table() const { return child<QTableView>("queueTable"); }
  void click_row(int row) const {
    const auto place = table()->visualRect(table()->model()->index(row, 0));
    QTest::mouseClick(table()->viewport(), Qt::LeftButton, {}, place.center());
  }
  QString progress() const { return child<QLabel>("queueProgress")->text(); }
  std::string notice() const { return child<QLabel>("queueNoticeText")->text().toStdString(); }
  results::Database& database() const { return window->database()->database(); }
  results::Database second_connection(const char* name = "results.db") const {
    return std::move(results::Database::open(directory.path() / name).value());
  }
  std::vector<std::int64_t> queued_lgs() const {
    std::vector<std::int64_t> lgs;
    const auto queued = database().queued_runs().value();
    for (const auto& run : queued) lgs.push_back(run.parameters.lgs);
    return lgs;
  }
  template <class Condition>
  static bool wait(Condition condition, int milliseconds = 15000) {
    return QTest::qWaitFor(condition, milliseconds);
  }
  QMessageBox* box(const char* name) const {
    QMessageBox* found = nullptr;
    const auto shown = [&] { return (found = window->findChild<QMessageBox*>(name)) && found->isVisible(); };
    EXPECT_TRUE(wait(shown, 3000)) << name;
    return found;
  }
  void press_in_box(const char* name, const char* button) const {
    auto* message = box(name);
    ASSERT_NE(message, nullptr);
    QTest::mouseClick(message->findChild<QPushButton*>(button), Qt::LeftButton);
    ASSERT_TRUE(wait([&] { return !window->findChild<QMessageBox*>(name); }, 3000));
  }
  /// A run that a process which no longer exists was measuring.
  void leave_interrupted_run() const {
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto database = second_connection();
      results::NewRun run;
      run.model = {"fp", "Invented", "qwen3_moe", "5 layers", false};
      run.parameters.lgs = 7;
      const auto id = database.enqueue(run);
      const bool done = id && database.claim(*id) && database.append_repetition(*id, test::repetition(0, 100, 10));
      ::_exit(done ? 0 : 1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_EQ(status, 0);
  }
};

// Whose rows they are ------------------------------------------------------------------------------------------------

TEST_F(Queue, AnotherDatabaseHasRowsAndCountsOfItsOwn) {
  open();
  enqueue_paused("1,2,3");
  EXPECT_EQ(progress(), "0/3, paused");
  ASSERT_TRUE(window->open_database(folder("other.db")));
  EXPECT_TRUE(queue().empty());
  EXPECT_EQ(progress(), "");
  click("pauseQueue");
  enqueue("4,5");
  ASSERT_TRUE(wait_for_queue(2));
  EXPECT_EQ(progress(), "2/2 done");
  EXPECT_EQ(rows().size(), 2U);
  ASSERT_TRUE(window->open_database(folder("results.db")));
  EXPECT_EQ(queue().size(), 3U);
  EXPECT_EQ(progress(), "0/3, paused");
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{1, 2, 3}));
}

TEST_F(Queue, AFailedRunOfAnotherDatabaseCannotBeRetriedInThisOne) {
  open("error-run");
  enqueue("5");
  ASSERT_TRUE(wait_for_queue(1));
  EXPECT_TRUE(child<QPushButton>("retryFailed")->isEnabled());
  {
    auto other = second_connection("other.db");
    RunConfiguration configuration;
    test::store(other, configuration, {100}, {10});
  }
  ASSERT_TRUE(window->open_database(folder("other.db")));
  EXPECT_FALSE(child<QPushButton>("retryFailed")->isEnabled());
  EXPECT_EQ(rows().size(), 1U);
}

TEST_F(Queue, CancellingARunThatAnotherProgramTookOnlyTakesTheRow) {
  open();
  enqueue_paused("1,2");
  auto second = second_connection();
  ASSERT_TRUE(second.claim(queue().front().id));
  click_row(0);
  click("cancelRun");
  EXPECT_EQ(queued_lgs(), std::vector<std::int64_t>{2});
  EXPECT_EQ(queue().size(), 1U);
  EXPECT_EQ(rows()[0].run.status, RunStatus::Running) << "it is the other program's";
}

TEST_F(Queue, RunsThatAnotherProgramTakesOrAddsFollow) {
  open();
  enqueue_paused("1,2");
  auto second = second_connection();
  ASSERT_TRUE(second.claim_next().value());
  ASSERT_TRUE(wait([&] { return queue().size() == 1; }));
  EXPECT_EQ(progress(), "0/1, paused");
  ASSERT_TRUE(second.requeue(queue()[0].id));
  ASSERT_TRUE(wait([&] { return queue().size() == 2; }));
  EXPECT_EQ(progress(), "0/2, paused");
}

TEST_F(Queue, AnotherDatabaseEmptiesTheComparisonAndTheSelection) {
  open();
  RunConfiguration configuration;
  for (const int lgs : {1, 2}) {
    configuration.lgs = lgs;
    test::store(database(), configuration, {100, 101, 102}, {10, 10, 11});
  }
  {
    auto other = second_connection("other.db");
    for (int i = 0; i < 2; ++i) test::store(other, configuration, {100}, {10});
  }
  window->database()->announce_change();
  page(MainWindow::Results);
  auto* results = child<QTableView>("resultsTable");
  ASSERT_TRUE(wait([&] { return results->model()->rowCount() == 2; }));
  results->selectAll();
  press("compareAction");
  ASSERT_TRUE(child<QTableView>("compareTable")->isVisible());
  ASSERT_TRUE(window->open_database(folder("other.db")));
  EXPECT_FALSE(child<QTableView>("compareTable")->isVisible());
  page(MainWindow::Results);
  EXPECT_EQ(results->model()->rowCount(), 2);
  EXPECT_TRUE(results->selectionModel()->selectedRows().isEmpty());
}

// A worker that does not start ----------------------------------------------------------------------------------------

TEST_F(Queue, AWorkerThatIsNotThereStopsTheQueueWithOneMessageAndLosesNoRun) {
  open_with_worker("/no/such/krasis worker");
  enqueue("1,2,3");
  ASSERT_TRUE(wait([&] { return !notice().empty() && child<QWidget>("queueNotice")->isVisible(); }));
  EXPECT_THAT(notice(), HasSubstr("/no/such/krasis worker"));
  EXPECT_THAT(notice(), HasSubstr("No such file"));
  EXPECT_THAT(notice(), HasSubstr("Check the worker command"));
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(progress(), "0/3, paused");
  click("queueResume");
  ASSERT_TRUE(wait([&] { return child<QWidget>("queueNotice")->isVisible(); })) << "tried again, the same answer";
  EXPECT_EQ(queued_lgs().size(), 3U);
  QTimer::singleShot(0, window.get(), [] {
    auto* dialog = qobject_cast<QInputDialog*>(QApplication::activeModalWidget());
    ASSERT_NE(dialog, nullptr);
    dialog->setTextValue(QStringLiteral("\"%1\" --script ok worker").arg(KRASIS_FAKE_WORKER));
    dialog->accept();
  });
  click("queueCommand");
  ASSERT_TRUE(wait_for_queue(3)) << "with a command that works the runs that waited go on";
  EXPECT_FALSE(child<QWidget>("queueNotice")->isVisible());
}

TEST_F(Queue, AWorkerThatDiesBeforeItIsReadyStopsTheQueue) {
  open("exit-start");
  enqueue("1,2");
  ASSERT_TRUE(wait([&] { return child<QWidget>("queueNotice")->isVisible(); }));
  EXPECT_THAT(notice(), HasSubstr("error while loading shared libraries"));
  EXPECT_EQ(queued_lgs().size(), 2U);
  EXPECT_EQ(rows().size(), 2U) << "no row but those that wait";
}

TEST_F(Queue, FailedRunsAreHiddenWhenAskedInBothTablesAndInTheNextSession) {
  open("error-run");
  enqueue("1");
  ASSERT_TRUE(wait_for_queue(1));
  test::store(database(), {}, {100}, {10});
  window->database()->announce_change();
  auto* results = child<QTableView>("resultsTable");
  auto* recent = child<QTableView>("recentRuns");
  ASSERT_TRUE(wait([&] { return results->model()->rowCount() == 2; }));
  page(MainWindow::Results);
  child<QCheckBox>("hideFailed")->click();
  EXPECT_EQ(results->model()->rowCount(), 1);
  EXPECT_EQ(recent->model()->rowCount(), 1);
  EXPECT_EQ(child<QLabel>("resultsCount")->text(), "1 of 2 runs");
  window->close();
  open();
  EXPECT_TRUE(child<QCheckBox>("hideFailed")->isChecked());
  page(MainWindow::Home);
  child<QCheckBox>("hideFailedRecent")->click();
  EXPECT_EQ(child<QTableView>("recentRuns")->model()->rowCount(), 2);
  EXPECT_FALSE(child<QCheckBox>("hideFailed")->isChecked());
}

// Quitting and what an earlier session left ---------------------------------------------------------------------------

TEST_F(Queue, QuittingAsksWhileARunIsGoingAndTheRunIsOfferedAgain) {
  open("slow");
  enqueue("1,2");
  ASSERT_TRUE(wait([&] { return !rows().empty() && rows()[0].prefill_tokens_per_second.statistics.n > 0; }));
  press("quit");
  EXPECT_THAT(box("quitBox")->text().toStdString(), HasSubstr("LGS 1"));
  press_in_box("quitBox", "keepWorking");
  EXPECT_TRUE(window->isVisible());
  EXPECT_TRUE(window->queue()->is_running());
  press("quit");
  press_in_box("quitBox", "quitAnyway");
  EXPECT_FALSE(window->isVisible());
  EXPECT_EQ(rows()[0].run.status, RunStatus::Cancelled);
  EXPECT_THAT(rows()[0].run.failure.cause, HasSubstr("window was closed"));
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{1, 2})) << "it is the next one again";

  open();
  EXPECT_THAT(notice(), HasSubstr("2 runs wait in the queue"));
  window->statusBar()->showMessage("something else");
  EXPECT_TRUE(child<QWidget>("queueNotice")->isVisible());
  EXPECT_FALSE(window->queue()->is_running());
  click("queueResume");
  EXPECT_FALSE(child<QWidget>("queueNotice")->isVisible());
  ASSERT_TRUE(wait_for_queue(2));
}

TEST_F(Queue, ARunThatTheUserCancelledIsNotOfferedAgain) {
  open("ignores-cancel");
  enqueue("1");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  click_row(0);
  click("cancelRun");
  press("quit");
  press_in_box("quitBox", "quitAnyway");
  EXPECT_TRUE(queued_lgs().empty());
}

TEST_F(Queue, WhatACrashOfTheProgramInterruptedIsOfferedAndCanBeDiscardedOrRunAgain) {
  leave_interrupted_run();
  open();
  EXPECT_THAT(notice(), HasSubstr("One run waits in the queue"));
  EXPECT_THAT(notice(), HasSubstr("had been interrupted"));
  EXPECT_EQ(queued_lgs(), std::vector<std::int64_t>{7});
  EXPECT_EQ(rows()[0].run.status, RunStatus::Crashed);
  EXPECT_EQ(rows()[0].prefill_tokens_per_second.statistics.n, 1U) << "what it had measured is kept";
  click("queueDiscard");
  EXPECT_TRUE(queued_lgs().empty());
  EXPECT_FALSE(child<QWidget>("queueNotice")->isVisible());
  EXPECT_FALSE(window->queue()->is_paused());

  click("pauseQueue");
  page(MainWindow::Results);
  auto* results = child<QTableView>("resultsTable");
  ASSERT_TRUE(wait([&] { return results->model()->rowCount() == 1; }));
  results->selectRow(0);
  press("runAgainAction");
  EXPECT_EQ(queued_lgs(), std::vector<std::int64_t>{7});
}

// Clicks --------------------------------------------------------------------------------------------------------------

TEST_F(Queue, RunsThatWereMeasuredAreOnlyMeasuredAgainWhenAsked) {
  open();
  enqueue("1,2");
  ASSERT_TRUE(wait_for_queue(2));
  click("pauseQueue");
  type_axis("LGS", "1,2,3");
  ASSERT_TRUE(wait([&] { return child<QPushButton>("enqueue")->text().contains("3"); }));
  click("enqueue");
  EXPECT_THAT(box("measuredBox")->text().toStdString(), HasSubstr("2 of the chosen runs"));
  press_in_box("measuredBox", "measureNone");
  EXPECT_TRUE(queued_lgs().empty());
  click("enqueue");
  press_in_box("measuredBox", "measureOthers");
  EXPECT_EQ(queued_lgs(), std::vector<std::int64_t>{3});
  click("enqueue");
  press_in_box("measuredBox", "measureAgain");
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{3, 1, 2, 3}));
}

TEST_F(Queue, ASecondClickOnCancelRunCancelsNoOtherRun) {
  open();
  enqueue_paused("1,2,3");
  click_row(0);
  click("cancelRun");
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{2, 3}));
  QTest::mouseClick(child<QPushButton>("cancelRun"), Qt::LeftButton);
  EXPECT_EQ(queued_lgs(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_TRUE(table()->selectionModel()->selectedRows().isEmpty());
}

TEST_F(Queue, RetryFailedLeavesTheCancelledOnesAndRetryRunTakesAny) {
  open("slow");
  enqueue("1");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  click("cancelAll");
  ASSERT_TRUE(wait([&] { return !window->queue()->is_running(); }));
  EXPECT_EQ(rows()[0].run.status, RunStatus::Cancelled);
  EXPECT_FALSE(child<QPushButton>("retryFailed")->isEnabled());
  click("pauseQueue");
  click_row(0);
  click("retryRun");
  EXPECT_EQ(queued_lgs(), std::vector<std::int64_t>{1});
}

TEST_F(Queue, TheTextOfAFailureMovesNoButton) {
  open("crash-run");
  enqueue("1");
  ASSERT_TRUE(wait_for_queue(1));
  auto* button = child<QPushButton>("retryFailed");
  const QPoint before = button->mapToGlobal(QPoint());
  click_row(0);
  ASSERT_TRUE(child<QPlainTextEdit>("queueFailure")->isVisible());
  QTest::qWait(50);  // a layout would have been done by now
  EXPECT_EQ(button->mapToGlobal(QPoint()), before);
}

TEST_F(Queue, ThePauseButtonIsCalledWhatItDoes) {
  open();
  auto* button = child<QPushButton>("pauseQueue");
  EXPECT_EQ(button->accessibleName(), "Pause the queue");
  click("pauseQueue");
  EXPECT_EQ(button->text().remove('&'), "Resume");
  EXPECT_EQ(button->accessibleName(), "Resume the queue");
}

}  // namespace
}  // namespace krasis::ui

// Nothing measures beside a measurement: the window's chat and its queue take turns, and another program's measurement
// is only looked at.
#include <gmock/gmock.h>

#include <QLabel>
#include <QPlainTextEdit>

#include "tests/ui/window_fixture.h"
#include "ui/controllers/chat_controller.h"
#include "ui/models/queue_model.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using testing::HasSubstr;

class Turns : public test::Window {
 protected:
  void enqueue(const QString& lgs) const {
    page(MainWindow::Sweep);
    type_axis("LGS", lgs);
    click("enqueue");
  }
  void ask(const QString& question) const {
    page(MainWindow::Chat);
    auto* composer = child<QPlainTextEdit>("composer");
    composer->setFocus();
    QTest::keyClicks(composer, question);
    click("send");
  }
  void end_the_run() const {
    for (const auto& row : window->queue_model()->rows()) {
      if (row.status == RunStatus::Running) return window->queue()->cancel(row.id);
    }
    FAIL() << "no run is going";
  }
  int with_status(RunStatus status) const {
    const auto& rows = window->queue_model()->rows();
    return static_cast<int>(
        std::count_if(rows.begin(), rows.end(), [&](const QueueRow& row) { return row.status == status; }));
  }
  bool answers() const { return !window->chat()->is_waiting() && window->chat()->is_answering(); }
  bool bar_is_visible() const { return child<QWidget>("measuringBar")->isVisible(); }
  std::string bar() const { return child<QLabel>("measuringBarText")->text().toStdString(); }
  std::string notice() const { return child<QLabel>("queueNoticeText")->text().toStdString(); }
  template <class Condition>
  static bool wait(Condition condition) {
    return QTest::qWaitFor(condition, 15000);
  }
};

TEST_F(Turns, AQuestionCanPauseTheQueueAndIsAnsweredBehindTheRun) {
  open("slow");
  enqueue("1,2");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  EXPECT_FALSE(bar_is_visible());
  ask("Who are you?");
  ASSERT_TRUE(wait([&] { return bar_is_visible(); }));
  EXPECT_TRUE(window->chat()->is_waiting());
  EXPECT_THAT(bar(), HasSubstr("is being measured. An answer would disturb it."));
  click("pauseQueueAndAnswer");
  EXPECT_TRUE(window->queue()->is_paused());
  EXPECT_THAT(bar(), HasSubstr("The answer comes when it has ended."));
  EXPECT_TRUE(window->queue()->is_running()) << "what is measured is measured to its end";
  EXPECT_TRUE(window->chat()->is_waiting());
  end_the_run();
  ASSERT_TRUE(wait([&] { return answers(); }));
  EXPECT_FALSE(bar_is_visible());
  ASSERT_TRUE(wait([&] { return window->chat()->messages().back().turn.text.contains("Once upon"); }));
  EXPECT_EQ(with_status(RunStatus::Queued), 1) << "the other run waits until Resume";
  window->chat()->stop();
}

TEST_F(Turns, AQuestionCanWaitForTheWholeQueue) {
  open("slow");
  enqueue("1,2");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  ask("Who are you?");
  ASSERT_TRUE(wait([&] { return bar_is_visible(); }));
  click("waitForQueue");
  EXPECT_THAT(bar(), HasSubstr("when the queue has nothing left to measure."));
  EXPECT_FALSE(child<QPushButton>("waitForQueue")->isVisible());
  end_the_run();
  ASSERT_TRUE(wait([&] { return with_status(RunStatus::Cancelled) == 1 && window->queue()->is_running(); }));
  EXPECT_TRUE(window->chat()->is_waiting()) << "the second run goes first";
  end_the_run();
  ASSERT_TRUE(wait([&] { return answers(); }));
  EXPECT_FALSE(window->queue()->is_paused());
  window->chat()->stop();
}

TEST_F(Turns, AQuestionThatWaitsCanBeTakenBack) {
  open("slow");
  enqueue("1");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  ask("Who are you?");
  ASSERT_TRUE(wait([&] { return bar_is_visible(); }));
  click("stop");
  EXPECT_FALSE(bar_is_visible());
  EXPECT_FALSE(window->chat()->is_answering());
  EXPECT_TRUE(window->queue()->is_running());
  end_the_run();
  ASSERT_TRUE(wait([&] { return !window->queue()->is_running(); }));
  EXPECT_FALSE(window->chat()->is_answering());
}

TEST_F(Turns, TheQueueWaitsWhileTheChatComputes) {
  open("slow");
  ask("Who are you?");
  ASSERT_TRUE(wait([&] { return window->chat()->messages().back().turn.text.contains("Once upon"); }));
  enqueue("1");
  QTest::qWait(100);  // a run that began would be there by now
  EXPECT_FALSE(window->queue()->is_running());
  EXPECT_EQ(with_status(RunStatus::Queued), 1);
  page(MainWindow::Chat);
  click("stop");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
}

TEST_F(Turns, AnotherProgramsMeasurementIsShownAndNotJoined) {
  open("ok");
  results::ProcessIdentity far = results::this_process();
  far.host = "far";
  far.boot = "6f1b0c9e-0000-4000-8000-000000000000";
  auto other =
      results::Database::open(directory.path() / "results.db", {.program = "krasis bench", .identity = far}).value();
  ASSERT_TRUE(other.begin_measuring());
  enqueue("1,2");
  ASSERT_TRUE(wait([&] { return window->queue()->is_paused(); }));
  EXPECT_THAT(notice(), HasSubstr("krasis bench (process " + std::to_string(far.pid) + " on far)"));
  EXPECT_THAT(child<QLabel>("measurerState")->text().toStdString(), HasSubstr("krasis bench"));
  EXPECT_TRUE(child<QLabel>("measurerState")->isVisible());
  EXPECT_EQ(with_status(RunStatus::Queued), 2);
  click("queueResume");  // it still measures
  EXPECT_TRUE(window->queue()->is_paused());
  EXPECT_EQ(with_status(RunStatus::Queued), 2);
  ASSERT_TRUE(other.end_measuring());
  ASSERT_TRUE(wait([&] { return QString::fromStdString(notice()).contains("Nobody else measures any more"); }));
  EXPECT_FALSE(child<QLabel>("measurerState")->isVisible());
  EXPECT_TRUE(window->queue()->is_paused()) << "the user decides";
  click("queueResume");
  ASSERT_TRUE(wait_for_queue(2));
  // An idle queue measures nothing: the others may.
  ASSERT_TRUE(wait([&] { return other.begin_measuring().has_value(); }));
}

TEST_F(Turns, AnotherDatabaseGivesTheRightBack) {
  open("slow");
  enqueue("1");
  ASSERT_TRUE(wait([&] { return window->queue()->is_running(); }));
  end_the_run();
  ASSERT_TRUE(wait([&] { return !window->queue()->is_running(); }));
  window->open_database(folder("other.db"));
  auto first = results::Database::open(directory.path() / "results.db").value();
  EXPECT_EQ(first.measurer().value(), std::nullopt);
}

}  // namespace
}  // namespace krasis::ui

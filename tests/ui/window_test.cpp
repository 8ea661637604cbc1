// The window, driven as a user drives it, against a scripted worker; what counts is what the database and the clipboard
// hold afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QAction>
#include <QCheckBox>
#include <QClipboard>
#include <QComboBox>
#include <QGuiApplication>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMenu>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTabBar>
#include <QTableView>
#include <QTest>
#include <QTimer>
#include <QToolButton>

#include "tests/ui/invented_runs.h"
#include "tests/ui/window_fixture.h"
#include "ui/controllers/chat_controller.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/sweep_controller.h"
#include "ui/format.h"
#include "ui/main_window.h"
#include "ui/models/sweep_models.h"
#include "ui/widgets/message_widget.h"
#include "ui/widgets/metric_chart.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using test::Window;
using testing::HasSubstr;

TEST_F(Window, ASweepByClicksBecomesRowsChartsAndMarkdown) {
  open();
  page(MainWindow::Sweep);
  child<QLineEdit>("sweepName")->setText("first");
  auto* repetitions = child<QWidget>("parameter_repetitions");
  repetitions->setFocus();
  QTest::keyClick(repetitions, Qt::Key_A, Qt::ControlModifier);
  QTest::keyClicks(repetitions, "2");
  type_axis("LGS", "1,2");
  type_axis("HCS", "off,on");
  EXPECT_EQ(child<QTableView>("sweepRuns")->model()->rowCount(), 4);
  click("enqueue");
  ASSERT_TRUE(wait_for_queue(4));
  const auto runs = rows();
  ASSERT_EQ(runs.size(), 4U);
  for (const auto& run : runs) {
    EXPECT_EQ(run.run.status, RunStatus::Done);
    EXPECT_EQ(run.run.verdict.verdict, results::Verdict::Pass);
    EXPECT_EQ(run.run.sweep, "first");
    EXPECT_EQ(run.run.model.architecture, "2 layers, hidden 8")
        << "the worker's own facts replace what the window guessed";
    EXPECT_EQ(run.prefill_tokens_per_second.statistics.n, 2U) << "warm-ups are no repetitions";
    ASSERT_NE(run.run.environment, nullptr);
    EXPECT_EQ(run.run.environment->machine, "Fake machine");
  }
  EXPECT_EQ(runs[1].run.parameters.hcs, HotCache::On);
  EXPECT_EQ(runs[3].run.parameters.lgs, 2);
  EXPECT_EQ(child<QLabel>("queueProgress")->text(), "4/4 done");

  page(MainWindow::Results);
  QTest::qWait(200);
  auto* table = child<QTableView>("resultsTable");
  ASSERT_EQ(table->model()->rowCount(), 4);
  EXPECT_EQ(child<MetricChart>("decodeChart")->point_count(), 4U);
  click("copyMarkdown");
  const auto markdown = QGuiApplication::clipboard()->text().toStdString();
  EXPECT_THAT(markdown, HasSubstr("| Model | GPUs | GPU/CPU format | LGS | HCS | Prefill (tok/s) | TTFT (s) |"));
  EXPECT_THAT(markdown, HasSubstr("Column Legend"));

  table->selectRow(0);
  click("setBaseline");
  table->selectionModel()->select(QItemSelection(table->model()->index(0, 0), table->model()->index(2, 0)),
                                  QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
  press("compareAction");
  auto* comparison = child<QTableView>("compareTable");
  EXPECT_TRUE(comparison->isVisible());
  EXPECT_EQ(comparison->model()->columnCount(), 4);
}

/// The rows of a table of names and values, as "name = value".
std::vector<std::string> facts(const QTableView* table) {
  std::vector<std::string> rows;
  const auto* model = table->model();
  for (int row = 0; row < model->rowCount(); ++row) {
    rows.push_back((model->index(row, 0).data().toString() + " = " + model->index(row, 1).data().toString()).toStdString());
  }
  return rows;
}

TEST_F(Window, ARunWritesATraceWhenAskedAndShowsItsTelemetry) {
  open();
  auto* traces = child<QCheckBox>("writeTraces");
  EXPECT_FALSE(traces->isChecked());
  EXPECT_THAT(traces->toolTip().toStdString(), HasSubstr(folder("traces").toStdString()));
  page(MainWindow::Sweep);
  type_axis("LGS", "1");
  click("enqueue");
  ASSERT_TRUE(wait_for_queue(1));
  QTest::mouseClick(traces, Qt::LeftButton, {}, QPoint(8, traces->height() / 2));
  ASSERT_TRUE(traces->isChecked());
  type_axis("LGS", "2");
  click("enqueue");
  ASSERT_TRUE(wait_for_queue(1));

  page(MainWindow::Results);
  QTest::qWait(200);
  auto* table = child<QTableView>("resultsTable");
  ASSERT_EQ(table->model()->rowCount(), 2);
  auto* tabs = child<QTabBar>("qt_tabwidget_tabbar");
  for (int i = 0; i < tabs->count(); ++i) {
    if (tabs->tabText(i) == "Telemetry") QTest::mouseClick(tabs, Qt::LeftButton, {}, tabs->tabRect(i).center());
  }
  const auto* telemetry = child<QTableView>("telemetryTable");
  EXPECT_TRUE(telemetry->isVisible());
  const auto shown = [&](int row) {
    QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, table->visualRect(table->model()->index(row, 0)).center());
    return facts(telemetry);
  };
  const auto first = shown(0);
  EXPECT_THAT(first, testing::Contains("Prefill: copies = 5 GB in 200 ms, 25 GB/s, 50 % of the measured link"));
  EXPECT_THAT(first, testing::Contains("Prefill: both at once = 150 ms, 75 % of the shorter one"));
  EXPECT_THAT(first, testing::Contains("Decode: CPU experts busy = 15 ms, 75 % of a token"));
  EXPECT_THAT(first, testing::Not(testing::Contains(HasSubstr("Trace: file"))));
  const auto runs = rows();
  const std::string file = folder("traces").toStdString() + "/" + runs[1].run.short_id() + ".trace.json";
  EXPECT_THAT(shown(1), testing::Contains("Trace: file = " + file));

  window->close();
  open();
  EXPECT_TRUE(child<QCheckBox>("writeTraces")->isChecked()) << "the next session goes on so";
}

TEST_F(Window, AThrottledRunSaysSoNextToItsFigure) {
  open("gpus");
  page(MainWindow::Sweep);
  type_axis("LGS", "1");
  click("enqueue");
  ASSERT_TRUE(wait_for_queue(1));
  page(MainWindow::Results);
  QTest::qWait(200);
  auto* table = child<QTableView>("resultsTable");
  table->selectRow(0);
  bool marked = false;
  for (int c = 0; c < table->model()->columnCount(); ++c) {
    if (table->model()->headerData(c, Qt::Horizontal).toString() != "Decode (tok/s)") continue;
    const auto cell = table->model()->index(0, c);
    marked = cell.data().toString().endsWith(QStringLiteral("\u26a0"));
    EXPECT_THAT(cell.data(Qt::ToolTipRole).toString().toStdString(), HasSubstr("power cap in 40 % of the samples"));
  }
  EXPECT_TRUE(marked);
  EXPECT_THAT(facts(child<QTableView>("telemetryTable")),
              testing::Contains("GPU 0000:3b:00.0: power = 400 W (100 to 700)"));
}

/// Chooses the device CUDA as a user does, by the keyboard.
void choose_cuda(QComboBox* device) {
  device->setFocus();
  QTest::keyClick(device, Qt::Key_C);
  ASSERT_EQ(device->currentData().toString(), "cuda");
}

TEST_F(Window, WithoutAGpuTheFormRefusesCudaWithCauseAndRemedy) {
  open("ok", true);
  const auto* machine = child<QTableView>("machineTable");
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->configuration()->devices().known; }, 10000));
  EXPECT_THAT(facts(machine), testing::Contains("GPU = none; the host device works"));
  page(MainWindow::Sweep);
  EXPECT_TRUE(child<QPushButton>("enqueue")->isEnabled());
  choose_cuda(child<QComboBox>("parameter_device"));
  auto* error = child<QLabel>("error_device");
  EXPECT_TRUE(error->isVisible());
  EXPECT_THAT(error->text().toStdString(), HasSubstr("The fake has no driver."));
  EXPECT_THAT(error->text().toStdString(), HasSubstr("Choose the device Host"));
  QTest::qWait(300);
  EXPECT_FALSE(child<QPushButton>("enqueue")->isEnabled());
  auto* device = child<QComboBox>("parameter_device");
  QTest::keyClick(device, Qt::Key_Up);
  EXPECT_FALSE(error->isVisible());
  QTest::qWait(300);
  EXPECT_TRUE(child<QPushButton>("enqueue")->isEnabled());
}

TEST_F(Window, WithSeveralGpusTheyAreShownAndCanBeChosen) {
  open("gpus", true);
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->configuration()->devices().known; }, 10000));
  const auto machine = facts(child<QTableView>("machineTable"));
  const std::string gpu = "Fake GPU, " + format_bytes(qint64{24} << 30).toStdString() + ", driver 550.1";
  EXPECT_THAT(machine, testing::IsSupersetOf({"GPU 0 = " + gpu, "GPU 1 = " + gpu}));
  auto* edit = child<QLineEdit>("parameter_gpus");
  EXPECT_FALSE(edit->isVisible()) << "the host device has no GPUs";
  choose_cuda(child<QComboBox>("parameter_device"));
  EXPECT_FALSE(child<QLabel>("error_device")->isVisible());
  ASSERT_TRUE(edit->isVisible());
  EXPECT_EQ(edit->text(), "all");
  auto* choose = child<QToolButton>("chooseGpus");
  QTimer::singleShot(100, choose, [choose] {
    QMenu* menu = choose->menu();
    ASSERT_EQ(menu->actions().size(), 2);
    EXPECT_TRUE(menu->actions()[0]->isChecked());
    QTest::mouseClick(menu, Qt::LeftButton, {}, menu->actionGeometry(menu->actions()[0]).center());
    menu->close();
  });
  QTest::mouseClick(choose, Qt::LeftButton);
  EXPECT_EQ(window->configuration()->configuration().gpus, "1") << "the first one was taken out";
  EXPECT_EQ(edit->text(), "1");
  edit->setFocus();
  edit->selectAll();
  QTest::keyClicks(edit, "0,5");
  QTest::keyClick(edit, Qt::Key_Return);
  EXPECT_THAT(child<QLabel>("error_gpus")->text().toStdString(), HasSubstr("There is no GPU 5"));
}

TEST_F(Window, ACrashIsARowAndTheQueueGoesOn) {
  open("crash-run");
  page(MainWindow::Sweep);
  type_axis("LGS", "1,2");
  click("enqueue");
  ASSERT_TRUE(wait_for_queue(2));
  const auto runs = rows();
  ASSERT_EQ(runs.size(), 2U) << "the second run was tried after the first had crashed";
  for (const auto& run : runs) {
    EXPECT_EQ(run.run.status, RunStatus::Crashed);
    EXPECT_EQ(run.run.failure.signal, 11);
    EXPECT_EQ(run.prefill_tokens_per_second.statistics.n, 1U) << "the repetition before the crash is kept";
    const auto log = window->database()->database().log(run.run.id).value();
    EXPECT_TRUE(std::any_of(log.begin(), log.end(), [](const auto& line) { return line.text == "the last words"; }));
  }
  auto* queue = child<QTableView>("queueTable");
  queue->selectRow(0);
  EXPECT_THAT(child<QPlainTextEdit>("queueFailure")->toPlainText().toStdString(), HasSubstr("Signal: 11"));
  click("copyReport");
  const auto report = QGuiApplication::clipboard()->text().toStdString();
  EXPECT_THAT(report, HasSubstr("signal 11"));
  EXPECT_THAT(report, HasSubstr("warning repetition: the last words")) << "the log's last lines";
  EXPECT_THAT(report, HasSubstr("\"prompt_tokens\": ")) << "the configuration";
  EXPECT_THAT(report, HasSubstr("Fake machine"));
  click("retryFailed");
  ASSERT_TRUE(QTest::qWaitFor([&] { return rows().size() == 4 && !window->queue()->is_running(); }, 20000));
}

TEST_F(Window, CancellingAllStopsTheRunAndEmptiesTheQueue) {
  open("slow");
  page(MainWindow::Sweep);
  type_axis("LGS", "1,2,3");
  click("enqueue");
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->queue()->is_running() && !rows().empty() &&
                                           rows()[0].prefill_tokens_per_second.statistics.n > 0; }, 10000));
  click("cancelAll");
  ASSERT_TRUE(QTest::qWaitFor([&] { return !window->queue()->is_running(); }, 10000));
  const auto runs = rows();
  ASSERT_EQ(runs.size(), 1U) << "queued runs are removed, the one that ran is kept as cancelled";
  EXPECT_EQ(runs[0].run.status, RunStatus::Cancelled);
  EXPECT_TRUE(window->database()->database().queued_runs().value().empty());
}

TEST_F(Window, PausedAtTheEndTheQueueWaitsInTheDatabaseForTheNextSession) {
  open();
  click("pauseQueue");
  page(MainWindow::Sweep);
  type_axis("LGS", "1,2");
  click("enqueue");
  QTest::qWait(300);
  EXPECT_FALSE(window->queue()->is_running());
  window->close();
  open();
  EXPECT_TRUE(window->queue()->is_paused()) << "what an earlier session left goes on when the user says so";
  click("pauseQueue");
  ASSERT_TRUE(wait_for_queue(2));
  EXPECT_EQ(rows().size(), 2U);
}

TEST_F(Window, AnInvalidAxisDisablesEnqueueAndSaysWhy) {
  open();
  page(MainWindow::Sweep);
  type_axis("LGS", "1,banana");
  EXPECT_FALSE(child<QPushButton>("enqueue")->isEnabled());
  EXPECT_THAT(child<QLabel>("sweepReason")->text().toStdString(), HasSubstr("banana"));
  type_axis("LGS", "1,900");
  EXPECT_TRUE(child<QPushButton>("enqueue")->isEnabled());
  EXPECT_THAT(child<QLabel>("sweepSummary")->text().toStdString(), HasSubstr("1 of 2"));
}

TEST_F(Window, FilteringAClickOnTheChartAndConstantColumns) {
  open();
  auto& database = window->database()->database();
  RunConfiguration configuration;
  for (const int lgs : {1, 2, 4}) {
    configuration.lgs = lgs;
    test::store(database, configuration, {100.0 * lgs, 101.0 * lgs, 102.0 * lgs}, {10, 10, 11},
                lgs == 4 ? results::Verdict::Fail : results::Verdict::Pass);
  }
  window->database()->announce_change();
  page(MainWindow::Results);
  QTest::qWait(300);
  auto* table = child<QTableView>("resultsTable");
  ASSERT_EQ(table->model()->rowCount(), 3);
  const auto visible = [&](const QString& title) {
    for (int c = 0; c < table->model()->columnCount(); ++c) {
      if (table->model()->headerData(c, Qt::Horizontal).toString() == title) return !table->isColumnHidden(c);
    }
    ADD_FAILURE() << "no column " << title.toStdString();
    return false;
  };
  EXPECT_TRUE(visible("LGS"));
  EXPECT_FALSE(visible("HCS"));
  child<QCheckBox>("showConstantColumns")->click();
  EXPECT_TRUE(visible("HCS"));

  auto* chart = child<MetricChart>("prefillChart");
  EXPECT_EQ(chart->point_count(), 2U) << "FAIL stays out";
  QTest::mouseClick(chart->viewport(), Qt::LeftButton, {}, chart->position_of(2));
  ASSERT_EQ(table->selectionModel()->selectedRows().size(), 1);
  EXPECT_EQ(table->selectionModel()->selectedRows()[0].row(), 1);
  EXPECT_EQ(child<QTableView>("samplesTable")->model()->rowCount(), 3);

  press("filterAction");
  auto* filter = child<QLineEdit>("resultsFilter");
  QTest::keyClicks(filter, "lgs=2 prefill>150");
  EXPECT_EQ(table->model()->rowCount(), 1);
  table->clearSelection();
  press("copyMarkdownAction");
  EXPECT_EQ(QGuiApplication::clipboard()->text().count("| Invented |"), 1);
  filter->setText("nothing like this");
  EXPECT_TRUE(child<QWidget>("nothingMatches")->isVisible());
  click("nothingMatchesButton");
  EXPECT_EQ(table->model()->rowCount(), 3);
}

TEST_F(Window, AChatStreamsAndShowsItsFigures) {
  open();
  page(MainWindow::Chat);
  auto* composer = child<QPlainTextEdit>("composer");
  EXPECT_FALSE(child<QPushButton>("send")->isEnabled());
  QTest::keyClicks(composer, "Tell me a story");
  press("sendOrRun");
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->chat()->messages().size() == 2 && !window->chat()->is_answering(); }, 20000));
  const auto widgets = window->findChildren<MessageWidget*>();
  ASSERT_EQ(widgets.size(), 2);
  EXPECT_THAT(widgets[1]->text().toStdString(), HasSubstr("Once upon a time"));
  EXPECT_FALSE(widgets[1]->chips().isEmpty());
  press("regenerate");
  ASSERT_TRUE(QTest::qWaitFor([&] { return !window->chat()->is_answering(); }, 20000));
  EXPECT_EQ(window->chat()->messages().size(), 2U);
  press("newChat");
  EXPECT_TRUE(window->chat()->messages().empty());
}

TEST_F(Window, EscapeStopsAnAnswerAndACrashIsSaidInTheTranscript) {
  open("slow");
  page(MainWindow::Chat);
  child<QPlainTextEdit>("composer")->setPlainText("Tell me a story");
  press("sendOrRun");
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->chat()->messages().size() == 2 &&
                                           window->chat()->messages()[1].turn.text.contains("Once"); }, 20000));
  press("stopAction");
  ASSERT_TRUE(QTest::qWaitFor([&] { return !window->chat()->is_answering(); }, 10000));
  EXPECT_TRUE(window->chat()->messages()[1].error.isEmpty());

  open("crash-run");
  page(MainWindow::Chat);
  child<QPlainTextEdit>("composer")->setPlainText("Tell me a story");
  press("sendOrRun");
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->chat()->messages().size() == 2 && !window->chat()->is_answering(); }, 20000));
  EXPECT_THAT(window->chat()->messages()[1].error.toStdString(), HasSubstr("signal 11"));
  EXPECT_THAT(window->chat()->messages()[1].turn.text.toStdString(), HasSubstr("Once")) << "what arrived stays";
}

TEST_F(Window, ASweepFileIsOpenedAndSavedAgain) {
  open();
  const auto path = directory.path() / "sweep.toml";
  {
    QFile file(QString::fromStdString(path.string()));
    ASSERT_TRUE(file.open(QIODevice::WriteOnly));
    file.write("title = \"Mine\"\n[base]\nprompt_tokens = 77\n[axes]\nlgs = [1, 4]\nhcs = [\"off\", \"on\"]\n"
               "[[exclude]]\nlgs = 1\nhcs = \"on\"\n");
  }
  ASSERT_TRUE(window->sweep()->open(QString::fromStdString(path.string())));
  EXPECT_EQ(child<QLineEdit>("sweepName")->text(), "Mine");
  EXPECT_EQ(window->configuration()->configuration().prompt_tokens, 77);
  EXPECT_EQ(window->sweep()->runs()->runs().size(), 3U);
  ASSERT_TRUE(window->sweep()->save(folder("again.toml")));
  QFile again(folder("again.toml"));
  ASSERT_TRUE(again.open(QIODevice::ReadOnly));
  const auto sweep = sweep_from_toml(again.readAll().toStdString());
  ASSERT_TRUE(sweep);
  EXPECT_EQ(expand(*sweep)->size(), 3U);
}

TEST_F(Window, ADamagedDatabaseIsSaidAndTheFormerOneStays) {
  open();
  const QString bad = folder("bad.db");
  {
    QFile file(bad);
    ASSERT_TRUE(file.open(QIODevice::WriteOnly));
    file.write(QByteArray(5000, 'x'));
  }
  EXPECT_FALSE(window->open_database(bad));
  EXPECT_TRUE(child<QLabel>("banner")->isVisible());
  EXPECT_THAT(window->database()->path().toStdString(), HasSubstr("results.db"));
}

TEST_F(Window, TheLayoutIsRestoredAndReset) {
  open();
  auto* dock = child<QWidget>("logDock");
  dock->hide();
  child<QWidget>("configurationDock")->hide();
  window->close();
  open();
  EXPECT_FALSE(child<QWidget>("configurationDock")->isVisible());
  press("resetLayout");
  EXPECT_TRUE(child<QWidget>("configurationDock")->isVisible());
}

TEST_F(Window, PagesAndEveryControlByKeyboardAndName) {
  open();
  for (int i = 1; i <= MainWindow::PageCount; ++i) {
    press(QStringLiteral("page%1").arg(i));
    EXPECT_EQ(child<QListWidget>("pageBar")->currentRow(), i - 1);
  }
  for (auto* widget : window->findChildren<QWidget*>()) {
    const bool control = qobject_cast<QAbstractButton*>(widget) || qobject_cast<QLineEdit*>(widget) ||
                         qobject_cast<QComboBox*>(widget) || qobject_cast<QAbstractSpinBox*>(widget) ||
                         qobject_cast<QTableView*>(widget) || qobject_cast<QPlainTextEdit*>(widget);
    const bool internal = widget->objectName().startsWith("qt_") || qobject_cast<QComboBox*>(widget->parentWidget()) ||
                          qobject_cast<QLineEdit*>(widget->parentWidget()) || qobject_cast<QTableView*>(widget->parentWidget()) ||
                          qobject_cast<QTabBar*>(widget->parentWidget());
    if (!control || internal) continue;
    EXPECT_FALSE(widget->objectName().isEmpty()) << widget->metaObject()->className();
    EXPECT_FALSE(widget->accessibleName().isEmpty()) << widget->objectName().toStdString();
    EXPECT_NE(widget->focusPolicy(), Qt::NoFocus) << widget->objectName().toStdString();
  }
}

}  // namespace
}  // namespace krasis::ui

// Fields, dialogs and names in the window: what is typed is what runs, and what is shown is what was meant.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QAction>
#include <QApplication>
#include <QFileDialog>
#include <QFileInfo>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSettings>
#include <QTableView>
#include <QTest>
#include <QTimer>
#include <functional>

#include "tests/support/temporary_directory.h"
#include "tests/ui/invented_runs.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/sweep_controller.h"
#include "ui/main_window.h"
#include "ui/models/queue_model.h"
#include "ui/models/sweep_models.h"

namespace krasis::ui {
namespace {

using testing::HasSubstr;

class FormsWindow : public testing::Test {
 protected:
  void open(const QString& script = "ok") {
    Services services;
    services.probe_devices = false;
    services.hardware.devices = 16;
    services.hardware.host_memory_bytes = std::size_t{8} << 30;
    services.resources = KRASIS_SOURCE_DIR "/resources";
    services.worker_command = QStringLiteral("\"%1\" --script %2 worker").arg(KRASIS_FAKE_WORKER, script);
    services.database = path("results.db");
    services.settings_file = path("settings.ini");
    window = std::make_unique<MainWindow>(services);
    window->show();
    window->activateWindow();
    ASSERT_TRUE(QTest::qWaitForWindowActive(window.get()));
  }
  QString path(const char* name) const { return QString::fromStdString((directory.path() / name).string()); }
  template <class T>
  T* child(const char* name) const {
    auto* found = window->findChild<T*>(name);
    EXPECT_NE(found, nullptr) << name;
    return found;
  }
  void press(const char* action) const { child<QAction>(action)->trigger(); }
  void type(const char* field, const QString& text) const {
    auto* editor = child<QWidget>(field);
    editor->setFocus();
    QTest::keyClick(editor, Qt::Key_A, Qt::ControlModifier);
    QTest::keyClicks(editor, text);
  }
  std::vector<results::RunSummary> rows() const { return window->database()->database().summaries().value(); }
  bool wait_for_rows(std::size_t count) const {
    return QTest::qWaitFor(
        [&] { return rows().size() == count && window->queue()->done() == window->queue()->total(); }, 30000);
  }

  krasis::test::TemporaryDirectory directory;
  std::unique_ptr<MainWindow> window;
};

TEST_F(FormsWindow, CtrlReturnRunsWhatIsTypedInTheFieldThatHasTheFocus) {
  open();
  window->show_page(MainWindow::Sweep);
  RunConfiguration configuration = window->configuration()->configuration();
  configuration.hcs = HotCache::On;
  window->configuration()->set_configuration(configuration);
  type("parameter_hcs_share", "0,125");
  press("sendOrRun");
  ASSERT_TRUE(wait_for_rows(1));
  EXPECT_DOUBLE_EQ(rows()[0].run.parameters.hcs_share, 0.125);

  // A field that is read when it loses the focus, and one that is refused.
  type("parameter_gpus", "0,1");
  press("sendOrRun");
  ASSERT_TRUE(wait_for_rows(2));
  EXPECT_EQ(rows()[1].run.parameters.gpus, "0,1");
  type("parameter_lgs", "99999");
  press("sendOrRun");
  EXPECT_THAT(child<QLabel>("sweepReason")->text().toStdString(), HasSubstr("lgs cannot be"));
  EXPECT_EQ(rows().size(), 2U);
}

TEST_F(FormsWindow, WhileAValueIsRefusedNoRowsOfTheOldOneAreShown) {
  open();
  window->show_page(MainWindow::Sweep);
  auto* table = child<QTableView>("sweepRuns");
  window->sweep()->axes()->set_axis("lgs", "1,2");
  window->sweep()->axes()->set_axis("hcs", "off");
  QTRY_COMPARE_WITH_TIMEOUT(table->model()->rowCount(), 2, 5000);
  table->model()->setData(table->model()->index(1, 0), Qt::Unchecked, Qt::CheckStateRole);
  window->sweep()->axes()->set_axis("hcs", "on,foo");
  QTRY_COMPARE_WITH_TIMEOUT(table->model()->rowCount(), 0, 5000);
  EXPECT_FALSE(child<QPushButton>("enqueue")->isEnabled());
  window->sweep()->axes()->set_axis("hcs", "off");
  QTRY_COMPARE_WITH_TIMEOUT(table->model()->rowCount(), 2, 5000);
  EXPECT_EQ(window->sweep()->runs()->chosen().size(), 1U) << "ticks come back with their rows";
  type("parameter_max_context", "12x");
  QTRY_COMPARE_WITH_TIMEOUT(table->model()->rowCount(), 0, 5000);
  EXPECT_THAT(child<QLabel>("sweepReason")->text().toStdString(), HasSubstr("12x"));
}

TEST_F(FormsWindow, ASweepFileSaysWhatItReplacedAndPutsItBack) {
  open();
  window->show_page(MainWindow::Sweep);
  type("parameter_prompt_tokens", "3072");
  const RunConfiguration mine = window->configuration()->configuration();
  ASSERT_EQ(mine.prompt_tokens, 3072);
  EXPECT_FALSE(child<QPushButton>("putBackConfiguration")->isVisible());
  QTest::mouseClick(child<QPushButton>("firstSweep"), Qt::LeftButton);
  ASSERT_NE(window->configuration()->configuration().prompt_tokens, 3072);
  EXPECT_THAT(child<QLabel>("replacedConfiguration")->text().toStdString(), HasSubstr("(was 3072)"));
  QTest::mouseClick(child<QPushButton>("putBackConfiguration"), Qt::LeftButton);
  EXPECT_EQ(window->configuration()->configuration(), mine);
  QTRY_VERIFY_WITH_TIMEOUT(!child<QPushButton>("putBackConfiguration")->isVisible(), 5000);
}

TEST_F(FormsWindow, PluralsAreWordsAndWarmUpsHaveOneField) {
  open();
  window->show_page(MainWindow::Sweep);
  window->sweep()->axes()->set_axis("lgs", "1");
  QTRY_COMPARE_WITH_TIMEOUT(child<QPushButton>("enqueue")->text(), QStringLiteral("&Enqueue 1 run"), 5000);
  EXPECT_EQ(child<QLabel>("sweepSummary")->text(), "1 of 1 run chosen");
  window->sweep()->axes()->set_axis("lgs", "1,2");
  QTRY_COMPARE_WITH_TIMEOUT(child<QPushButton>("enqueue")->text(), QStringLiteral("&Enqueue 2 runs"), 5000);
  for (const char* name : {"warmups", "repetitions"}) {
    int fields = 0;
    for (const auto* field : window->findChildren<QWidget*>())
      fields += field->objectName().contains(name, Qt::CaseInsensitive) && !field->objectName().startsWith("error_");
    EXPECT_EQ(fields, 1) << name;
  }
}

TEST_F(FormsWindow, CtrlTwoBringsTheComposerTheKeys) {
  open();
  window->show_page(MainWindow::Results);
  child<QLineEdit>("resultsFilter")->setFocus();
  QTest::keyClick(window.get(), Qt::Key_2, Qt::ControlModifier);
  auto* composer = child<QPlainTextEdit>("composer");
  ASSERT_TRUE(composer->hasFocus());
  QTest::keyClicks(QApplication::focusWidget(), "Hello");
  EXPECT_EQ(composer->toPlainText(), "Hello");
}

TEST_F(FormsWindow, TheTitleNamesTheDatabase) {
  open();
  EXPECT_THAT(window->windowTitle().toStdString(), HasSubstr("results.db"));
  ASSERT_TRUE(window->open_database(path("other.db"), DatabaseService::Opening::New));
  EXPECT_THAT(window->windowTitle().toStdString(), HasSubstr("other.db"));
}

/// Presses an action that opens a file dialog and looks at it before it is closed.
void look_at_dialog(QAction* action, const std::function<void(QFileDialog&)>& look) {
  bool seen = false;
  QTimer timer;
  QObject::connect(&timer, &QTimer::timeout, [&] {
    auto* dialog = qobject_cast<QFileDialog*>(QApplication::activeModalWidget());
    if (!dialog) return;
    timer.stop();
    seen = true;
    look(*dialog);
    dialog->reject();
  });
  timer.start(10);
  action->trigger();
  EXPECT_TRUE(seen);
}

TEST_F(FormsWindow, OpeningADatabaseIsAnOpenDialogAndMakingOneIsAnother) {
  open();
  look_at_dialog(child<QAction>("openDatabase"), [](const QFileDialog& dialog) {
    EXPECT_EQ(dialog.acceptMode(), QFileDialog::AcceptOpen);
    EXPECT_EQ(dialog.fileMode(), QFileDialog::ExistingFile);
  });
  look_at_dialog(child<QAction>("newDatabase"),
                 [](const QFileDialog& dialog) { EXPECT_EQ(dialog.acceptMode(), QFileDialog::AcceptSave); });
}

TEST_F(FormsWindow, APathThatIsNotThereMakesNeitherFolderNorDatabase) {
  open();
  const QString missing = path("nowhere") + "/x.db";
  EXPECT_FALSE(window->open_database(missing, DatabaseService::Opening::Existing));
  EXPECT_FALSE(window->open_database(missing, DatabaseService::Opening::New));
  EXPECT_FALSE(QFileInfo::exists(path("nowhere")));
  EXPECT_TRUE(child<QLabel>("banner")->isVisible());
  EXPECT_THAT(child<QLabel>("banner")->text().toStdString(), HasSubstr("nowhere"));
  EXPECT_EQ(window->database()->path(), path("results.db")) << "the former one stays";
  EXPECT_FALSE(window->open_database(path("results.db"), DatabaseService::Opening::New)) << "it is not overwritten";
  EXPECT_TRUE(window->open_database(path("new.db"), DatabaseService::Opening::New));
  EXPECT_TRUE(window->open_database(path("results.db"), DatabaseService::Opening::Existing));
}

TEST_F(FormsWindow, ARememberedDatabaseThatIsGoneIsNotMadeAgain) {
  {
    QSettings settings(path("settings.ini"), QSettings::IniFormat);
    settings.setValue("database", path("gone") + "/x.db");
  }
  open();
  EXPECT_FALSE(QFileInfo::exists(path("gone")));
  EXPECT_EQ(window->database()->path(), path("results.db"));
  EXPECT_THAT(child<QLabel>("banner")->text().toStdString(), HasSubstr("not there any more"));
}

TEST_F(FormsWindow, OneModelHasOneNameWhetherItsRunFailedOrWasMeasured) {
  open("crash-load");
  window->show_page(MainWindow::Sweep);
  press("sendOrRun");
  ASSERT_TRUE(wait_for_rows(1));
  window.reset();
  open("ok");
  window->show_page(MainWindow::Sweep);
  press("sendOrRun");
  ASSERT_TRUE(wait_for_rows(2));
  ASSERT_EQ(window->queue_model()->rows().size(), 1U);
  EXPECT_TRUE(window->queue_model()->rows()[0].title.startsWith("embedded"));
  EXPECT_EQ(rows()[0].run.model.name, "embedded");
  EXPECT_EQ(rows()[1].run.model.name, "embedded");
  EXPECT_EQ(rows()[1].run.model.architecture, "2 layers, hidden 8")
      << "the worker's own facts replace what the window guessed";
  window->show_page(MainWindow::Results);
  child<QLineEdit>("resultsFilter")->setText("model=embedded");
  QTRY_COMPARE_WITH_TIMEOUT(child<QTableView>("resultsTable")->model()->rowCount(), 2, 5000);
}

}  // namespace
}  // namespace krasis::ui

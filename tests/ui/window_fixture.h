#pragma once

#include <gtest/gtest.h>

#include <QAction>
#include <QLineEdit>
#include <QPushButton>
#include <QTableView>
#include <QTest>
#include <memory>
#include <vector>

#include "tests/support/temporary_directory.h"
#include "ui/controllers/database_service.h"
#include "ui/controllers/queue_controller.h"
#include "ui/main_window.h"

namespace krasis::test {

using namespace krasis::ui;

/// A window in a folder of its own, driven as a user drives it, against a scripted worker.
class Window : public testing::Test {
 protected:
  /// A window whose worker follows the script (fake_worker_scripts.h).
  void open(const QString& script = "ok", bool probe = false) {
    open_with_worker(QStringLiteral("\"%1\" --script %2 worker").arg(KRASIS_FAKE_WORKER, script), probe);
  }
  void open_with_worker(const QString& command, bool probe = false) {
    Services services;
    services.probe_devices = probe;
    services.hardware.devices = 16;
    services.hardware.host_memory_bytes = std::size_t{8} << 30;
    services.resources = KRASIS_SOURCE_DIR "/resources";
    services.worker_command = command;
    services.database = folder("results.db");
    services.settings_file = folder("settings.ini");
    services.machine =
        facts_of({{"governor", Severity::Warning, "Governor: powersave", "On 4 CPUs.", "Run cpupower."}});
    services.machine.push_back({gpu_fact_name(), "not known yet", {}});
    window = std::make_unique<MainWindow>(services);
    window->show();
    window->activateWindow();
    QTest::qWait(20);
  }
  QString folder(const char* name) const { return QString::fromStdString((directory.path() / name).string()); }

  template <class T>
  T* child(const char* name) const {
    auto* found = window->findChild<T*>(name);
    EXPECT_NE(found, nullptr) << name;
    return found;
  }
  void click(const char* name) const {
    auto* button = child<QPushButton>(name);
    ASSERT_TRUE(button->isVisible()) << name;
    ASSERT_TRUE(button->isEnabled()) << name;
    QTest::mouseClick(button, Qt::LeftButton);
  }
  void page(MainWindow::Page page) const { window->show_page(page); }
  /// Types values into the axes editor as a user does: double click, text, Return.
  void type_axis(const QString& parameter, const QString& values) const {
    auto* table = child<QTableView>("axesTable");
    for (int row = 0; row < table->model()->rowCount(); ++row) {
      if (table->model()->index(row, 0).data().toString() != parameter) continue;
      const auto index = table->model()->index(row, 1);
      table->scrollTo(index);
      const QPoint center = table->visualRect(index).center();
      QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, center);
      if (!table->viewport()->findChild<QLineEdit*>())
        QTest::mouseDClick(table->viewport(), Qt::LeftButton, {}, center);
      auto* editor = table->viewport()->findChild<QLineEdit*>();
      ASSERT_NE(editor, nullptr);
      editor->selectAll();
      QTest::keyClicks(editor, values);
      QTest::keyClick(editor, Qt::Key_Return);
      QTest::qWait(10);
      return;
    }
    FAIL() << "no axis " << parameter.toStdString();
  }
  bool wait_for_queue(int total, int milliseconds = 30000) const {
    return QTest::qWaitFor([&] { return window->queue()->total() == total && window->queue()->done() == total; },
                           milliseconds);
  }
  std::vector<results::RunSummary> rows() const { return window->database()->database().summaries().value(); }
  void press(const QString& name) const { child<QAction>(name.toUtf8().constData())->trigger(); }

  TemporaryDirectory directory;
  std::unique_ptr<MainWindow> window;
};

}  // namespace krasis::test

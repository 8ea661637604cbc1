// The menus of the main window: every key is an action of a menu.
#include <QAction>
#include <QApplication>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QInputDialog>
#include <QMenuBar>
#include <QMessageBox>
#include <QSettings>
#include <QStackedWidget>

#include "ui/controllers/chat_controller.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/worker_controller.h"
#include "ui/docks/configuration_dock.h"
#include "ui/docks/queue_dock.h"
#include "ui/main_window.h"
#include "ui/pages/chat_page.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/home_page.h"
#include "ui/pages/results_page.h"
#include "ui/pages/sweep_page.h"

namespace krasis::ui {

void MainWindow::make_menus() {
  const auto add = [this](QMenu* menu, const QString& name, const QString& text, const QKeySequence& keys, auto slot) {
    auto* action = menu->addAction(text);
    action->setObjectName(name);
    action->setShortcut(keys);
    connect(action, &QAction::triggered, this, slot);
    return action;
  };
  auto* file = menuBar()->addMenu(tr("&File"));
  add(file, QStringLiteral("openDatabase"), tr("&Open results database\u2026"), QKeySequence::Open,
      [this] { choose_database(); });
  add(file, QStringLiteral("newDatabase"), tr("&New results database\u2026"), {}, [this] { choose_new_database(); });
  add(file, QStringLiteral("openSweep"), tr("Open s&weep\u2026"), {}, [this] {
    show_page(Sweep);
    sweep_page_->choose_file_to_open();
  });
  add(file, QStringLiteral("saveSweep"), tr("&Save sweep\u2026"), QKeySequence::Save, [this] {
    show_page(Sweep);
    sweep_page_->choose_file_to_save();
  });
  add(file, QStringLiteral("addModel"), tr("&Add model folder\u2026"), {}, [this] { home_page_->add_model_folder(); });
  file->addSeparator();
  add(file, QStringLiteral("workerCommand"), tr("&Worker command\u2026"), {}, [this] { choose_worker_command(); });
  file->addSeparator();
  add(file, QStringLiteral("quit"), tr("&Quit"), QKeySequence::Quit, [this] { close(); });

  auto* edit = menuBar()->addMenu(tr("&Edit"));
  add(edit, QStringLiteral("copyMarkdownAction"), tr("&Copy results as Markdown"), QKeySequence(tr("Ctrl+Shift+C")),
      [this] { pages_->currentIndex() == Compare ? compare_page_->copy_markdown() : results_page_->copy_markdown(); });
  add(edit, QStringLiteral("filterAction"), tr("&Filter results"), QKeySequence(tr("Ctrl+F")), [this] {
    show_page(Results);
    results_page_->focus_filter();
  });

  auto* run = menuBar()->addMenu(tr("&Run"));
  add(run, QStringLiteral("sendOrRun"), tr("&Send or enqueue"), QKeySequence(tr("Ctrl+Return")), [this] { send_or_run(); });
  add(run, QStringLiteral("stopAction"), tr("S&top the answer"), QKeySequence(tr("Esc")), [this] { chat_->stop(); });
  add(run, QStringLiteral("newChat"), tr("&New chat"), QKeySequence(tr("Ctrl+N")), [this] {
    show_page(Chat);
    chat_page_->new_chat();
  });
  add(run, QStringLiteral("regenerate"), tr("&Regenerate the answer"), QKeySequence(tr("Ctrl+R")),
      [this] { chat_page_->regenerate(); });
  run->addSeparator();
  add(run, QStringLiteral("runAgainAction"), tr("R&un the selected results again"), {},
      [this] { results_page_->run_again(); });
  add(run, QStringLiteral("compareAction"), tr("&Compare the selected runs"), QKeySequence(tr("Ctrl+D")), [this] {
    QList<qlonglong> runs;
    for (const auto& summary : results_page_->selected_runs()) runs << summary.run.id;
    if (!runs.isEmpty()) compare_page_->compare(runs);
    show_page(Compare);
  });
  add(run, QStringLiteral("baselineAction"), tr("Set the selected run as &baseline"), QKeySequence(tr("Ctrl+B")), [this] {
    const auto runs = results_page_->selected_runs();
    if (!runs.empty()) compare_page_->set_baseline(runs.front().run.id);
  });

  const QStringList page_titles{tr("&Home"), tr("&Chat"), tr("&Sweep"), tr("&Results"), tr("C&ompare")};
  auto* view = menuBar()->addMenu(tr("&View"));
  for (int i = 0; i < PageCount; ++i) {
    add(view, QStringLiteral("page%1").arg(i + 1), page_titles[i], QKeySequence(QStringLiteral("Ctrl+%1").arg(i + 1)),
        [this, i] {
          show_page(static_cast<Page>(i));
          if (i == Chat) chat_page_->focus_composer();
        });
  }
  view->addSeparator();
  for (QDockWidget* dock : {static_cast<QDockWidget*>(configuration_dock_), static_cast<QDockWidget*>(queue_dock_),
                            static_cast<QDockWidget*>(log_dock_)}) {
    view->addAction(dock->toggleViewAction());
  }
  view->addSeparator();
  add(view, QStringLiteral("resetLayout"), tr("&Reset layout"), {}, [this] { reset_layout(); });

  auto* help = menuBar()->addMenu(tr("&Help"));
  add(help, QStringLiteral("keys"), tr("&Keys and terms"), QKeySequence::HelpContents, [this] { show_keys(); });
}

void MainWindow::choose_database() {
  const QString path = QFileDialog::getOpenFileName(this, tr("Open results database"), database_->path(),
                                                    tr("Results (*.db *.sqlite);;All files (*)"));
  if (!path.isEmpty()) open_database(path, DatabaseService::Opening::Existing);
}

void MainWindow::choose_new_database() {
  const QString folder = QFileInfo(database_->path()).absolutePath();
  QString path = QFileDialog::getSaveFileName(this, tr("New results database"), folder, tr("Results (*.db *.sqlite)"),
                                              nullptr, QFileDialog::DontConfirmOverwrite);
  if (path.isEmpty()) return;
  if (QFileInfo(path).suffix().isEmpty()) path += QStringLiteral(".db");
  open_database(path, DatabaseService::Opening::New);
}

void MainWindow::choose_worker_command() {
  bool accepted = false;
  const QString line = QInputDialog::getText(
      this, tr("Worker command"), tr("Command that starts a worker, for example: ssh host krasis worker"),
      QLineEdit::Normal, services_.worker_command, &accepted);
  if (!accepted || line.trimmed().isEmpty()) return;
  services_.worker_command = line.trimmed();
  settings_->setValue(QStringLiteral("worker_command"), services_.worker_command);
  run_worker_->set_command(WorkerCommand::parse(services_.worker_command));
  chat_worker_->set_command(WorkerCommand::parse(services_.worker_command));
  if (queue_->pause() == QueueController::Pause::WorkerFailed) queue_->set_paused(false);
  probe_devices();
}

void MainWindow::show_keys() {
  QString text;
  for (const auto* action : findChildren<QAction*>()) {
    if (action->shortcut().isEmpty() || action->text().isEmpty()) continue;
    text += QStringLiteral("<tr><td><b>%1</b>&nbsp;&nbsp;</td><td>%2</td></tr>")
                .arg(action->shortcut().toString(QKeySequence::NativeText).toHtmlEscaped(),
                     QString(action->text()).remove(QLatin1Char('&')).toHtmlEscaped());
  }
  QMessageBox box(QMessageBox::NoIcon, tr("Keys and terms"),
                  tr("<table>%1</table><p><b>LGS</b>: layers whose experts are on the device together while prefilling."
                     "<br><b>HCS</b>: experts kept on the device for decode: off, on (one device), multi (every device)."
                     "<br><b>TTFT</b>: seconds from the prompt to the first token.</p>")
                      .arg(text),
                  QMessageBox::Close, this);
  box.setObjectName(QStringLiteral("keysBox"));
  box.exec();
}

}  // namespace krasis::ui

// What the main window asks about the queue: whether leftovers go on, what to do about a worker that does not start,
// and whether a run that is going may be cancelled by quitting.
#include <QCloseEvent>
#include <QMessageBox>
#include <QPushButton>

#include "ui/controllers/queue_controller.h"
#include "ui/controllers/worker_controller.h"
#include "ui/main_window.h"
#include "ui/widgets/notice_bar.h"

namespace krasis::ui {

void MainWindow::make_queue_notice() {
  queue_notice_ = new NoticeBar(QStringLiteral("queueNotice"), this);
  queue_command_ = queue_notice_->add_button(QStringLiteral("queueCommand"), tr("&Worker command\u2026"));
  queue_discard_ = queue_notice_->add_button(QStringLiteral("queueDiscard"), tr("&Discard"));
  queue_discard_->setToolTip(tr("Takes the waiting runs out of the queue"));
  queue_resume_ = queue_notice_->add_button(QStringLiteral("queueResume"), tr("&Resume"));
  connect(queue_command_, &QPushButton::clicked, this, &MainWindow::choose_worker_command);
  connect(queue_discard_, &QPushButton::clicked, queue_, &QueueController::discard);
  connect(queue_resume_, &QPushButton::clicked, queue_, [this] { queue_->set_paused(false); });
}

void MainWindow::update_queue_notice() {
  const bool failed = queue_->pause() == QueueController::Pause::WorkerFailed;
  queue_command_->setVisible(failed);
  queue_resume_->setText(failed ? tr("&Try again") : tr("&Resume"));
  queue_resume_->setAccessibleName(failed ? tr("Try again to start the worker") : tr("Resume the queue"));
  queue_discard_->setAccessibleName(tr("Discard the waiting runs"));
  queue_notice_->set_text(queue_->notice());
}

void MainWindow::ask_to_quit() {
  if (findChild<QMessageBox*>(QStringLiteral("quitBox"))) return;
  auto* box = new QMessageBox(QMessageBox::Question, tr("Quit"), tr("%1 is still going.").arg(queue_->running_text()),
                              QMessageBox::NoButton, this);
  box->setObjectName(QStringLiteral("quitBox"));
  box->setAttribute(Qt::WA_DeleteOnClose);
  box->setInformativeText(
      tr("Quitting cancels it. Its finished repetitions stay in the results, and the run is offered "
         "again at the next start."));
  auto* quit = box->addButton(tr("&Cancel the run and quit"), QMessageBox::AcceptRole);
  quit->setObjectName(QStringLiteral("quitAnyway"));
  auto* stay = box->addButton(tr("&Keep working"), QMessageBox::RejectRole);
  stay->setObjectName(QStringLiteral("keepWorking"));
  box->setDefaultButton(stay);
  box->setEscapeButton(stay);
  connect(quit, &QPushButton::clicked, this, [this] {
    may_quit_ = true;
    close();
  });
  box->open();
}

void MainWindow::closeEvent(QCloseEvent* event) {
  if (queue_->is_running() && !may_quit_) {
    event->ignore();
    return ask_to_quit();
  }
  save_state();
  queue_->shut_down();
  chat_worker_->stop();
  QMainWindow::closeEvent(event);
}

}  // namespace krasis::ui

// Whose turn it is to compute: a chat disturbs a measurement, and a measurement a chat.
#include <QLabel>
#include <QStatusBar>

#include "ui/controllers/chat_controller.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/worker_controller.h"
#include "ui/main_window.h"
#include "ui/pages/chat_page.h"

namespace krasis::ui {

void MainWindow::wire_turns() {
  measurer_label_ = new QLabel(this);
  measurer_label_->setObjectName(QStringLiteral("measurerState"));
  statusBar()->insertPermanentWidget(0, measurer_label_);
  chat_->set_gate([this] { return !queue_->is_running() && (queue_->is_paused() || queue_->is_idle()); });
  queue_->set_gate([this] { return !chat_worker_->is_busy(); });
  connect(queue_, &QueueController::changed, chat_, &ChatController::go_on);
  // The worker is still inside its own signal: the next run starts from the event loop.
  connect(chat_worker_, &WorkerController::finished, queue_, &QueueController::go_on, Qt::QueuedConnection);
  connect(chat_page_, &ChatPage::pause_queue_asked, queue_, [this] { queue_->set_paused(true); });
  connect(queue_, &QueueController::changed, this, &MainWindow::update_turns);
  update_turns();
}

void MainWindow::update_turns() {
  chat_page_->set_measuring(queue_->running_text(), queue_->is_paused());
  const QString other = queue_->measured_elsewhere();
  measurer_label_->setText(other);
  measurer_label_->setAccessibleName(other);
  measurer_label_->setVisible(!other.isEmpty());
}

}  // namespace krasis::ui

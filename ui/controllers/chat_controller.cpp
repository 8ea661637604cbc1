#include "ui/controllers/chat_controller.h"

#include "ui/format.h"

namespace krasis::ui {

ChatController::ChatController(WorkerController* worker, QObject* parent) : QObject(parent), worker_(worker) {
  batch_.setSingleShot(true);
  batch_.setInterval(kBatchMilliseconds);
  connect(&batch_, &QTimer::timeout, this, &ChatController::flush);
  connect(worker_, &WorkerController::text_streamed, this, [this](const QString& text, qint64 tokens) {
    if (!answering_) return;
    if (tokens_ == 0) first_token_.start();
    tokens_ = tokens;
    pending_ += text;
    if (!batch_.isActive()) batch_.start();
  });
  connect(worker_, &WorkerController::progressed, this, [this](const QString& stage, double, const QString& text) {
    if (answering_ && tokens_ == 0) emit state_changed(text.isEmpty() ? stage : tr("%1: %2").arg(stage, text));
  });
  connect(worker_, &WorkerController::answered, this, [this](const AnswerFigures& figures) {
    if (answering_) messages_.back().figures = figures;
  });
  connect(worker_, &WorkerController::finished, this, &ChatController::end);
}

void ChatController::send(const QString& text, const RunConfiguration& configuration, int max_tokens) {
  if (answering_ || worker_->is_busy() || text.trimmed().isEmpty()) return;
  messages_.push_back({{QStringLiteral("user"), text.trimmed()}, true, {}, {}});
  emit message_added(static_cast<int>(messages_.size()) - 1);
  ask(configuration, max_tokens);
}

void ChatController::regenerate(const RunConfiguration& configuration, int max_tokens) {
  if (answering_ || worker_->is_busy() || messages_.empty() || messages_.back().turn.role != QLatin1String("assistant")) return;
  messages_.pop_back();
  emit cleared();
  for (int i = 0; i < static_cast<int>(messages_.size()); ++i) emit message_added(i);
  ask(configuration, max_tokens);
}

void ChatController::ask(const RunConfiguration& configuration, int max_tokens) {
  QList<ChatTurn> turns;
  if (!system_prompt_.trimmed().isEmpty()) turns << ChatTurn{QStringLiteral("system"), system_prompt_.trimmed()};
  for (const auto& message : messages_) turns << message.turn;
  messages_.push_back({{QStringLiteral("assistant"), {}}, false, {}, {}});
  answering_ = true;
  tokens_ = 0;
  pending_.clear();
  configuration_ = configuration;
  turns_ = turns;
  max_tokens_ = max_tokens;
  emit message_added(static_cast<int>(messages_.size()) - 1);
  set_waiting(true);
  go_on();
  if (waiting_) emit state_changed(tr("waits for its turn"));
}

void ChatController::go_on() {
  if (!waiting_ || worker_->is_busy() || (may_compute_ && !may_compute_())) return;
  set_waiting(false);
  emit state_changed(tr("starting"));
  worker_->generate(configuration_, turns_, max_tokens_);
}

void ChatController::set_waiting(bool waiting) {
  waiting_ = waiting;
  emit waiting_changed();
}

void ChatController::flush() {
  if (!answering_) return;
  messages_.back().turn.text += std::exchange(pending_, {});
  emit message_changed(static_cast<int>(messages_.size()) - 1);
  const double seconds = static_cast<double>(first_token_.elapsed()) / 1000.0;
  if (tokens_ > 1 && seconds > 0) {
    emit state_changed(tr("%1 tok/s").arg(format_number(static_cast<double>(tokens_ - 1) / seconds, 1)));
  }
}

void ChatController::end(const results::RunOutcome& outcome) {
  if (!answering_) return;
  batch_.stop();
  flush();
  answering_ = false;
  auto& message = messages_.back();
  message.complete = true;
  if (outcome.status == results::RunStatus::Cancelled) {
    if (message.figures.stop_reason.isEmpty()) message.figures.stop_reason = tr("stopped");
  } else if (outcome.status != results::RunStatus::Done) {
    message.error = QString::fromStdString(outcome.failure.cause);
    if (!outcome.failure.remedy.empty()) message.error += QLatin1Char(' ') + QString::fromStdString(outcome.failure.remedy);
  }
  if (message.figures.prompt_tokens > 0) context_tokens_ = message.figures.prompt_tokens + message.figures.tokens;
  emit message_changed(static_cast<int>(messages_.size()) - 1);
  emit state_changed({});
}

void ChatController::stop() {
  if (waiting_) {
    set_waiting(false);
    end({results::RunStatus::Cancelled, {}, {}});
  } else if (answering_) {
    worker_->cancel();
  }
}

void ChatController::clear() {
  if (answering_) return;
  messages_.clear();
  context_tokens_ = 0;
  emit cleared();
  emit state_changed({});
}

}  // namespace krasis::ui

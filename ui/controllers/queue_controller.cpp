#include "ui/controllers/queue_controller.h"

#include <QDir>
#include <QFileInfo>
#include <algorithm>

#include "engine/config/configuration_io.h"
#include "ui/controllers/database_service.h"
#include "ui/format.h"
#include "ui/models/results_model.h"

namespace krasis::ui {

using results::RunStatus;

QueueController::QueueController(DatabaseService* database, WorkerController* worker, QueueModel* model, LogModel* log,
                                 QObject* parent)
    : QObject(parent), database_(database), worker_(worker), model_(model), log_(log) {
  connect(database_, &DatabaseService::opened, this, &QueueController::reload);
  connect(worker_, &WorkerController::progressed, this, &QueueController::on_progress);
  connect(worker_, &WorkerController::repetition_measured, this, &QueueController::on_repetition);
  connect(worker_, &WorkerController::logged, this, &QueueController::on_log);
  connect(worker_, &WorkerController::finished, this, &QueueController::on_finished);
  connect(worker_, &WorkerController::environment_reported, this, [this](const results::EnvironmentRecord& environment) {
    if (current_ != 0) report(database_->database().set_environment(current_, environment));
  });
  connect(worker_, &WorkerController::plan_reported, this, [this](const QByteArray& json) {
    if (current_ != 0) report(database_->database().set_plan(current_, json.toStdString()));
  });
  connect(worker_, &WorkerController::telemetry_reported, this, [this](const QByteArray& json) {
    if (current_ != 0) report(database_->database().set_telemetry(current_, json.toStdString()));
  });
  connect(worker_, &WorkerController::model_reported, this, [this](const results::ModelRecord& loaded) {
    if (current_ != 0) report(database_->database().set_model(current_, loaded));
  });
  connect(worker_, &WorkerController::facts_reported, this, [this](qint64 threads, const QString& prompt) {
    if (current_ == 0) return;
    const auto run = database_->database().run(current_);
    if (!run) return;
    auto known = run->parameters;
    if (threads > 0) known.threads = threads;
    if (!prompt.isEmpty()) known.prompt_fingerprint = prompt.toStdString();
    report(database_->database().set_parameters(current_, known));
  });
  if (database_->is_open()) reload();
}

QString QueueController::title_of(const results::RunRecord& run) {
  return QString::fromStdString(run.model.name) + QStringLiteral(", ") + configuration_label(run.parameters);
}

void QueueController::report(const Expected<void>& result) {
  if (!result) emit message(format_error(result.error()));
}

void QueueController::reload() {
  if (database_->writable()) {
    if (const auto interrupted = database_->database().mark_interrupted(); interrupted && !interrupted->empty()) {
      emit message(tr("%n run(s) of an earlier session had been interrupted; they are marked as crashed.", nullptr,
                      static_cast<int>(interrupted->size())));
    }
  }
  const auto queued = database_->database().queued_runs();
  if (!queued) return report(tl::unexpected(queued.error()));
  for (const auto& run : *queued) model_->put({run.id, title_of(run)});
  if (!queued->empty()) {  // left over: the user decides when they go on
    paused_ = true;
    total_ += static_cast<int>(queued->size());
    emit message(tr("%n run(s) wait in the queue from an earlier session. Press Resume to go on.", nullptr,
                    static_cast<int>(queued->size())));
  }
  emit changed();
}

Expected<void> QueueController::enqueue(const std::vector<results::NewRun>& runs) {
  if (!database_->writable()) {
    return fail(ErrorCode::Unsupported, "The results database cannot be written.",
                database_->read_only_reason().toStdString());
  }
  KRASIS_TRY(const auto ids, database_->database().enqueue(runs));
  if (!is_running() && done_ >= total_) {
    done_ = total_ = 0;
    finished_run_s_ = 0;
    finished_runs_ = 0;
  }
  total_ += static_cast<int>(ids.size());
  for (const auto id : ids) {
    if (const auto run = database_->database().run(id)) model_->put({run->id, title_of(*run)});
  }
  database_->announce_change();
  emit changed();
  start_next();
  return {};
}

void QueueController::start_next() {
  if (paused_ || is_running() || worker_->is_busy() || !database_->writable()) return;
  auto claimed = database_->database().claim_next();
  if (!claimed) return report(tl::unexpected(claimed.error()));
  if (!*claimed) return emit changed();
  const auto& run = **claimed;
  current_ = run.id;
  run_clock_.start();
  model_->put({run.id, title_of(run), RunStatus::Running, 0, tr("starting")});
  emit changed();
  const auto configuration = configuration_from_json(run.configuration_json);
  if (!configuration) {
    results::RunOutcome outcome{RunStatus::Failed, {}, {configuration.error().cause, configuration.error().remedy, "start", 0}};
    return on_finished(outcome);
  }
  const QString name = QString::fromStdString(run.short_id()) + QStringLiteral(".trace.json");
  worker_->benchmark(*configuration, writes_traces_ ? QDir(trace_folder()).filePath(name) : QString());
}

void QueueController::on_progress(const QString& stage, double fraction, const QString& text, double left_s) {
  const auto* old = model_->row(current_);
  if (!old) return;
  QueueRow row = *old;
  row.stage = text.isEmpty() ? stage : tr("%1: %2").arg(stage, text);
  if (fraction >= 0) {
    row.progress = fraction;
    const double elapsed = static_cast<double>(run_clock_.elapsed()) / 1000.0;
    row.eta_s = left_s >= 0 ? left_s : fraction > 0.05 ? elapsed * (1 - fraction) / fraction : -1;
  }
  model_->put(row);
  emit changed();
}

void QueueController::on_repetition(const results::Repetition& repetition) {
  if (current_ == 0) return;
  report(database_->database().append_repetition(current_, repetition));
  database_->announce_change();
}

void QueueController::on_log(const results::LogLine& line) {
  log_->append(line);
  if (current_ != 0 && database_->writable()) report(database_->database().append_log(current_, {&line, 1}));
}

void QueueController::on_finished(const results::RunOutcome& outcome) {
  if (current_ == 0) return;
  const auto id = std::exchange(current_, 0);
  report(database_->database().finish(id, outcome));
  QueueRow row = model_->row(id) ? *model_->row(id) : QueueRow{id};
  row.status = outcome.status;
  row.progress = outcome.status == RunStatus::Done ? 1 : row.progress;
  row.stage = outcome.status == RunStatus::Done ? verdict_text(outcome.verdict.verdict) : QString();
  if (!outcome.failure.cause.empty()) {
    QStringList lines{QString::fromStdString(outcome.failure.cause)};
    if (!outcome.failure.remedy.empty()) lines << QString::fromStdString(outcome.failure.remedy);
    if (!outcome.failure.stage.empty()) lines << tr("Stage: %1").arg(QString::fromStdString(outcome.failure.stage));
    if (outcome.failure.signal != 0) lines << tr("Signal: %1").arg(outcome.failure.signal);
    row.failure = lines.join(QLatin1Char('\n'));
  }
  model_->put(row);
  ++done_;
  if (outcome.status == RunStatus::Done) {
    finished_run_s_ += static_cast<double>(run_clock_.elapsed()) / 1000.0;
    ++finished_runs_;
  }
  database_->announce_change();
  emit changed();
  // The worker is still inside its own signal: the next run starts from the event loop.
  QMetaObject::invokeMethod(this, &QueueController::start_next, Qt::QueuedConnection);
}

double QueueController::eta_s() const {
  const int waiting = total_ - done_ - (is_running() ? 1 : 0);
  const auto* row = model_->row(current_);
  const double running = is_running() && row ? row->eta_s : 0;
  if (finished_runs_ == 0) return waiting == 0 ? running : -1;
  const double average = finished_run_s_ / finished_runs_;
  return waiting * average + (running >= 0 ? running : average);
}

void QueueController::set_paused(bool paused) {
  paused_ = paused;
  emit changed();
  if (!paused_) start_next();
}

QString QueueController::trace_folder() const {
  return database_->is_open() ? QFileInfo(database_->path()).dir().filePath(QStringLiteral("traces")) : QString();
}

void QueueController::set_writes_traces(bool on) {
  writes_traces_ = on;
  emit changed();
}

void QueueController::cancel(qlonglong run) {
  if (run == current_ && current_ != 0) return worker_->cancel();
  const auto* row = model_->row(run);
  if (!row || row->status != RunStatus::Queued) return;
  const auto removed = database_->database().remove_queued(run);
  report(removed);
  if (!removed) return;
  model_->remove(run);
  --total_;
  database_->announce_change();
  emit changed();
}

void QueueController::cancel_all() {
  std::vector<results::RunId> waiting;
  for (const auto& row : model_->rows()) {
    if (row.status == RunStatus::Queued) waiting.push_back(row.id);
  }
  for (const auto id : waiting) cancel(id);
  if (is_running()) worker_->cancel();
}

void QueueController::retry(qlonglong run) {
  const auto id = database_->database().requeue(run);
  if (!id) return report(tl::unexpected(id.error()));
  const auto* old = model_->row(run);
  const QString title = old ? old->title : QString();
  model_->remove(run);
  model_->put({*id, title});
  ++total_;
  database_->announce_change();
  emit changed();
  start_next();
}

void QueueController::retry_failed() {
  std::vector<results::RunId> bad;
  for (const auto& row : model_->rows()) {
    if (results::is_final(row.status) && row.status != RunStatus::Done) bad.push_back(row.id);
  }
  for (const auto id : bad) retry(id);
}

}  // namespace krasis::ui

#include "ui/controllers/queue_controller.h"

#include <QDir>
#include <QFileInfo>
#include <algorithm>
#include <set>

#include "engine/config/configuration_io.h"
#include "ui/controllers/database_service.h"
#include "ui/format.h"
#include "ui/models/results_model.h"
#include "ui/models/run_report.h"

namespace krasis::ui {

using results::RunStatus;

namespace {

constexpr int kReportLines = 40;

}  // namespace

QueueController::QueueController(DatabaseService* database, WorkerController* worker, QueueModel* model, LogModel* log,
                                 QObject* parent)
    : QObject(parent),
      database_(database),
      right_(new MeasuringRight(database, this)),
      worker_(worker),
      model_(model) {
  connect(worker_, &WorkerController::logged, log, &LogModel::append);
  connect(right_, &MeasuringRight::other_changed, this, &QueueController::on_others);
  connect(database_, &DatabaseService::opened, this, &QueueController::reload);
  connect(database_, &DatabaseService::changed, this, &QueueController::synchronize);
  connect(worker_, &WorkerController::heard, this, &QueueController::on_heard);
  connect(worker_, &WorkerController::progressed, this, &QueueController::on_progress);
  connect(worker_, &WorkerController::finished, this, &QueueController::on_finished);
  if (database_->is_open()) reload();
}

QString QueueController::title_of(const results::RunRecord& run) {
  return QString::fromStdString(run.model.name) + QStringLiteral(", ") + configuration_label(run.parameters);
}

QueueRow QueueController::row_of(const results::RunRecord& run) {
  QueueRow row{run.id, title_of(run)};
  row.uuid = run.uuid;
  return row;
}

void QueueController::report(const Expected<void>& result) {
  if (!result) emit message(format_error(result.error()));
}

void QueueController::forget_counts() {
  done_ = 0;
  finished_run_s_ = 0;
  finished_runs_ = 0;
}

int QueueController::waiting() const {
  const auto& rows = model_->rows();
  const auto waits = [](const QueueRow& row) { return row.status == RunStatus::Queued; };
  return static_cast<int>(std::count_if(rows.begin(), rows.end(), waits));
}

int QueueController::total() const {
  return done_ + waiting() + (is_running() ? 1 : 0);
}

void QueueController::reload() {
  model_->clear();
  recorder_.leave();
  forget_counts();
  notice_.clear();
  if (pause_ != Pause::ByUser) pause_ = Pause::None;
  std::size_t interrupted = 0;
  if (database_->writable()) {
    const auto copies = database_->database().requeue_interrupted();
    if (!copies) report(tl::unexpected(copies.error()));
    interrupted = copies ? copies->size() : 0;
  }
  const auto queued = database_->database().queued_runs();
  if (!queued) return report(tl::unexpected(queued.error()));
  for (const auto& run : *queued) model_->put(row_of(run));
  if (!queued->empty()) {
    pause_ = Pause::LeftOver;
    notice_ = counted(static_cast<qint64>(queued->size()), tr("One run waits in the queue from an earlier session."),
                      tr("%1 runs wait in the queue from an earlier session."));
    if (interrupted > 0) {
      notice_ += QLatin1Char(' ');
      notice_ += counted(static_cast<qint64>(interrupted),
                         tr("One of them had been interrupted; its finished repetitions are in Results."),
                         tr("%1 of them had been interrupted; their finished repetitions are in Results."));
    }
  }
  emit changed();
}

/// Brings the rows in line with the database, which other programs change, too.
void QueueController::synchronize() {
  if (!database_->is_open()) return;
  const auto queued = database_->database().queued_runs();
  if (!queued) return;  // the next change asks again
  std::set<std::string> waits;
  for (const auto& run : *queued) waits.insert(run.uuid);
  std::vector<results::RunId> gone;
  for (const auto& row : model_->rows()) {
    if (row.status == RunStatus::Queued && !waits.contains(row.uuid)) gone.push_back(row.id);
  }
  for (const auto id : gone) model_->remove(id);
  bool added = false;
  for (const auto& run : *queued) {
    if (model_->row(run.id)) continue;
    model_->put(row_of(run));
    added = true;
  }
  if (queued->empty() && (pause_ == Pause::LeftOver || pause_ == Pause::OthersMeasure)) set_paused(false);
  if (added || !gone.empty()) emit changed();
}

Expected<void> QueueController::enqueue(const std::vector<results::NewRun>& runs) {
  if (!database_->writable()) {
    return fail(ErrorCode::Unsupported, "The results database cannot be written.",
                database_->read_only_reason().toStdString());
  }
  if (!is_running() && waiting() == 0) forget_counts();
  KRASIS_TRY(const auto ids, database_->database().enqueue(runs));
  for (const auto id : ids) {
    if (const auto run = database_->database().run(id)) model_->put(row_of(*run));
  }
  database_->announce_change();
  emit changed();
  start_next();
  return {};
}

void QueueController::start_next() {
  if (is_running() || worker_->is_busy()) return;
  const bool rests = is_paused() || !database_->writable() || waiting() == 0;
  if (rests) {
    right_->give_back();
    return emit changed();
  }
  if (may_measure_ && !may_measure_()) {
    right_->give_back();
    emit message(tr("The queue goes on when the chat has answered."));
    return emit changed();
  }
  if (!take_right()) return emit changed();
  if (!worker_->is_ready()) {  // first: a run that is taken would be lost on a worker that does not start
    starting_ = true;
    worker_->start();
    return emit changed();
  }
  const auto claimed = database_->database().claim_next();
  if (!claimed) return report(tl::unexpected(claimed.error()));
  if (!*claimed) return synchronize();  // another program was quicker
  measure(**claimed);
  emit changed();
}

bool QueueController::take_right() {
  const auto right = right_->take();
  if (right) return true;
  if (right.error().code != ErrorCode::Conflict) {
    report(right);
    return false;
  }
  pause_ = Pause::OthersMeasure;
  notice_ =
      QString::fromStdString(right.error().cause) + QLatin1Char('\n') +
      tr("The runs wait in the queue. Resume when it has finished: two measurements at once would disturb each other.");
  return false;
}

void QueueController::on_others() {
  if (pause_ == Pause::OthersMeasure && right_->other().isEmpty()) {
    notice_ = tr("Nobody else measures any more. Resume to measure the runs that wait.");
  }
  emit changed();
}

void QueueController::measure(const results::RunRecord& run) {
  report(recorder_.begin(database_->database(), run));
  user_cancelled_ = false;
  run_clock_.start();
  QueueRow row = row_of(run);
  row.status = RunStatus::Running;
  row.stage = tr("starting");
  model_->put(row);
  database_->announce_change();
  const auto configuration = configuration_from_json(run.configuration_json);
  if (!configuration) {
    const auto& error = configuration.error();
    return on_finished({RunStatus::Failed, {}, {error.cause, error.remedy, "start", 0}});
  }
  const QString name = QString::fromStdString(run.short_id()) + QStringLiteral(".trace.json");
  worker_->benchmark(*configuration, writes_traces_ ? QDir(trace_folder()).filePath(name) : QString());
}

void QueueController::on_progress(const QString& stage, double fraction, const QString& text, double left_s) {
  const auto* old = model_->row(recorder_.run());
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

void QueueController::on_heard(const protocol::Event& event) {
  report(recorder_.hear(event));
  if (is_running() && std::holds_alternative<protocol::Sample>(event)) database_->announce_change();
}

void QueueController::on_started(const results::RunOutcome& outcome) {
  starting_ = false;
  if (results::is_failure(outcome.status)) {
    pause_ = Pause::WorkerFailed;
    notice_ = tr("The queue has stopped, its runs keep waiting: the worker does not start.") + QLatin1Char('\n') +
              QString::fromStdString(outcome.failure.cause) + QLatin1Char('\n') +
              tr("Worker command: %1").arg(worker_->command().line()) + QLatin1Char('\n') +
              QString::fromStdString(outcome.failure.remedy);
  }
  emit changed();
  QMetaObject::invokeMethod(this, &QueueController::start_next, Qt::QueuedConnection);
}

void QueueController::on_finished(const results::RunOutcome& outcome) {
  if (starting_) return on_started(outcome);
  if (!is_running()) return;
  const auto id = recorder_.run();
  store_outcome(outcome);
  QueueRow row = model_->row(id) ? *model_->row(id) : QueueRow{id};
  row.status = outcome.status;
  row.progress = outcome.status == RunStatus::Done ? 1 : row.progress;
  row.stage = outcome.status == RunStatus::Done ? verdict_text(outcome.verdict.verdict) : QString();
  row.failure = failure_text(outcome.failure);
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

void QueueController::store_outcome(results::RunOutcome outcome) {
  const bool interrupted = shutting_down_ && !user_cancelled_ && outcome.status == RunStatus::Cancelled;
  if (interrupted) {
    outcome.failure = {"The window was closed while the run was going.", "A copy of it waits in the queue.", {}, 0};
    if (const auto copy = database_->database().requeue(recorder_.run(), results::QueuePlace::Next); !copy) {
      report(tl::unexpected(copy.error()));
    }
  }
  report(recorder_.finish(outcome));
}

double QueueController::eta_s() const {
  const auto* row = model_->row(recorder_.run());
  const double running = is_running() && row ? row->eta_s : 0;
  if (finished_runs_ == 0) return waiting() == 0 ? running : -1;
  const double average = finished_run_s_ / finished_runs_;
  return waiting() * average + (running >= 0 ? running : average);
}

QString QueueController::running_text() const {
  const auto* row = model_->row(recorder_.run());
  if (!row) return {};
  const QString run = tr("Run %1 (%2)").arg(QString::fromStdString(row->uuid.substr(0, 8)), row->title);
  return row->stage.isEmpty() ? run : tr("%1, at %2,").arg(run, row->stage);
}

QString QueueController::report_of(qlonglong id) {
  const auto run = database_->database().run(id);
  if (!run) return format_error(run.error());
  return run_report(*run, database_->database().log(id, kReportLines).value_or(std::vector<results::LogLine>{}));
}

void QueueController::shut_down() {
  shutting_down_ = true;
  pause_ = Pause::ByUser;
  worker_->stop();
}

void QueueController::set_paused(bool paused) {
  pause_ = paused ? Pause::ByUser : Pause::None;
  notice_.clear();
  emit changed();
  start_next();
}

QString QueueController::trace_folder() const {
  return database_->is_open() ? QFileInfo(database_->path()).dir().filePath(QStringLiteral("traces")) : QString();
}

void QueueController::set_writes_traces(bool on) {
  writes_traces_ = on;
  emit changed();
}

/// Every file counts its ids from 1: only the uuid says that the open one means the run of this row.
bool QueueController::is_same_run(const QueueRow& row) {
  const auto run = database_->database().run(row.id);
  return run && run->uuid == row.uuid;
}

void QueueController::cancel(qlonglong run) {
  if (is_running() && run == recorder_.run()) {
    user_cancelled_ = true;
    return worker_->cancel();
  }
  const auto* row = model_->row(run);
  if (!row || row->status != RunStatus::Queued) return;
  if (!is_same_run(*row)) return synchronize();
  const auto removed = database_->database().remove_queued(run);
  if (!removed) return synchronize();  // another program was quicker
  model_->remove(run);
  database_->announce_change();
  emit changed();
}

void QueueController::discard() {
  std::vector<results::RunId> queued;
  for (const auto& row : model_->rows()) {
    if (row.status == RunStatus::Queued) queued.push_back(row.id);
  }
  for (const auto id : queued) cancel(id);
  if (waiting() == 0 && pause_ != Pause::ByUser) set_paused(false);
}

void QueueController::cancel_all() {
  discard();
  if (is_running()) cancel(recorder_.run());
  if (starting_) worker_->cancel();
}

void QueueController::retry(qlonglong run) {
  const auto* row = model_->row(run);
  if (row && !is_same_run(*row)) return synchronize();
  if (!is_running() && waiting() == 0 && !row) forget_counts();
  const auto id = database_->database().requeue(run);
  if (!id) return report(tl::unexpected(id.error()));
  model_->remove(run);
  if (const auto copy = database_->database().run(*id)) model_->put(row_of(*copy));
  database_->announce_change();
  emit changed();
  start_next();
}

void QueueController::retry_failed() {
  std::vector<results::RunId> bad;
  for (const auto& row : model_->rows()) {
    if (results::is_failure(row.status)) bad.push_back(row.id);
  }
  for (const auto id : bad) retry(id);
}

}  // namespace krasis::ui

#include "ui/controllers/worker_controller.h"

#include <QDateTime>
#include <csignal>

#include "results_db/from_worker.h"
#include "ui/format.h"
#include "ui/models/stage_progress.h"

namespace krasis::ui {
namespace {

constexpr int kCancelTimeoutMs = 5000;
constexpr int kRecentLines = 12;
constexpr int kStartFactor = 4;  ///< a process behind ssh or a scheduler may take this much longer to speak

}  // namespace

WorkerCommand WorkerCommand::parse(const QString& line) {
  QStringList parts = QProcess::splitCommand(line);
  if (parts.isEmpty()) return {};
  const QString program = parts.takeFirst();
  return {program, parts};
}

QString WorkerCommand::line() const {
  QStringList parts{program};
  parts << arguments;
  for (QString& part : parts) {
    if (part.contains(QLatin1Char(' '))) part = QLatin1Char('"') + part + QLatin1Char('"');
  }
  return parts.join(QLatin1Char(' '));
}

WorkerController::WorkerController(WorkerCommand command, QObject* parent) : QObject(parent), command_(std::move(command)) {
  stall_.setSingleShot(true);
  kill_.setSingleShot(true);
  connect(&stall_, &QTimer::timeout, this, &WorkerController::handle_stall);
  connect(&kill_, &QTimer::timeout, this, [this] {
    if (process_) process_->kill();
  });
}

WorkerController::~WorkerController() { stop_process(); }

void WorkerController::set_command(WorkerCommand command) {
  command_ = std::move(command);
  if (!is_busy()) stop();
}

void WorkerController::benchmark(const RunConfiguration& configuration, const QString& trace_file) {
  trace_file_ = trace_file;
  begin(Request::Benchmark, configuration);
}

void WorkerController::generate(const RunConfiguration& configuration, const QList<ChatTurn>& turns, int max_tokens) {
  turns_ = turns;
  max_tokens_ = max_tokens;
  begin(Request::Generate, configuration);
}

void WorkerController::begin(Request request, const RunConfiguration& configuration) {
  if (is_busy()) return;
  request_ = request;
  configuration_ = configuration;
  id_ = std::to_string(++requests_);
  cancelling_ = false;
  recent_.clear();
  stage_ = tr("start");
  if (!process_) return start_process();
  if (ready_) send_request();
}

void WorkerController::start_process() {
  ready_ = false;
  lines_ = {};
  errors_ = {};
  process_ = new QProcess(this);
  connect(process_, &QProcess::readyReadStandardOutput, this, &WorkerController::read_output);
  connect(process_, &QProcess::readyReadStandardError, this, &WorkerController::read_errors);
  connect(process_, &QProcess::finished, this, &WorkerController::handle_exit);
  connect(process_, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error != QProcess::FailedToStart) return;  // everything else also ends in finished()
    process_->deleteLater();
    process_ = nullptr;
    set_state(State::Stopped);
    crash(tr("The worker could not be started: %1.").arg(command_.line()),
          tr("Check the worker command in the File menu."), 0);
  });
  set_state(State::Starting);
  stall_.start(stall_timeout_ms_ * kStartFactor);
  process_->start(command_.program, command_.arguments);
}

void WorkerController::stop_process() {
  stall_.stop();
  kill_.stop();
  if (!process_) return;
  QProcess* process = std::exchange(process_, nullptr);
  process->disconnect(this);
  process->setParent(nullptr);
  process->write(protocol::encode(protocol::Request{protocol::Shutdown{}}).c_str());
  process->write("\n");
  process->closeWriteChannel();
  if (!process->waitForFinished(1000)) {
    process->kill();
    process->waitForFinished(1000);
  }
  delete process;
}

void WorkerController::write(const protocol::Request& request) {
  if (!process_) return;
  process_->write(QByteArray::fromStdString(protocol::encode(request)) + '\n');
}

void WorkerController::send_request() {
  if (cancelling_) return finish({results::RunStatus::Cancelled, {}, {}});
  set_state(State::Loading);
  stall_.start(stall_timeout_ms_);
  // What the process said about its machine when it started holds for every run.
  if (environment_) emit environment_reported(*environment_);
  if (request_ == Request::Benchmark) return write(protocol::Benchmark{id_, configuration_, trace_file_.toStdString()});
  protocol::Generate generate{id_, configuration_, {}, {}, max_tokens_};
  for (const auto& turn : turns_) generate.messages.push_back({turn.role.toStdString(), turn.text.toStdString()});
  write(generate);
}

void WorkerController::cancel() {
  if (!is_busy() || cancelling_) return;
  cancelling_ = true;
  if (ready_) write(protocol::Cancel{id_});
  kill_.start(kCancelTimeoutMs);
}

void WorkerController::stop() {
  stop_process();
  ready_ = false;
  environment_.reset();
  set_state(State::Stopped);
  if (is_busy()) finish({results::RunStatus::Cancelled, {}, {}});
}

void WorkerController::read_output() {
  const QByteArray bytes = process_->readAllStandardOutput();
  if (stall_.isActive() && !bytes.isEmpty()) stall_.start(stall_timeout_ms_);
  for (const auto& line : lines_.append({bytes.constData(), static_cast<std::size_t>(bytes.size())})) {
    if (!process_) return;  // an earlier line ended it
    if (line) {
      handle_line(*line);
    } else {
      crash(tr("The worker sent a message that is too long."), QString::fromStdString(line.error().remedy), 0);
    }
  }
}

void WorkerController::read_errors() {
  const QByteArray bytes = process_->readAllStandardError();
  for (const auto& line : errors_.append({bytes.constData(), static_cast<std::size_t>(bytes.size())})) {
    if (!line || line->empty()) continue;
    remember(QString::fromStdString(*line));
    log("warning", QString::fromStdString(*line));
  }
}

void WorkerController::handle_line(const std::string& line) {
  if (line.empty()) return;
  const auto event = protocol::decode_event(line);
  if (!event) {
    const QString text = QString::fromStdString(line).left(300);
    remember(text);
    if (!ready_ && event.error().code == ErrorCode::Corrupt) return log("warning", text);  // a login banner, say
    return crash(tr("The worker sent something that is no message: %1").arg(format_error(event.error())),
                 tr("Check that the worker is of the same version as this program."), 0);
  }
  std::visit([this](const auto& e) { handle(e); }, *event);
}

bool WorkerController::is_ours(const std::string& id) const { return is_busy() && id == id_; }

void WorkerController::handle(const protocol::Ready& event) {
  if (ready_) return;
  ready_ = true;
  handle(protocol::Environment{event.machine});
  if (is_busy()) {
    send_request();
  } else {
    set_state(State::Idle);
  }
}

void WorkerController::handle(const protocol::Environment& event) {
  environment_ = results::environment_of(event.machine);
  if (is_busy() && state_ != State::Starting) emit environment_reported(*environment_);
}

void WorkerController::handle(const protocol::Loading& event) {
  if (!is_ours(event.id)) return;
  set_state(State::Loading);
  set_stage(tr("load"), request_ == Request::Generate ? event.done : 0, QString::fromStdString(event.stage));
}

void WorkerController::handle(const protocol::Loaded& event) {
  if (!is_ours(event.id)) return;
  set_state(State::Busy);
  for (const auto& note : event.notes) log("info", QString::fromStdString(note));
  emit model_reported(results::model_of(event.model));
  emit facts_reported(event.threads, QString::fromStdString(event.prompt_fingerprint));
  emit plan_reported(QByteArray::fromStdString(event.plan_json));
  set_stage(tr("load"), 0, tr("done"));
}

void WorkerController::handle(const protocol::Stage& event) {
  if (!is_ours(event.id)) return;
  set_state(State::Busy);
  const StageProgress progress = progress_of(event, configuration_);
  set_stage(QString::fromStdString(event.stage), progress.share, progress.text, progress.left_s);
}

void WorkerController::handle(const protocol::Sample& event) {
  if (!is_ours(event.id)) return;
  emit repetition_measured(results::repetition_of(event));
}

void WorkerController::handle(const protocol::Token& event) {
  if (!is_ours(event.id)) return;
  set_state(State::Busy);
  stage_ = tr("generate");
  emit text_streamed(QString::fromStdString(event.text), event.index + 1);
}

void WorkerController::handle(const protocol::Finished& event) {
  if (!is_ours(event.id)) return;
  if (event.plan_json != "{}") emit plan_reported(QByteArray::fromStdString(event.plan_json));
  if (event.telemetry_json != "{}") emit telemetry_reported(QByteArray::fromStdString(event.telemetry_json));
  if (request_ == Request::Generate) {
    AnswerFigures figures;
    figures.prompt_tokens = event.prompt_tokens;
    figures.tokens = event.tokens;
    figures.ttft_s = event.ttft_s;
    if (event.prefill_s > 0) figures.prefill_tokens_per_second = static_cast<double>(event.prompt_tokens) / event.prefill_s;
    // The first token belongs to prefill.
    if (event.decode_s > 0) figures.decode_tokens_per_second = static_cast<double>(event.tokens - 1) / event.decode_s;
    figures.stop_reason = QString::fromStdString(event.stop_reason);
    emit answered(figures);
  }
  results::RunOutcome outcome;
  outcome.status = event.cancelled ? results::RunStatus::Cancelled : results::RunStatus::Done;
  outcome.verdict = results::verdict_of(event.verdict);
  if (!event.verdict.explanation.empty()) log("info", QString::fromStdString(event.verdict.explanation));
  set_state(State::Idle);
  finish(outcome);
}

void WorkerController::handle(const protocol::Log& event) {
  remember(QString::fromStdString(event.text));
  emit logged({QDateTime::currentDateTimeUtc().toString(Qt::ISODateWithMs).toStdString(), event.level, event.stage, event.text});
}

void WorkerController::handle(const protocol::Heartbeat& event) {
  if (!event.stage.empty() && stage_.isEmpty()) stage_ = QString::fromStdString(event.stage);
}

void WorkerController::handle(const protocol::Failed& event) {
  if (!event.id.empty() && !is_ours(event.id)) return;
  const auto code = protocol::error_code(event.code);
  results::RunOutcome outcome;
  outcome.status = code == ErrorCode::OutOfMemory ? results::RunStatus::OutOfMemory
                   : code == ErrorCode::Cancelled ? results::RunStatus::Cancelled
                                                  : results::RunStatus::Failed;
  outcome.failure = {event.cause, event.remedy, event.stage, 0};
  log("error", QString::fromStdString(event.cause));
  if (!is_busy()) return;
  set_state(State::Idle);
  finish(outcome);
}

void WorkerController::handle_exit(int code, QProcess::ExitStatus status) {
  read_output();  // what it still said before it died
  if (!process_) return;
  read_errors();
  process_->deleteLater();
  process_ = nullptr;
  ready_ = false;
  stall_.stop();
  environment_.reset();
  set_state(State::Stopped);
  if (!is_busy()) return;
  if (cancelling_) return finish({results::RunStatus::Cancelled, {}, {}});
  // A shell or ssh in between reports a signal as 128 + its number.
  const int signal = status == QProcess::CrashExit ? code : code > 128 && code < 128 + 65 ? code - 128 : 0;
  const QString remedy = signal == SIGKILL
                             ? tr("The system may have run out of memory: choose a smaller context, fewer bits or a smaller LGS.")
                             : tr("Retry the run; if it happens again, copy the report.");
  const QString cause = signal != 0 ? tr("The worker died of signal %1.").arg(signal)
                                    : tr("The worker ended with code %1 before the run did.").arg(code);
  crash(cause, remedy, signal);
}

void WorkerController::handle_stall() {
  if (!is_busy()) return;
  crash(tr("The worker has been silent for %1.").arg(format_duration(stall_.interval() / 1000.0)),
        tr("It was ended. Retry the run; if it happens again, copy the report."), 0);
}

void WorkerController::crash(const QString& cause, const QString& remedy, int signal) {
  if (process_) {
    process_->disconnect(this);
    process_->kill();
    connect(process_, &QProcess::finished, process_, &QObject::deleteLater);
    process_ = nullptr;
    ready_ = false;
    environment_.reset();
    stall_.stop();
    set_state(State::Stopped);
  }
  if (!is_busy()) return;
  results::RunOutcome outcome;
  outcome.status = results::RunStatus::Crashed;
  QString whole = cause;
  if (!recent_.isEmpty()) whole += tr(" Its last lines: %1").arg(recent_.join(QStringLiteral(" | ")));
  outcome.failure = {whole.toStdString(), remedy.toStdString(), stage_.toStdString(), signal};
  log("error", cause);
  finish(outcome);
}

void WorkerController::finish(const results::RunOutcome& outcome) {
  request_ = Request::None;
  cancelling_ = false;
  stall_.stop();
  kill_.stop();
  emit finished(outcome);
}

void WorkerController::set_state(State state) {
  if (state_ == state) return;
  state_ = state;
  emit state_changed(state);
}

void WorkerController::set_stage(const QString& stage, double fraction, const QString& text, double left_s) {
  stage_ = stage;
  emit progressed(stage, fraction, text, left_s);
}

void WorkerController::remember(const QString& line) {
  recent_ << line;
  while (recent_.size() > kRecentLines) recent_.removeFirst();
}

void WorkerController::log(const std::string& level, const QString& text) {
  emit logged({QDateTime::currentDateTimeUtc().toString(Qt::ISODateWithMs).toStdString(), level, stage_.toStdString(),
               text.toStdString()});
}

}  // namespace krasis::ui

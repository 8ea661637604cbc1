#include "ui/controllers/worker_controller.h"

#include <QDateTime>
#include <chrono>

#include "results_db/from_worker.h"
#include "ui/format.h"
#include "ui/models/stage_progress.h"

namespace krasis::ui {
namespace {

constexpr int kTickMs = 250;

RequestWatch::Time now() {
  return std::chrono::steady_clock::now();
}

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
  tick_.setInterval(kTickMs);
  connect(&tick_, &QTimer::timeout, this, &WorkerController::tick);
}

WorkerController::~WorkerController() { stop_process(); }

void WorkerController::set_command(WorkerCommand command) {
  command_ = std::move(command);
  if (!is_busy()) stop();
}

void WorkerController::start() {
  begin(Request::Start, configuration_);
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
  watch_.emplace(id_, ready_, now(), patience_);
  tick_.start();
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
    const QString cause =
        QStringLiteral("The worker could not be started: %1 (%2).").arg(command_.line(), process_->errorString());
    drop_process();
    if (watch_) conclude(watch_->never_started({ErrorCode::NotFound, cause.toStdString(), {}}));
  });
  set_state(State::Starting);
  process_->start(command_.program, command_.arguments);
}

void WorkerController::stop_process() {
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
  if (watch_->is_cancelling()) {
    set_state(State::Idle);
    return finish({results::RunStatus::Cancelled, {}, {}});
  }
  if (request_ == Request::Start) {
    set_state(State::Idle);
    return finish({});
  }
  set_state(State::Loading);
  if (request_ == Request::Benchmark) return write(protocol::Benchmark{id_, configuration_, trace_file_.toStdString()});
  protocol::Generate generate{id_, configuration_, {}, {}, max_tokens_};
  for (const auto& turn : turns_) generate.messages.push_back({turn.role.toStdString(), turn.text.toStdString()});
  write(generate);
}

void WorkerController::cancel() {
  if (!is_busy() || watch_->is_cancelling()) return;
  watch_->cancel();
  if (ready_) write(protocol::Cancel{id_});
}

void WorkerController::stop() {
  stop_process();
  ready_ = false;
  set_state(State::Stopped);
  if (is_busy()) finish({results::RunStatus::Cancelled, {}, {}});
}

void WorkerController::read_output() {
  const QByteArray bytes = process_->readAllStandardOutput();
  if (watch_ && !bytes.isEmpty()) watch_->hear_bytes();
  for (const auto& line : lines_.append({bytes.constData(), static_cast<std::size_t>(bytes.size())})) {
    if (!process_) return;  // an earlier line ended it
    if (line) {
      handle_line(*line);
    } else {
      handle_nonsense(line.error());
    }
  }
}

void WorkerController::read_errors() {
  const QByteArray bytes = process_->readAllStandardError();
  for (const auto& line : errors_.append({bytes.constData(), static_cast<std::size_t>(bytes.size())})) {
    if (!line || line->empty()) continue;
    if (watch_) watch_->remember(*line);
    warn(*line);
  }
}

void WorkerController::handle_line(const std::string& line) {
  if (line.empty()) return;
  const auto event = protocol::decode_event(line);
  if (event) return handle_event(*event);
  warn(QString::fromStdString(line).left(300).toStdString());  // a login banner, say
  handle_nonsense(event.error());
}

void WorkerController::handle_nonsense(const Error& error) {
  if (watch_) return conclude(watch_->hear_nonsense(error));
  drop_process();  // not to be trusted any more
}

void WorkerController::handle_event(const protocol::Event& event) {
  // What concerns a request that was given up comes too late.
  const std::string* request = request_of(event);
  if (!request || (watch_ && *request == id_)) {
    tell(event);
    std::visit([this](const auto& e) { handle(e); }, event);
  }
  if (watch_) conclude(watch_->hear(event));
}

void WorkerController::handle(const protocol::Ready&) {
  if (ready_) return;
  ready_ = true;
  if (is_busy()) {
    send_request();
  } else {
    set_state(State::Idle);
  }
}

void WorkerController::handle(const protocol::Loading& event) {
  set_state(State::Loading);
  set_stage(tr("load"), request_ == Request::Generate ? event.done : 0, QString::fromStdString(event.stage));
}

void WorkerController::handle(const protocol::Loaded&) {
  set_state(State::Busy);
  set_stage(tr("load"), 0, tr("done"));
}

void WorkerController::handle(const protocol::Stage& event) {
  set_state(State::Busy);
  const StageProgress progress = progress_of(event, configuration_);
  set_stage(QString::fromStdString(event.stage), progress.share, progress.text, progress.left_s);
}

void WorkerController::handle(const protocol::Token& event) {
  set_state(State::Busy);
  emit text_streamed(QString::fromStdString(event.text), event.index + 1);
}

void WorkerController::handle(const protocol::Finished& event) {
  if (request_ != Request::Generate) return;
  AnswerFigures figures;
  figures.prompt_tokens = event.prompt_tokens;
  figures.tokens = event.tokens;
  figures.ttft_s = event.ttft_s;
  if (event.prefill_s > 0)
    figures.prefill_tokens_per_second = static_cast<double>(event.prompt_tokens) / event.prefill_s;
  // The first token belongs to prefill.
  if (event.decode_s > 0) figures.decode_tokens_per_second = static_cast<double>(event.tokens - 1) / event.decode_s;
  figures.stop_reason = QString::fromStdString(event.stop_reason);
  emit answered(figures);
}

void WorkerController::handle_exit(int code, QProcess::ExitStatus status) {
  read_output();  // what it still said before it died
  if (!process_) return;
  read_errors();
  drop_process();
  const bool crashed = status == QProcess::CrashExit;
  if (is_busy()) conclude(watch_->worker_ended(crashed ? 0 : code, crashed ? code : 0));
}

void WorkerController::tick() {
  if (watch_) conclude(watch_->tick(now()));
}

void WorkerController::drop_process() {
  if (!process_) return;
  QProcess* process = std::exchange(process_, nullptr);
  process->disconnect(this);
  if (process->state() == QProcess::NotRunning) {
    process->deleteLater();
  } else {
    connect(process, &QProcess::finished, process, &QObject::deleteLater);
    process->kill();
  }
  ready_ = false;
  set_state(State::Stopped);
}

void WorkerController::conclude(const std::optional<RequestEnd>& end) {
  if (!end || !watch_) return;
  if (end->worker_lost) {
    drop_process();
  } else {
    set_state(State::Idle);
  }
  finish(results::outcome_of(*end));
}

void WorkerController::finish(const results::RunOutcome& outcome) {
  watch_.reset();
  tick_.stop();
  if (const auto line = results::log_line_of(outcome)) show(*line);
  emit finished(outcome);
}

void WorkerController::set_state(State state) {
  if (state_ == state) return;
  state_ = state;
  emit state_changed(state);
}

void WorkerController::set_stage(const QString& stage, double fraction, const QString& text, double left_s) {
  emit progressed(stage, fraction, text, left_s);
}

void WorkerController::tell(const protocol::Event& event) {
  emit heard(event);
  for (const results::LogLine& line : results::log_lines_of(event)) show(line);
}

void WorkerController::warn(const std::string& text) {
  tell(protocol::Log{"warning", watch_ ? watch_->stage() : std::string(), text});
}

void WorkerController::show(results::LogLine line) {
  line.time = QDateTime::currentDateTimeUtc().toString(Qt::ISODateWithMs).toStdString();
  emit logged(line);
}

}  // namespace krasis::ui

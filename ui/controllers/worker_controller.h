#pragma once

#include <QByteArray>
#include <QList>
#include <QObject>
#include <QProcess>
#include <QStringList>
#include <QTimer>
#include <optional>
#include <string>

#include "engine/config/run_configuration.h"
#include "engine/protocol/protocol.h"
#include "engine/protocol/request_watch.h"
#include "results_db/records.h"

namespace krasis::ui {

/// How the worker is started: the engine's process, here or behind `ssh host` or `srun`.
struct WorkerCommand {
  QString program;
  QStringList arguments;
  /// Splits a command line as a shell would quote it; empty program if the line is empty.
  static WorkerCommand parse(const QString& line);
  QString line() const;
};

/// One turn of a conversation.
struct ChatTurn {
  QString role;  ///< "system", "user", "assistant"
  QString text;
};

/// What one answer took.
struct AnswerFigures {
  qint64 prompt_tokens = 0;
  qint64 tokens = 0;
  double prefill_tokens_per_second = 0;
  double ttft_s = 0;
  double decode_tokens_per_second = 0;
  QString stop_reason;
};

/// A worker process and the one request it works on. The process is started when needed and kept while its configuration
/// does for the next request. Every request ends with exactly one finished(), whatever the process does: dies, falls
/// silent, or talks nonsense.
class WorkerController : public QObject {
  Q_OBJECT

 public:
  enum class State { Stopped, Starting, Loading, Busy, Idle };

  explicit WorkerController(WorkerCommand command, QObject* parent = nullptr);
  ~WorkerController() override;

  void set_command(WorkerCommand command);
  const WorkerCommand& command() const { return command_; }
  /// How long it waits before it kills the process.
  void set_patience(const Patience& patience) { patience_ = patience; }
  State state() const { return state_; }
  bool is_busy() const { return watch_.has_value(); }
  /// The process runs and has said Ready.
  bool is_ready() const { return ready_; }

  /// Starts the process and waits until it is ready: finished() with Done, or why it does not start.
  void start();
  /// Loads the model unless it is loaded, then measures. One request at a time.
  /// @param trace_file  where the worker writes a trace; empty: nowhere
  void benchmark(const RunConfiguration& configuration, const QString& trace_file = {});
  /// Loads the model unless it is loaded, then answers the conversation's last turn. @param max_tokens at most
  void generate(const RunConfiguration& configuration, const QList<ChatTurn>& turns, int max_tokens);
  /// Asks the worker to stop; kills it when it does not in time.
  void cancel();
  /// Ends the process; a request that is being worked on ends as cancelled.
  void stop();

 signals:
  void state_changed(krasis::ui::WorkerController::State state);
  /// @param fraction 0..1 of the request, or negative when it is not known
  /// @param left_s   seconds to its end, or negative when that is not known
  void progressed(const QString& stage, double fraction, const QString& text, double left_s);
  /// What a results::RunRecorder has to hear: every event of the process and of its request, and each line of its
  /// standard error as a Log.
  void heard(const krasis::protocol::Event& event);
  void text_streamed(const QString& text, qint64 tokens);
  void answered(const krasis::ui::AnswerFigures& figures);
  void logged(const krasis::results::LogLine& line);
  void finished(const krasis::results::RunOutcome& outcome);

 private:
  enum class Request { Start, Benchmark, Generate };

  void start_process();
  void stop_process();
  void begin(Request request, const RunConfiguration& configuration);
  void send_request();
  void write(const protocol::Request& request);
  void read_output();
  void read_errors();
  void handle_line(const std::string& line);
  void handle_nonsense(const Error& error);
  void handle_exit(int code, QProcess::ExitStatus status);
  void handle_event(const protocol::Event& event);
  void tick();
  /// Kills the process if it still runs.
  void drop_process();
  void set_state(State state);
  void set_stage(const QString& stage, double fraction, const QString& text, double left_s = -1);
  void conclude(const std::optional<RequestEnd>& end);
  void finish(const results::RunOutcome& outcome);
  void tell(const protocol::Event& event);
  void warn(const std::string& text);
  void show(results::LogLine line);

  // One for each kind of event.
  void handle(const protocol::Ready& event);
  void handle(const protocol::Environment&) {}
  void handle(const protocol::Loading& event);
  void handle(const protocol::Loaded& event);
  void handle(const protocol::Stage& event);
  void handle(const protocol::Sample&) {}
  void handle(const protocol::Token& event);
  void handle(const protocol::Finished& event);
  void handle(const protocol::Log&) {}
  void handle(const protocol::Heartbeat&) {}
  void handle(const protocol::Failed&) {}

  WorkerCommand command_;
  QProcess* process_ = nullptr;
  QTimer tick_;
  Patience patience_;
  State state_ = State::Stopped;
  Request request_ = Request::Benchmark;
  std::optional<RequestWatch> watch_;  ///< of the request that is being worked on
  RunConfiguration configuration_;
  QString trace_file_;
  QList<ChatTurn> turns_;
  int max_tokens_ = 0;
  std::string id_;        ///< of the request
  qint64 requests_ = 0;
  bool ready_ = false;  ///< the process has said Ready
  protocol::LineSplitter lines_, errors_;
};

}  // namespace krasis::ui

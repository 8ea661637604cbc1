#pragma once

#include <QElapsedTimer>
#include <QObject>

#include "ui/controllers/worker_controller.h"
#include "base/error.h"
#include "ui/models/queue_model.h"

namespace krasis::ui {

class DatabaseService;

/// Works off the queue that the results database holds: one run at a time in a worker process. Every repetition is
/// stored when it arrives. A run that ends badly is a row; the queue goes on.
class QueueController : public QObject {
  Q_OBJECT

 public:
  QueueController(DatabaseService* database, WorkerController* worker, QueueModel* model, LogModel* log,
                  QObject* parent = nullptr);

  /// Stores the runs in the queue and starts when it is not paused.
  Expected<void> enqueue(const std::vector<results::NewRun>& runs);
  bool is_paused() const { return paused_; }
  /// Runs that start while this is on write a trace: RUN.trace.json in trace_folder().
  bool writes_traces() const { return writes_traces_; }
  /// Beside the database, on the worker's machine.
  QString trace_folder() const;
  bool is_running() const { return current_ != 0; }
  int done() const { return done_; }    ///< of total(), ended since the queue was last empty
  int total() const { return total_; }
  /// Of everything that waits or runs, from what runs took so far; negative when there is nothing to judge by.
  double eta_s() const;

 public slots:
  /// After the run that is running. Resuming starts the next one.
  void set_paused(bool paused);
  void set_writes_traces(bool on);
  void cancel(qlonglong run);
  void cancel_all();
  /// Queues again every run of the list that ended badly or was cancelled.
  void retry_failed();
  void retry(qlonglong run);

 signals:
  /// Anything that the status bar shows.
  void changed();
  void message(const QString& text);

 private:
  void reload();
  void start_next();
  void on_progress(const QString& stage, double fraction, const QString& text, double left_s);
  void on_repetition(const results::Repetition& repetition);
  void on_finished(const results::RunOutcome& outcome);
  void on_log(const results::LogLine& line);
  void report(const Expected<void>& result);
  static QString title_of(const results::RunRecord& run);

  DatabaseService* database_;
  WorkerController* worker_;
  QueueModel* model_;
  LogModel* log_;
  results::RunId current_ = 0;
  bool paused_ = false;
  bool writes_traces_ = false;
  int done_ = 0;
  int total_ = 0;
  QElapsedTimer run_clock_;
  double finished_run_s_ = 0;  ///< sum over done_ runs that were measured
  int finished_runs_ = 0;
};

}  // namespace krasis::ui

#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <functional>

#include "base/error.h"
#include "results_db/run_recorder.h"
#include "ui/controllers/measuring_right.h"
#include "ui/controllers/worker_controller.h"
#include "ui/models/queue_model.h"

namespace krasis::ui {

class DatabaseService;

/// Works off the queue that the results database holds: one run at a time in a worker process. Every repetition is
/// stored when it arrives. A run that ends badly is a row, and the queue goes on; a worker that does not even start
/// stops the queue instead, and its runs keep waiting. The rows are those of the database that is open: what another
/// program adds or takes shows within seconds, and another database empties them.
class QueueController : public QObject {
  Q_OBJECT

 public:
  /// Why nothing starts.
  enum class Pause {
    None,
    ByUser,
    LeftOver,       ///< runs of an earlier session wait: the user decides when they go on
    WorkerFailed,   ///< the worker does not start
    OthersMeasure,  ///< another program measures with this database
  };

  QueueController(DatabaseService* database, WorkerController* worker, QueueModel* model, LogModel* log,
                  QObject* parent = nullptr);

  /// Stores the runs in the queue and starts when it is not paused.
  Expected<void> enqueue(const std::vector<results::NewRun>& runs);
  bool is_paused() const { return pause_ != Pause::None; }
  Pause pause() const { return pause_; }
  /// What the user has to know and decide before the queue goes on (LeftOver, WorkerFailed); otherwise empty.
  QString notice() const { return notice_; }
  /// Runs that start while this is on write a trace: RUN.trace.json in trace_folder().
  bool writes_traces() const { return writes_traces_; }
  /// Beside the database, on the worker's machine.
  QString trace_folder() const;
  bool is_running() const { return recorder_.run() != 0; }
  /// Nothing runs and nothing waits.
  bool is_idle() const { return !is_running() && !starting_ && waiting() == 0; }
  /// Asked before each run whether it may be measured now; go_on() asks again.
  void set_gate(std::function<bool()> may_measure) { may_measure_ = std::move(may_measure); }
  /// Who else measures with the database, as the beginning of a sentence; empty: nobody else does.
  QString measured_elsewhere() const { return right_->other(); }
  int done() const { return done_; }  ///< of total(), ended since the queue was last empty
  int total() const;
  /// Of everything that waits or runs, from what runs took so far; negative when there is nothing to judge by.
  double eta_s() const;
  /// The run that is running, as a sentence's subject: "Run 1a2b3c4d (embedded, ...), at repetition 2 of 5".
  QString running_text() const;
  /// What went wrong with a run, its log's last lines and its configuration, as text.
  QString report_of(qlonglong run);
  /// For the end of the program: the run that is running ends as cancelled and waits in the queue again.
  void shut_down();

 public slots:
  /// After the run that is running. Resuming starts the next one.
  void set_paused(bool paused);
  /// Starts the next run if it may be measured now.
  void go_on() { start_next(); }
  void set_writes_traces(bool on);
  void cancel(qlonglong run);
  void cancel_all();
  /// Takes all waiting runs out of the queue.
  void discard();
  /// Queues again every run of the list that went wrong; not those that were cancelled.
  void retry_failed();
  /// Queues a copy of any run of the database.
  void retry(qlonglong run);

 signals:
  /// Anything that the status bar shows.
  void changed();
  void message(const QString& text);

 private:
  void reload();
  void synchronize();
  void start_next();
  bool take_right();
  void on_others();
  void measure(const results::RunRecord& run);
  void on_progress(const QString& stage, double fraction, const QString& text, double left_s);
  void on_heard(const protocol::Event& event);
  void on_finished(const results::RunOutcome& outcome);
  void on_started(const results::RunOutcome& outcome);
  void store_outcome(results::RunOutcome outcome);
  void report(const Expected<void>& result);
  bool is_same_run(const QueueRow& row);
  int waiting() const;
  void forget_counts();
  static QString title_of(const results::RunRecord& run);
  static QueueRow row_of(const results::RunRecord& run);

  DatabaseService* database_;
  MeasuringRight* right_;
  std::function<bool()> may_measure_;
  WorkerController* worker_;
  QueueModel* model_;
  results::RunRecorder recorder_;
  Pause pause_ = Pause::None;
  QString notice_;
  bool starting_ = false;        ///< the worker's process
  bool user_cancelled_ = false;  ///< the run that is running
  bool shutting_down_ = false;
  bool writes_traces_ = false;
  int done_ = 0;
  QElapsedTimer run_clock_;
  double finished_run_s_ = 0;  ///< sum over done_ runs that were measured
  int finished_runs_ = 0;
};

}  // namespace krasis::ui

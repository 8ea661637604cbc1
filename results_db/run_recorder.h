#pragma once

#include <optional>

#include "engine/protocol/protocol.h"
#include "results_db/database.h"

namespace krasis::results {

/// Writes what a worker says into a results database: for every client the only code that does. It records one run at
/// a time and hears the worker's events also in between, because what a process says of its machine holds for all of
/// its runs. Lives in one thread, that of the database.
class RunRecorder {
 public:
  /// Records `run`, which this process has claimed, until finish(). `database` must live as long.
  Expected<void> begin(Database& database, RunRecord run);
  /// The run that is being recorded; 0: none.
  RunId run() const { return database_ ? run_.id : 0; }
  /// Stores what an event of the process, or of the run's request, says. Events of other requests are the caller's to
  /// leave out. When it returns, a repetition is on the disk. Errors are the database's.
  Expected<void> hear(const protocol::Event& event);
  /// The database is going: records no more, and says nothing of the run's end.
  void leave() { database_ = nullptr; }
  /// Stores how the run ended; nothing is recorded any more, also when this fails.
  Expected<void> finish(const RunOutcome& outcome);

 private:
  Expected<void> store(const protocol::Loaded& event);
  Expected<void> store(const protocol::Finished& event);

  Database* database_ = nullptr;  ///< null: no run is being recorded
  RunRecord run_;
  std::optional<EnvironmentRecord> environment_;  ///< of the process that was heard last
};

}  // namespace krasis::results

#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "results_db/process_identity.h"
#include "results_db/records.h"

namespace krasis::results {

enum class OpenMode : std::uint8_t {
  ReadOnly,   ///< the file must exist; nothing is written, not even a migration
  ReadWrite,  ///< the file must exist
  Create,     ///< as ReadWrite; made when there is none (its folder must exist)
};

struct OpenOptions {
  OpenMode mode = OpenMode::Create;
  int busy_timeout_ms = 5000;  ///< how long a statement waits for another program's lock
  std::string program = {};    ///< as others are told who measures: "krasis bench"
  /// As whom the database is used; tests are somebody else.
  std::optional<ProcessIdentity> identity = {};
};

/// Who measures in a database. The right to do so is a lease: its owner renews it, and it ends when the owner gives it
/// back, when its process is gone, or, where nobody can tell whether the process lives (another host, boot or PID
/// namespace), when it was not renewed for kLeaseSeconds by the clocks of both.
struct Measurer {
  std::string host;
  std::int64_t pid = 0;
  std::string program;  ///< "krasis bench"; may be empty
  std::string since;    ///< UTC, "2026-02-22T10:11:12.345Z"
  bool here = false;    ///< it is this process
  bool operator==(const Measurer&) const = default;
};
/// "krasis bench (process 4711 on build7) has been measuring since 2026-02-22T10:11:12.345Z", without a full stop.
std::string description(const Measurer& measurer);
inline constexpr int kLeaseSeconds = 60;
inline constexpr int kRenewSeconds = 20;  ///< how often an owner renews; each time is a change that others notice

/// Which runs a query gives. Everything that is set must hold.
struct RunFilter {
  std::vector<RunId> ids;            ///< empty: all
  std::vector<std::string> uuids;    ///< empty: all
  std::vector<RunStatus> statuses;   ///< empty: all
  std::optional<std::string> sweep;  ///< exact name
  std::string text;           ///< part of model, sweep, uuid, tag, note, status, device, ..., without case (ASCII)
  bool newest_first = false;  ///< otherwise in the order in which they were created
  std::int64_t limit = -1;    ///< -1: all
};

enum class QueuePlace : std::uint8_t { Next, Last };

/// A database of results in one SQLite file (WAL, foreign keys enforced).
///
/// Evidence is kept by the file itself: triggers refuse to change or delete a run that has ended, or any sample.
/// An object belongs to one thread; any number of objects and processes may have the same file open.
/// Every function may fail with Io, Conflict (locked beyond the timeout, or refused by a rule above), Corrupt; every
/// changing one with Unsupported when read_only(). A failed call leaves the file as it was.
class Database {
 public:
  /// Opens or makes a database. Falls back to read-only, with read_only_reason(), when the file was written by a newer
  /// version, is write-protected, or is locked for writing beyond the timeout.
  /// Fails with NotFound (no such file or folder), Corrupt (damaged or no SQLite file), Unsupported (another program's
  /// SQLite file; an older schema that ReadOnly may not migrate), Conflict (locked even for reading), Io. A file that
  /// is refused is never written to.
  static Expected<Database> open(const std::filesystem::path& path, const OpenOptions& options = {});
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  const std::filesystem::path& path() const;
  bool read_only() const;
  /// Why nothing can be written, a whole sentence; empty if it can be.
  const std::string& read_only_reason() const;
  /// Version of the schema in the file.
  int schema_version() const;
  /// The version that this program writes.
  static int current_schema_version();
  /// SQLite's complete check. Fails with Corrupt and the first finding.
  Expected<void> check_integrity();
  /// Grows with every change that another connection commits; poll it to know when to query again.
  Expected<std::int64_t> change_counter();

  // The queue

  /// Stores a run at the end of the queue. Fails with InvalidArgument for an empty model fingerprint, a malformed JSON
  /// text, time or uuid, negative counts or numbers that are not finite; with Conflict for a uuid that exists.
  Expected<RunId> enqueue(const NewRun& run);
  /// All of them or none.
  Expected<std::vector<RunId>> enqueue(std::span<const NewRun> runs);
  /// Queued runs, the next one first.
  Expected<std::vector<RunRecord>> queued_runs();
  /// Moves a queued run to `index` among the queued ones (0 = next; beyond the end = last).
  Expected<void> set_position(RunId run, std::size_t index);
  /// Deletes a run that is still queued; the only deletion there is.
  Expected<void> remove_queued(RunId run);
  /// Queues a copy (new uuid) of a run, to try it again: behind the others, or as the next one.
  Expected<RunId> requeue(RunId run, QueuePlace place = QueuePlace::Last);
  /// Makes a queued run `running`, owned by this process, and takes the right to measure. Conflict if it is not queued
  /// (any more), or if somebody else measures (measurer() says who).
  Expected<RunRecord> claim(RunId run);
  /// Claims the first queued run; nothing when the queue is empty.
  Expected<std::optional<RunRecord>> claim_next();
  /// Marks as crashed the runs that are `running` though the process that claimed them is gone. Returns their ids. A
  /// process that lives elsewhere is left alone as long as it renews its right to measure.
  Expected<std::vector<RunId>> mark_interrupted();
  /// The same, and queues a copy of each in front of the others, in one transaction: what a crash interrupted is
  /// offered again once, whoever looks first. Returns the copies' ids in the order of the queue.
  Expected<std::vector<RunId>> requeue_interrupted();

  // The right to measure: one process at a time

  /// Takes it, or renews it. Conflict, with who has it and since when, while somebody else has it. To be called every
  /// kRenewSeconds for as long as runs are measured.
  Expected<void> begin_measuring();
  /// Gives it back, unless a run of this process is running. Nothing happens if this process does not have it.
  Expected<void> end_measuring();
  /// Who has it now; nothing when nobody has.
  Expected<std::optional<Measurer>> measurer();

  // A run that is running

  Expected<void> set_environment(RunId run, const EnvironmentRecord& environment);
  /// Replaces the plan (a JSON object): predicted first, with the actual high-water marks later.
  Expected<void> set_plan(RunId run, std::string_view plan_json);
  /// Replaces what the hardware did (a JSON object, telemetry.h) of a run that is running.
  Expected<void> set_telemetry(RunId run, std::string_view telemetry_json);
  /// Notes that somebody else computed on the machine while this run, which is running, was measured; empty: nobody
  /// did.
  Expected<void> set_disturbance(RunId run, std::string_view sentences);
  /// Replaces the model by what the worker loaded: only it has read the weights and knows their fingerprint.
  Expected<void> set_model(RunId run, const ModelRecord& model);
  /// Corrects a parameter that only the worker knows (threads, the prompt's fingerprint).
  Expected<void> set_parameters(RunId run, const RunParameters& parameters);
  /// Stores one repetition in one transaction; when the call returns it is on the disk. Fails with InvalidArgument for
  /// numbers that are not finite, negative or contradict each other; with Conflict if the run is not running or has
  /// this index already.
  Expected<void> append_repetition(RunId run, const Repetition& repetition);
  /// Allowed in every state: the log of a crash arrives after it.
  Expected<void> append_log(RunId run, std::span<const LogLine> lines);
  /// Ends a run that is running, or queued (then only as cancelled or failed).
  Expected<void> finish(RunId run, const RunOutcome& outcome);

  // Annotations, allowed in every state; their history is kept

  Expected<void> set_note(RunId run, std::string_view note);
  Expected<void> set_tags(RunId run, std::span<const std::string> tags);

  // Queries

  Expected<RunRecord> run(RunId run);  ///< NotFound
  Expected<std::vector<RunRecord>> runs(const RunFilter& filter = {});
  Expected<RunSummary> summary(RunId run);  ///< NotFound
  Expected<std::vector<RunSummary>> summaries(const RunFilter& filter = {});
  /// Warm-ups first, each in order of index, with all samples.
  Expected<std::vector<Repetition>> repetitions(RunId run);
  /// In the order in which they were appended; `last` > 0 gives that number of the last ones.
  Expected<std::vector<LogLine>> log(RunId run, std::int64_t last = 0);
  Expected<std::int64_t> run_count();
  Expected<std::vector<ModelRecord>> models();

  /// A finished (or queued) run with everything that belongs to it, as it moves between databases.
  struct WholeRun {
    RunRecord run;
    std::vector<Repetition> repetitions;
    std::vector<LogLine> log;
  };
  struct ImportReport {
    std::size_t added = 0;
    std::size_t skipped = 0;  ///< their uuid was there already
  };
  /// Adds runs of another database, all or none; ids and positions are given anew. A run that was running there becomes
  /// crashed. Validates like enqueue() and append_repetition().
  Expected<ImportReport> import_runs(std::span<const WholeRun> runs);

 private:
  struct Connection;
  explicit Database(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace krasis::results

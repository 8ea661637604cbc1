#include <algorithm>

#include "results_db/connection.h"
#include "results_db/lease.h"
#include "results_db/rows.h"
#include "results_db/validation.h"

namespace krasis::results {

namespace {

Expected<void> validate(const NewRun& run) {
  KRASIS_CHECK(results::validate(run.model));
  KRASIS_CHECK(results::validate(run.parameters));
  if (!run.uuid.empty()) KRASIS_CHECK(validate_uuid(run.uuid));
  if (!run.created_at.empty()) KRASIS_CHECK(validate_time(run.created_at, "created_at"));
  KRASIS_CHECK(validate_json_object(run.configuration_json, "configuration_json"));
  return validate_json_object(run.plan_json, "plan_json");
}

tl::unexpected<Error> not_queued(RunId run) {
  return fail(ErrorCode::Conflict, "Run " + std::to_string(run) + " is not queued any more.", "Refresh the queue.");
}

std::vector<RunId> queued_ids(SQLite::Database& sqlite) {
  SQLite::Statement select(sqlite, "SELECT id FROM runs WHERE status = 'queued' ORDER BY position, id");
  std::vector<RunId> ids;
  while (select.executeStep()) ids.push_back(select.getColumn(0).getInt64());
  return ids;
}

bool mark_running(SQLite::Database& sqlite, RunId run, const std::string& owner) {
  SQLite::Statement update(
      sqlite, "UPDATE runs SET status = 'running', started_at = ?, owner = ? WHERE id = ? AND status = 'queued'");
  update.bind(1, utc_now());
  update.bind(2, owner);
  update.bind(3, run);
  return update.exec() == 1;
}

NewRun copy_of(RunRecord run) {
  NewRun copy;
  copy.sweep = std::move(run.sweep);
  copy.model = std::move(run.model);
  copy.parameters = std::move(run.parameters);
  copy.configuration_json = std::move(run.configuration_json);
  copy.plan_json = std::move(run.plan_json);
  return copy;
}

RunId insert_copy(SQLite::Database& sqlite, RunRecord run, QueuePlace place) {
  const RunId id = insert_run(sqlite, copy_of(std::move(run)));
  if (place == QueuePlace::Last) return id;
  SQLite::Statement update(
      sqlite, "UPDATE runs SET position = (SELECT min(position) - 1 FROM runs WHERE status = 'queued') WHERE id = ?");
  update.bind(1, id);
  update.exec();
  return id;
}

}  // namespace

Expected<RunId> Database::enqueue(const NewRun& run) {
  KRASIS_TRY(const auto ids, enqueue(std::span(&run, 1)));
  return ids.front();
}

Expected<std::vector<RunId>> Database::enqueue(std::span<const NewRun> runs) {
  for (const NewRun& run : runs) KRASIS_CHECK(validate(run));
  return connection_->write([&]() -> Expected<std::vector<RunId>> {
    std::vector<RunId> ids;
    for (const NewRun& run : runs) ids.push_back(insert_run(*connection_->sqlite, run));
    return ids;
  });
}

Expected<void> Database::set_position(RunId run, std::size_t index) {
  return connection_->write([&]() -> Expected<void> {
    auto ids = queued_ids(*connection_->sqlite);
    const auto found = std::find(ids.begin(), ids.end(), run);
    if (found == ids.end()) return not_queued(run);
    ids.erase(found);
    ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(std::min(index, ids.size())), run);
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET position = ? WHERE id = ?");
    for (std::size_t position = 0; position < ids.size(); ++position) {
      update.bind(1, static_cast<std::int64_t>(position + 1));
      update.bind(2, ids[position]);
      update.exec();
      update.reset();
    }
    return {};
  });
}

Expected<void> Database::remove_queued(RunId run) {
  return connection_->write([&]() -> Expected<void> {
    SQLite::Statement remove(*connection_->sqlite, "DELETE FROM runs WHERE id = ? AND status = 'queued'");
    remove.bind(1, run);
    if (remove.exec() != 1) return not_queued(run);
    return {};
  });
}

Expected<RunId> Database::requeue(RunId id, QueuePlace place) {
  KRASIS_TRY(RunRecord old, run(id));
  return connection_->write(
      [&]() -> Expected<RunId> { return insert_copy(*connection_->sqlite, std::move(old), place); });
}

Expected<RunRecord> Database::claim(RunId id) {
  const auto claimed = connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(take_lease(*connection_->sqlite, connection_->identity, connection_->program));
    if (!mark_running(*connection_->sqlite, id, connection_->identity.owner())) return not_queued(id);
    return {};
  });
  KRASIS_CHECK(claimed);
  return run(id);
}

Expected<std::optional<RunRecord>> Database::claim_next() {
  const auto claimed = connection_->write([&]() -> Expected<RunId> {
    const auto ids = queued_ids(*connection_->sqlite);
    if (ids.empty()) return RunId{0};
    KRASIS_CHECK(take_lease(*connection_->sqlite, connection_->identity, connection_->program));
    mark_running(*connection_->sqlite, ids.front(), connection_->identity.owner());
    return ids.front();
  });
  KRASIS_CHECK(claimed);
  if (*claimed == 0) return std::nullopt;
  KRASIS_TRY(RunRecord record, run(*claimed));
  return record;
}

Expected<std::vector<RunId>> Database::mark_interrupted() {
  return connection_->write(
      [&]() -> Expected<std::vector<RunId>> { return end_interrupted(*connection_->sqlite, connection_->identity); });
}

Expected<std::vector<RunId>> Database::requeue_interrupted() {
  return connection_->write([&]() -> Expected<std::vector<RunId>> {
    std::vector<RunId> copies = end_interrupted(*connection_->sqlite, connection_->identity);
    for (auto id = copies.rbegin(); id != copies.rend(); ++id) {
      KRASIS_TRY(RunRecord old, run(*id));
      *id = insert_copy(*connection_->sqlite, std::move(old), QueuePlace::Next);
    }
    return copies;
  });
}

}  // namespace krasis::results

#include "results_db/lease.h"

#include <chrono>

#include "results_db/connection.h"
#include "results_db/rows.h"
#include "results_db/validation.h"

namespace krasis::results {

namespace {

struct Lease {
  std::string owner;
  std::string renewed_at;
  Measurer measurer;
};

std::optional<Lease> stored_lease(SQLite::Database& sqlite, const ProcessIdentity& here) {
  SQLite::Statement select(sqlite, "SELECT owner, renewed_at, host, pid, program, since FROM measuring");
  if (!select.executeStep()) return std::nullopt;
  Lease lease{select.getColumn(0).getString(), select.getColumn(1).getString(), {}};
  lease.measurer = {select.getColumn(2).getString(), select.getColumn(3).getInt64(), select.getColumn(4).getString(),
                    select.getColumn(5).getString(), lease.owner == here.owner()};
  return lease;
}

bool is_fresh(const Lease& lease) {
  return lease.renewed_at >= utc_text(std::chrono::system_clock::now() - std::chrono::seconds(kLeaseSeconds));
}

/// A process that can be seen decides by itself; of any other the renewals tell.
bool is_held(const Lease& lease, const ProcessIdentity& here) {
  const ProcessLife life = life_of(lease.owner, here);
  return life == ProcessLife::Unknown ? is_fresh(lease) : life == ProcessLife::Alive;
}

void write_lease(SQLite::Database& sqlite, const ProcessIdentity& here, const std::string& program) {
  SQLite::Statement insert(sqlite,
                           "INSERT OR REPLACE INTO measuring (only_row, owner, host, pid, program, since, renewed_at) "
                           "VALUES (1, ?, ?, ?, ?, ?, ?)");
  const std::string now = utc_now();
  insert.bind(1, here.owner());
  insert.bind(2, here.host);
  insert.bind(3, here.pid);
  insert.bind(4, program);
  insert.bind(5, now);
  insert.bind(6, now);
  insert.exec();
}

}  // namespace

std::string description(const Measurer& measurer) {
  return (measurer.program.empty() ? std::string("A program") : measurer.program) + " (process " +
         std::to_string(measurer.pid) + " on " + measurer.host + ") has been measuring since " + measurer.since;
}

Expected<void> take_lease(SQLite::Database& sqlite, const ProcessIdentity& here, const std::string& program) {
  const auto lease = stored_lease(sqlite, here);
  if (!lease || (!lease->measurer.here && !is_held(*lease, here))) {
    write_lease(sqlite, here, program);
    return {};
  }
  if (!lease->measurer.here) {
    return fail(ErrorCode::Conflict,
                "Another program measures with this results database: " + description(lease->measurer) + ".",
                "Wait until it has finished, or stop it there; two measurements at once would disturb each other.");
  }
  SQLite::Statement renew(sqlite, "UPDATE measuring SET renewed_at = ?");
  renew.bind(1, utc_now());
  renew.exec();
  return {};
}

std::vector<RunId> end_interrupted(SQLite::Database& sqlite, const ProcessIdentity& here) {
  const auto lease = stored_lease(sqlite, here);
  std::vector<RunId> interrupted;
  {
    SQLite::Statement select(sqlite, "SELECT id, owner FROM runs WHERE status = 'running' ORDER BY id");
    while (select.executeStep()) {
      const std::string owner = select.getColumn(1).getString();
      const ProcessLife life = life_of(owner, here);
      const bool renewed = lease && lease->owner == owner && is_fresh(*lease);
      const bool lives = life == ProcessLife::Alive || (life == ProcessLife::Unknown && renewed);
      if (!lives) interrupted.push_back(select.getColumn(0).getInt64());
    }
  }
  RunOutcome outcome;
  outcome.status = RunStatus::Crashed;
  outcome.failure.cause = "The program ended while the run was going.";
  outcome.failure.remedy = "Retry the run; the repetitions that it had finished are kept.";
  for (const RunId id : interrupted) update_outcome(sqlite, id, outcome, utc_now());
  return interrupted;
}

Expected<void> Database::begin_measuring() {
  return connection_->write([&]() -> Expected<void> {
    return take_lease(*connection_->sqlite, connection_->identity, connection_->program);
  });
}

Expected<void> Database::end_measuring() {
  return connection_->write([&]() -> Expected<void> {
    SQLite::Statement remove(*connection_->sqlite,
                             "DELETE FROM measuring WHERE owner = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE status = "
                             "'running' AND owner = ?1)");
    remove.bind(1, connection_->identity.owner());
    remove.exec();
    return {};
  });
}

Expected<std::optional<Measurer>> Database::measurer() {
  return connection_->guarded([&]() -> Expected<std::optional<Measurer>> {
    const auto lease = stored_lease(*connection_->sqlite, connection_->identity);
    if (!lease || !is_held(*lease, connection_->identity)) return std::nullopt;
    return lease->measurer;
  });
}

}  // namespace krasis::results

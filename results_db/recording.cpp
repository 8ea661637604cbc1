#include "results_db/connection.h"
#include "results_db/rows.h"
#include "results_db/validation.h"

namespace krasis::results {

namespace {

tl::unexpected<Error> no_run(RunId run) {
  return fail(ErrorCode::NotFound, "There is no run " + std::to_string(run) + " in the results database.",
              "Refresh the list of runs.");
}

std::optional<RunStatus> status_of(SQLite::Database& sqlite, RunId run) {
  SQLite::Statement select(sqlite, "SELECT status FROM runs WHERE id = ?");
  select.bind(1, run);
  if (!select.executeStep()) return std::nullopt;
  return run_status_of(select.getColumn(0).getString());
}

Expected<void> require_open(SQLite::Database& sqlite, RunId run) {
  const auto status = status_of(sqlite, run);
  if (!status) return no_run(run);
  if (is_final(*status)) {
    return fail(ErrorCode::Conflict,
                "Run " + std::to_string(run) + " has ended; a run that has ended is never changed.",
                "Use a note or a tag, or queue it again.");
  }
  return {};
}

Expected<void> require_running(SQLite::Database& sqlite, RunId run) {
  const auto status = status_of(sqlite, run);
  if (!status) return no_run(run);
  if (*status != RunStatus::Running) {
    return fail(ErrorCode::Conflict,
                "Run " + std::to_string(run) + " is " + std::string(name_of(*status)) + ", not running.",
                "Claim a queued run before measuring it.");
  }
  return {};
}

Expected<void> require_run(SQLite::Database& sqlite, RunId run) {
  if (!run_exists(sqlite, run)) return no_run(run);
  return {};
}

}  // namespace

Expected<void> Database::set_environment(RunId run, const EnvironmentRecord& environment) {
  KRASIS_CHECK(validate(environment));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_running(*connection_->sqlite, run));
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET environment_id = ? WHERE id = ?");
    update.bind(1, environment_row(*connection_->sqlite, environment));
    update.bind(2, run);
    update.exec();
    return {};
  });
}

Expected<void> Database::set_plan(RunId run, std::string_view plan_json) {
  KRASIS_CHECK(validate_json_object(plan_json, "plan_json"));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_open(*connection_->sqlite, run));
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET plan = ? WHERE id = ?");
    update.bind(1, std::string(plan_json));
    update.bind(2, run);
    update.exec();
    return {};
  });
}

Expected<void> Database::set_telemetry(RunId run, std::string_view telemetry_json) {
  KRASIS_CHECK(validate_json_object(telemetry_json, "telemetry_json"));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_running(*connection_->sqlite, run));
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET telemetry = ? WHERE id = ?");
    update.bind(1, std::string(telemetry_json));
    update.bind(2, run);
    update.exec();
    return {};
  });
}

Expected<void> Database::set_disturbance(RunId run, std::string_view sentences) {
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_running(*connection_->sqlite, run));
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET disturbance = ? WHERE id = ?");
    update.bind(1, std::string(sentences));
    update.bind(2, run);
    update.exec();
    return {};
  });
}

Expected<void> Database::set_model(RunId run, const ModelRecord& model) {
  KRASIS_CHECK(results::validate(model));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_open(*connection_->sqlite, run));
    SQLite::Statement update(*connection_->sqlite, "UPDATE runs SET model_id = ? WHERE id = ?");
    update.bind(1, model_row(*connection_->sqlite, model));
    update.bind(2, run);
    update.exec();
    return {};
  });
}

Expected<void> Database::set_parameters(RunId run, const RunParameters& parameters) {
  KRASIS_CHECK(validate(parameters));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_open(*connection_->sqlite, run));
    update_parameters(*connection_->sqlite, run, parameters);
    return {};
  });
}

Expected<void> Database::append_repetition(RunId run, const Repetition& repetition) {
  KRASIS_CHECK(validate(repetition));
  if (!repetition.measured_at.empty()) KRASIS_CHECK(validate_time(repetition.measured_at, "measured_at"));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_running(*connection_->sqlite, run));
    insert_repetition(*connection_->sqlite, run, repetition);
    return {};
  });
}

Expected<void> Database::append_log(RunId run, std::span<const LogLine> lines) {
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_run(*connection_->sqlite, run));
    insert_log(*connection_->sqlite, run, lines);
    return {};
  });
}

Expected<void> Database::finish(RunId run, const RunOutcome& outcome) {
  if (!is_final(outcome.status)) {
    return fail(ErrorCode::InvalidArgument, "A run cannot end as " + std::string(name_of(outcome.status)) + ".");
  }
  KRASIS_CHECK(validate(outcome.verdict));
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_open(*connection_->sqlite, run));
    const bool never_ran = outcome.status == RunStatus::Cancelled || outcome.status == RunStatus::Failed;
    if (!never_ran) KRASIS_CHECK(require_running(*connection_->sqlite, run));
    update_outcome(*connection_->sqlite, run, outcome, utc_now());
    return {};
  });
}

Expected<void> Database::set_note(RunId run, std::string_view note) {
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_run(*connection_->sqlite, run));
    insert_annotation(*connection_->sqlite, run, "note", note);
    return {};
  });
}

Expected<void> Database::set_tags(RunId run, std::span<const std::string> tags) {
  return connection_->write([&]() -> Expected<void> {
    KRASIS_CHECK(require_run(*connection_->sqlite, run));
    insert_annotation(*connection_->sqlite, run, "tags", json_array(tags));
    return {};
  });
}

namespace {

Expected<void> validate(const Database::WholeRun& whole) {
  const RunRecord& run = whole.run;
  KRASIS_CHECK(validate_uuid(run.uuid));
  KRASIS_CHECK(validate_time(run.created_at, "created_at"));
  if (!run.started_at.empty()) KRASIS_CHECK(validate_time(run.started_at, "started_at"));
  if (!run.finished_at.empty()) KRASIS_CHECK(validate_time(run.finished_at, "finished_at"));
  KRASIS_CHECK(results::validate(run.model));
  KRASIS_CHECK(results::validate(run.parameters));
  KRASIS_CHECK(results::validate(run.verdict));
  if (run.environment) KRASIS_CHECK(results::validate(*run.environment));
  KRASIS_CHECK(validate_json_object(run.configuration_json, "configuration_json"));
  KRASIS_CHECK(validate_json_object(run.plan_json, "plan_json"));
  KRASIS_CHECK(validate_json_object(run.telemetry_json, "telemetry_json"));
  for (const Repetition& repetition : whole.repetitions) {
    KRASIS_CHECK(results::validate(repetition));
    if (!repetition.measured_at.empty()) KRASIS_CHECK(validate_time(repetition.measured_at, "measured_at"));
  }
  if (run.status == RunStatus::Queued && !whole.repetitions.empty()) {
    return fail(ErrorCode::InvalidArgument, "Run " + run.uuid + " is queued but has repetitions.");
  }
  return {};
}

/// Walks the run through its states, so that the file's own rules hold for it as for one that ran here.
void insert_whole_run(SQLite::Database& sqlite, const Database::WholeRun& whole) {
  const RunRecord& run = whole.run;
  const RunId id = insert_run(sqlite, NewRun{run.uuid, run.created_at, run.sweep, run.model, run.parameters,
                                             run.configuration_json, run.plan_json});
  insert_log(sqlite, id, whole.log);
  if (!run.note.empty()) insert_annotation(sqlite, id, "note", run.note);
  if (!run.tags.empty()) insert_annotation(sqlite, id, "tags", json_array(run.tags));
  if (run.status == RunStatus::Queued) return;
  SQLite::Statement start(sqlite,
                          "UPDATE runs SET status = 'running', started_at = ?, environment_id = ?, telemetry = ?, "
                          "disturbance = ? WHERE id = ?");
  start.bind(1, run.started_at);
  if (run.environment) {
    start.bind(2, environment_row(sqlite, *run.environment));
  } else {
    start.bind(2);
  }
  start.bind(3, run.telemetry_json);
  start.bind(4, run.disturbance);
  start.bind(5, id);
  start.exec();
  for (const Repetition& repetition : whole.repetitions) insert_repetition(sqlite, id, repetition);
  RunOutcome outcome{run.status, run.verdict, run.failure};
  if (run.status == RunStatus::Running) {
    outcome.status = RunStatus::Crashed;
    outcome.failure.cause = "The run was still going when it was exported.";
  }
  update_outcome(sqlite, id, outcome, run.finished_at);
}

}  // namespace

Expected<Database::ImportReport> Database::import_runs(std::span<const WholeRun> runs) {
  for (const WholeRun& run : runs) KRASIS_CHECK(validate(run));
  return connection_->write([&]() -> Expected<ImportReport> {
    ImportReport report;
    SQLite::Statement find(*connection_->sqlite, "SELECT 1 FROM runs WHERE uuid = ?");
    for (const WholeRun& run : runs) {
      find.bind(1, run.run.uuid);
      const bool exists = find.executeStep();
      find.reset();
      if (exists) {
        ++report.skipped;
      } else {
        insert_whole_run(*connection_->sqlite, run);
        ++report.added;
      }
    }
    return report;
  });
}

}  // namespace krasis::results

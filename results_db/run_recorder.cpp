#include "results_db/run_recorder.h"

#include <utility>

#include "results_db/from_worker.h"

namespace krasis::results {

Expected<void> RunRecorder::begin(Database& database, RunRecord run) {
  database_ = &database;
  run_ = std::move(run);
  if (environment_) return database_->set_environment(run_.id, *environment_);
  return {};
}

Expected<void> RunRecorder::hear(const protocol::Event& event) {
  const auto* ready = std::get_if<protocol::Ready>(&event);
  const auto* measured = std::get_if<protocol::Environment>(&event);
  if (ready || measured) environment_ = environment_of(ready ? ready->machine : measured->machine);
  if (!database_) return {};
  if (const auto lines = log_lines_of(event); !lines.empty()) KRASIS_CHECK(database_->append_log(run_.id, lines));
  if (ready || measured) return database_->set_environment(run_.id, *environment_);
  if (const auto* loaded = std::get_if<protocol::Loaded>(&event)) return store(*loaded);
  if (const auto* sample = std::get_if<protocol::Sample>(&event)) {
    return database_->append_repetition(run_.id, repetition_of(*sample));
  }
  if (const auto* finished = std::get_if<protocol::Finished>(&event)) return store(*finished);
  return {};
}

Expected<void> RunRecorder::finish(const RunOutcome& outcome) {
  Database* const database = std::exchange(database_, nullptr);
  if (!database) return {};
  if (const auto line = log_line_of(outcome)) KRASIS_CHECK(database->append_log(run_.id, {&*line, 1}));
  return database->finish(run_.id, outcome);
}

Expected<void> RunRecorder::store(const protocol::Loaded& event) {
  KRASIS_CHECK(database_->set_model(run_.id, model_of(event.model)));
  RunParameters& known = run_.parameters;
  if (event.threads > 0) known.threads = static_cast<int>(event.threads);
  if (!event.prompt_fingerprint.empty()) known.prompt_fingerprint = event.prompt_fingerprint;
  KRASIS_CHECK(database_->set_parameters(run_.id, known));
  return database_->set_plan(run_.id, event.plan_json);
}

Expected<void> RunRecorder::store(const protocol::Finished& event) {
  if (!event.disturbance.empty()) KRASIS_CHECK(database_->set_disturbance(run_.id, event.disturbance));
  if (event.plan_json != "{}") KRASIS_CHECK(database_->set_plan(run_.id, event.plan_json));
  if (event.telemetry_json != "{}") KRASIS_CHECK(database_->set_telemetry(run_.id, event.telemetry_json));
  return {};
}

}  // namespace krasis::results

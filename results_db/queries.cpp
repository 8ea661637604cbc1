#include <algorithm>
#include <unordered_map>

#include "engine/config/parameters.h"
#include "results_db/connection.h"
#include "results_db/rows.h"

namespace krasis::results {

namespace {

/// The name of a run's model. The embedded one has the name by which it is asked for, whatever its folder is called;
/// of the same weights there is one row in `models`, whose name older programs took from the folder.
constexpr const char* kModelName =
    "CASE WHEN NOT json_valid(r.configuration) THEN m.name "
    "WHEN json_extract(r.configuration, '$.model') = 'embedded' THEN 'embedded' ELSE m.name END";

constexpr const char* kNote =
    "ifnull((SELECT text FROM annotations WHERE run_id = r.id AND kind = 'note' ORDER BY id DESC LIMIT 1), '') AS note";
constexpr const char* kTags =
    "ifnull((SELECT text FROM annotations WHERE run_id = r.id AND kind = 'tags' ORDER BY id DESC LIMIT 1), '[]') AS "
    "tags";

/// Visits each column of a run, as SQL, and where its value belongs: what selects and what reads cannot disagree.
template <class Visit>
void visit_columns(RunRecord& run, std::int64_t& environment_id, Visit&& visit) {
  visit("r.id", run.id);
  visit("r.uuid", run.uuid);
  visit("r.created_at", run.created_at);
  visit("r.started_at", run.started_at);
  visit("r.finished_at", run.finished_at);
  visit("r.sweep", run.sweep);
  visit("m.fingerprint", run.model.fingerprint);
  visit(kModelName, run.model.name);
  visit("m.model_type", run.model.model_type);
  visit("m.architecture", run.model.architecture);
  visit("m.synthetic", run.model.synthetic);
  visit("r.environment_id", environment_id);
  visit("r.configuration", run.configuration_json);
  visit("r.plan", run.plan_json);
  visit("r.telemetry", run.telemetry_json);
  visit("r.disturbance", run.disturbance);
  visit("r.status", run.status);
  visit("r.position", run.position);
  visit("r.verdict", run.verdict.verdict);
  visit("r.verdict_figure", run.verdict.figure);
  visit("r.verdict_value", run.verdict.value);
  visit("r.verdict_threshold", run.verdict.threshold);
  visit("r.cause", run.failure.cause);
  visit("r.remedy", run.failure.remedy);
  visit("r.stage", run.failure.stage);
  visit("r.signal", run.failure.signal);
  visit(kNote, run.note);
  visit(kTags, run.tags);
  visit("r.prompt_fingerprint", run.parameters.prompt_fingerprint);
  for (const Parameter* parameter : stored_parameters()) {
    visit(("r." + std::string(parameter->name)).c_str(), *parameter);
  }
}

const std::string& select_runs_sql() {
  static const std::string kSql = [] {
    std::string columns;
    RunRecord run;
    std::int64_t environment_id = 0;
    visit_columns(run, environment_id, [&](const char* column, const auto&) {
      columns += (columns.empty() ? "" : ", ") + std::string(column);
    });
    return "SELECT " + columns + " FROM runs r JOIN models m ON m.id = r.model_id ";
  }();
  return kSql;
}

void read(const SQLite::Column& column, std::string& value) {
  value = column.getString();
}
void read(const SQLite::Column& column, std::int64_t& value) {
  value = column.getInt64();
}
void read(const SQLite::Column& column, int& value) {
  value = column.getInt();
}
void read(const SQLite::Column& column, bool& value) {
  value = column.getInt() != 0;
}
void read(const SQLite::Column& column, std::optional<double>& value) {
  if (!column.isNull()) value = column.getDouble();
}
void read(const SQLite::Column& column, RunStatus& value) {
  value = run_status_of(column.getString()).value_or(RunStatus::Failed);
}
void read(const SQLite::Column& column, Verdict& value) {
  value = verdict_of(column.getString()).value_or(Verdict::None);
}
void read(const SQLite::Column& column, std::vector<std::string>& value) {
  value = texts_of_json_array(column.getString());
}
krasis::ParameterValue read(const SQLite::Column& column, const Parameter& parameter) {
  const krasis::ParameterValue kind = parameter.default_value();
  if (std::holds_alternative<std::int64_t>(kind)) return column.getInt64();
  if (std::holds_alternative<double>(kind)) return column.getDouble();
  return column.getString();
}

std::shared_ptr<const EnvironmentRecord> read_environment(SQLite::Database& sqlite, std::int64_t id) {
  SQLite::Statement select(
      sqlite,
      "SELECT fingerprint, machine, cpu, memory_bytes, gpu, driver, kernel, build, facts, ceilings "
      "FROM environments WHERE id = ?");
  select.bind(1, id);
  if (!select.executeStep()) return nullptr;
  auto environment = std::make_shared<EnvironmentRecord>();
  environment->fingerprint = select.getColumn(0).getString();
  environment->machine = select.getColumn(1).getString();
  environment->cpu = select.getColumn(2).getString();
  environment->memory_bytes = select.getColumn(3).getInt64();
  environment->gpu = select.getColumn(4).getString();
  environment->driver = select.getColumn(5).getString();
  environment->kernel = select.getColumn(6).getString();
  environment->build = select.getColumn(7).getString();
  environment->facts_json = select.getColumn(8).getString();
  environment->ceilings_json = select.getColumn(9).getString();
  return environment;
}

/// Reads a row of select_runs_sql(); `environment_id` gets 0 when there is none. Corrupt for a parameter that cannot be
/// what the file says.
Expected<RunRecord> read_run(SQLite::Statement& row, std::int64_t& environment_id) {
  RunRecord run;
  int index = 0;
  Expected<void> done;
  visit_columns(run, environment_id, [&]<class Value>(const char*, Value& value) {
    const SQLite::Column column = row.getColumn(index++);
    if constexpr (std::is_same_v<Value, const Parameter>) {
      if (auto held = value.restore(run.parameters, read(column, value)); !held && done) done = std::move(held);
    } else {
      read(column, value);
    }
  });
  if (done) return run;
  return fail(ErrorCode::Corrupt, "Run " + run.uuid + " cannot be read: " + done.error().cause,
              "Update the program, if a newer one wrote the database.");
}

/// The WHERE clause of a filter and the texts to bind, in order.
struct Condition {
  std::string sql;
  std::vector<std::string> texts;
  void add(const std::string& clause, std::string text) {
    sql += (sql.empty() ? "WHERE " : " AND ") + clause;
    texts.push_back(std::move(text));
  }
};

Condition condition_of(const RunFilter& filter) {
  Condition condition;
  if (!filter.ids.empty()) condition.add("r.id IN (SELECT value FROM json_each(?))", json_array(filter.ids));
  if (!filter.uuids.empty()) condition.add("r.uuid IN (SELECT value FROM json_each(?))", json_array(filter.uuids));
  if (!filter.statuses.empty()) {
    std::vector<std::string> names;
    for (const RunStatus status : filter.statuses) names.emplace_back(name_of(status));
    condition.add("r.status IN (SELECT value FROM json_each(?))", json_array(names));
  }
  if (filter.sweep) condition.add("r.sweep = ?", *filter.sweep);
  if (!filter.text.empty()) {
    // instr() takes the text literally, unlike LIKE.
    condition.add("instr(lower(" + std::string(kModelName) +
                      " || ' ' || m.model_type || ' ' || r.sweep || ' ' || r.uuid || ' ' || r.status || ' ' || "
                      "r.verdict || ' ' || r.device || ' ' || r.hcs || ' ' || r.kv_cache || ' ' || note || ' ' || "
                      "tags), lower(?)) > "
                      "0",
                  filter.text);
  }
  return condition;
}

}  // namespace

Expected<std::vector<RunRecord>> Database::runs(const RunFilter& filter) {
  return connection_->guarded([&]() -> Expected<std::vector<RunRecord>> {
    const Condition condition = condition_of(filter);
    SQLite::Statement select(*connection_->sqlite, select_runs_sql() + condition.sql + " ORDER BY r.created_at " +
                                                       (filter.newest_first ? "DESC, r.id DESC" : ", r.id") +
                                                       " LIMIT ?");
    int index = 1;
    for (const std::string& text : condition.texts) select.bind(index++, text);
    select.bind(index, filter.limit);
    std::vector<RunRecord> runs;
    while (select.executeStep()) {
      std::int64_t environment_id = 0;
      KRASIS_TRY(RunRecord run, read_run(select, environment_id));
      runs.push_back(std::move(run));
      if (environment_id == 0) continue;
      auto& environment = connection_->environments[environment_id];
      if (!environment) environment = read_environment(*connection_->sqlite, environment_id);
      runs.back().environment = environment;
    }
    return runs;
  });
}

Expected<std::vector<RunRecord>> Database::queued_runs() {
  RunFilter filter;
  filter.statuses = {RunStatus::Queued};
  KRASIS_TRY(auto queued, runs(filter));
  std::sort(queued.begin(), queued.end(), [](const RunRecord& a, const RunRecord& b) {
    return std::pair(a.position, a.id) < std::pair(b.position, b.id);
  });
  return queued;
}

Expected<RunRecord> Database::run(RunId id) {
  RunFilter filter;
  filter.ids = {id};
  KRASIS_TRY(auto found, runs(filter));
  if (found.empty()) {
    return fail(ErrorCode::NotFound, "There is no run " + std::to_string(id) + " in the results database.",
                "Refresh the list of runs.");
  }
  return std::move(found.front());
}

Expected<std::vector<RunSummary>> Database::summaries(const RunFilter& filter) {
  return connection_->guarded([&]() -> Expected<std::vector<RunSummary>> {
    // One snapshot for both queries: a repetition that arrives between them belongs to the next call.
    SQLite::Transaction snapshot(*connection_->sqlite);
    KRASIS_TRY(auto records, runs(filter));
    std::vector<RunId> ids;
    for (const RunRecord& record : records) ids.push_back(record.id);
    std::unordered_map<RunId, std::vector<Repetition>> repetitions;
    SQLite::Statement select(*connection_->sqlite,
                             std::string("SELECT run_id, ") + kRepetitionColumns +
                                 " FROM repetitions WHERE warm_up = 0 AND run_id IN (SELECT value FROM json_each(?)) "
                                 "ORDER BY run_id, number");
    select.bind(1, json_array(ids));
    while (select.executeStep()) {
      repetitions[select.getColumn(0).getInt64()].push_back(read_repetition(select, 1));
    }
    std::vector<RunSummary> summaries;
    summaries.reserve(records.size());
    for (RunRecord& record : records) {
      const auto& samples = repetitions[record.id];
      summaries.push_back(summarize(std::move(record), samples));
    }
    return summaries;
  });
}

Expected<RunSummary> Database::summary(RunId id) {
  RunFilter filter;
  filter.ids = {id};
  KRASIS_TRY(auto found, summaries(filter));
  if (found.empty()) {
    return fail(ErrorCode::NotFound, "There is no run " + std::to_string(id) + " in the results database.",
                "Refresh the list of runs.");
  }
  return std::move(found.front());
}

Expected<std::vector<Repetition>> Database::repetitions(RunId run) {
  return connection_->guarded([&]() -> Expected<std::vector<Repetition>> {
    SQLite::Statement select(*connection_->sqlite,
                             std::string("SELECT ") + kRepetitionColumns + ", " + kRepetitionLargeColumns +
                                 " FROM repetitions WHERE run_id = ? ORDER BY warm_up DESC, number");
    select.bind(1, run);
    std::vector<Repetition> repetitions;
    while (select.executeStep()) {
      repetitions.push_back(read_repetition(select, 0));
      read_repetition_large(select, 8, repetitions.back());
    }
    return repetitions;
  });
}

Expected<std::vector<LogLine>> Database::log(RunId run, std::int64_t last) {
  return connection_->guarded([&]() -> Expected<std::vector<LogLine>> {
    SQLite::Statement select(
        *connection_->sqlite,
        "SELECT time, level, stage, text FROM (SELECT * FROM log WHERE run_id = ? ORDER BY id DESC "
        "LIMIT ?) ORDER BY id");
    select.bind(1, run);
    select.bind(2, last > 0 ? last : std::int64_t{-1});
    std::vector<LogLine> lines;
    while (select.executeStep()) {
      lines.push_back({select.getColumn(0).getString(), select.getColumn(1).getString(),
                       select.getColumn(2).getString(), select.getColumn(3).getString()});
    }
    return lines;
  });
}

Expected<std::int64_t> Database::run_count() {
  return connection_->guarded([&]() -> Expected<std::int64_t> {
    return connection_->sqlite->execAndGet("SELECT count(*) FROM runs").getInt64();
  });
}

Expected<std::vector<ModelRecord>> Database::models() {
  return connection_->guarded([&]() -> Expected<std::vector<ModelRecord>> {
    SQLite::Statement select(
        *connection_->sqlite,
        "SELECT fingerprint, name, model_type, architecture, synthetic FROM models ORDER BY name, id");
    std::vector<ModelRecord> models;
    while (select.executeStep()) {
      models.push_back({select.getColumn(0).getString(), select.getColumn(1).getString(),
                        select.getColumn(2).getString(), select.getColumn(3).getString(),
                        select.getColumn(4).getInt() != 0});
    }
    return models;
  });
}

}  // namespace krasis::results

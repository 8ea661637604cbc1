#include <algorithm>
#include <unordered_map>

#include "results_db/connection.h"
#include "results_db/parameter_columns.h"
#include "results_db/rows.h"

namespace krasis::results {

namespace {

/// The name of a run's model. The embedded one has the name by which it is asked for, whatever its folder is called;
/// of the same weights there is one row in `models`, whose name older programs took from the folder.
constexpr const char* kModelName =
    "CASE WHEN NOT json_valid(r.configuration) THEN m.name "
    "WHEN json_extract(r.configuration, '$.model') = 'embedded' THEN 'embedded' ELSE m.name END";

const std::string& select_runs_sql() {
  static const std::string kSql = [] {
    std::string columns;
    for (const ParameterColumn& column : parameter_columns()) columns += std::string(", r.") + column.name;
    return "SELECT r.id, r.uuid, r.created_at, r.started_at, r.finished_at, r.sweep, m.fingerprint, " +
           std::string(kModelName) +
           ", "
           "m.model_type, m.architecture, m.synthetic, r.environment_id, r.configuration, r.plan, r.telemetry, "
           "r.disturbance, r.status, "
           "r.position, "
           "r.verdict, r.verdict_figure, r.verdict_value, r.verdict_threshold, r.cause, r.remedy, r.stage, r.signal, "
           "ifnull((SELECT text FROM annotations WHERE run_id = r.id AND kind = 'note' ORDER BY id DESC LIMIT 1), '') "
           "AS note, "
           "ifnull((SELECT text FROM annotations WHERE run_id = r.id AND kind = 'tags' ORDER BY id DESC LIMIT 1), "
           "'[]') "
           "AS tags" +
           columns + " FROM runs r JOIN models m ON m.id = r.model_id ";
  }();
  return kSql;
}

std::optional<double> optional_double(const SQLite::Column& column) {
  if (column.isNull()) return std::nullopt;
  return column.getDouble();
}

void read_parameter(const SQLite::Column& column, RunParameters& parameters, std::int64_t RunParameters::*member) {
  parameters.*member = column.getInt64();
}
void read_parameter(const SQLite::Column& column, RunParameters& parameters, double RunParameters::*member) {
  parameters.*member = column.getDouble();
}
void read_parameter(const SQLite::Column& column, RunParameters& parameters, std::string RunParameters::*member) {
  parameters.*member = column.getString();
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

/// Reads a row of select_runs_sql(); `environment_id` gets 0 when there is none.
RunRecord read_run(SQLite::Statement& row, std::int64_t& environment_id) {
  RunRecord run;
  int column = 0;
  const auto text = [&] { return row.getColumn(column++).getString(); };
  run.id = row.getColumn(column++).getInt64();
  run.uuid = text();
  run.created_at = text();
  run.started_at = text();
  run.finished_at = text();
  run.sweep = text();
  run.model.fingerprint = text();
  run.model.name = text();
  run.model.model_type = text();
  run.model.architecture = text();
  run.model.synthetic = row.getColumn(column++).getInt() != 0;
  environment_id = row.getColumn(column++).getInt64();
  run.configuration_json = text();
  run.plan_json = text();
  run.telemetry_json = text();
  run.disturbance = text();
  run.status = run_status_of(text()).value_or(RunStatus::Failed);
  run.position = row.getColumn(column++).getInt64();
  run.verdict.verdict = verdict_of(text()).value_or(Verdict::None);
  run.verdict.figure = text();
  run.verdict.value = optional_double(row.getColumn(column++));
  run.verdict.threshold = optional_double(row.getColumn(column++));
  run.failure.cause = text();
  run.failure.remedy = text();
  run.failure.stage = text();
  run.failure.signal = row.getColumn(column++).getInt();
  run.note = text();
  run.tags = texts_of_json_array(text());
  for (const ParameterColumn& parameter : parameter_columns()) {
    const SQLite::Column value = row.getColumn(column++);
    std::visit([&](auto member) { read_parameter(value, run.parameters, member); }, parameter.member);
  }
  return run;
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
      runs.push_back(read_run(select, environment_id));
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

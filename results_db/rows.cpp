#include "results_db/rows.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/config/parameters.h"
#include "results_db/validation.h"

namespace krasis::results {

static_assert(std::endian::native == std::endian::little, "samples are stored as little-endian doubles");

namespace {

using Json = nlohmann::json;

/// JSON text of any bytes; what is no UTF-8 becomes U+FFFD.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Columns of what was run, each followed by `after`, with commas between them.
std::string parameter_columns(const char* after = "") {
  std::string columns;
  for (const Parameter* parameter : stored_parameters()) columns += std::string(parameter->name) + after + ", ";
  return columns + "prompt_fingerprint" + after;
}

/// Binds them from `index` on; returns the next index.
int bind_parameters(SQLite::Statement& statement, int index, const RunParameters& parameters) {
  for (const Parameter* parameter : stored_parameters()) {
    std::visit([&](const auto& value) { statement.bind(index++, value); }, parameter->value(parameters));
  }
  statement.bind(index++, parameters.prompt_fingerprint);
  return index;
}

void bind_optional(SQLite::Statement& statement, int index, const std::optional<double>& value) {
  if (value) {
    statement.bind(index, *value);
  } else {
    statement.bind(index);
  }
}

}  // namespace

std::string json_array(std::span<const std::string> texts) {
  Json array = Json::array();
  for (const std::string& text : texts) array.push_back(text);
  return dump(array);
}

std::string json_array(std::span<const RunId> ids) {
  std::string array = "[";
  for (const RunId id : ids) array += (array.size() > 1 ? "," : "") + std::to_string(id);
  return array + "]";
}

std::vector<std::string> texts_of_json_array(const std::string& json) {
  const Json array = Json::parse(json, nullptr, false);
  std::vector<std::string> texts;
  if (!array.is_array()) return texts;
  for (const Json& text : array) {
    if (text.is_string()) texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::int64_t model_row(SQLite::Database& sqlite, const ModelRecord& model) {
  SQLite::Statement find(sqlite, "SELECT id FROM models WHERE fingerprint = ?");
  find.bind(1, model.fingerprint);
  if (find.executeStep()) return find.getColumn(0).getInt64();
  SQLite::Statement insert(
      sqlite, "INSERT INTO models (fingerprint, name, model_type, architecture, synthetic) VALUES (?, ?, ?, ?, ?)");
  insert.bind(1, model.fingerprint);
  insert.bind(2, model.name);
  insert.bind(3, model.model_type);
  insert.bind(4, model.architecture);
  insert.bind(5, model.synthetic ? 1 : 0);
  insert.exec();
  return sqlite.getLastInsertRowid();
}

std::int64_t environment_row(SQLite::Database& sqlite, const EnvironmentRecord& e) {
  // Without a fingerprint of its own, the facts themselves are the fingerprint: equal facts, one row.
  std::string fingerprint = e.fingerprint;
  if (fingerprint.empty()) {
    fingerprint = dump(Json::array(
        {e.machine, e.cpu, e.memory_bytes, e.gpu, e.driver, e.kernel, e.build, e.facts_json, e.ceilings_json}));
  }
  SQLite::Statement find(sqlite, "SELECT id FROM environments WHERE fingerprint = ?");
  find.bind(1, fingerprint);
  if (find.executeStep()) return find.getColumn(0).getInt64();
  SQLite::Statement insert(sqlite,
                           "INSERT INTO environments (fingerprint, machine, cpu, memory_bytes, gpu, driver, kernel, "
                           "build, facts, ceilings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  int index = 1;
  insert.bind(index++, fingerprint);
  for (const std::string* text : {&e.machine, &e.cpu}) insert.bind(index++, *text);
  insert.bind(index++, e.memory_bytes);
  for (const std::string* text : {&e.gpu, &e.driver, &e.kernel, &e.build, &e.facts_json, &e.ceilings_json}) {
    insert.bind(index++, *text);
  }
  insert.exec();
  return sqlite.getLastInsertRowid();
}

RunId insert_run(SQLite::Database& sqlite, const NewRun& run) {
  const std::int64_t model = model_row(sqlite, run.model);
  std::string marks;
  for (std::size_t i = 0; i < stored_parameters().size(); ++i) marks += "?, ";
  SQLite::Statement insert(
      sqlite, "INSERT INTO runs (uuid, created_at, sweep, model_id, configuration, plan, status, position, " +
                  parameter_columns() +
                  ") VALUES (?, ?, ?, ?, ?, ?, 'queued', (SELECT ifnull(max(position), 0) + 1 FROM runs WHERE status = "
                  "'queued'), " +
                  marks + "?)");
  insert.bind(1, run.uuid.empty() ? new_uuid() : run.uuid);
  insert.bind(2, run.created_at.empty() ? utc_now() : run.created_at);
  insert.bind(3, run.sweep);
  insert.bind(4, model);
  insert.bind(5, run.configuration_json);
  insert.bind(6, run.plan_json);
  bind_parameters(insert, 7, run.parameters);
  insert.exec();
  return sqlite.getLastInsertRowid();
}

void update_parameters(SQLite::Database& sqlite, RunId run, const RunParameters& parameters) {
  SQLite::Statement update(sqlite, "UPDATE runs SET " + parameter_columns(" = ?") + " WHERE id = ?");
  const int next = bind_parameters(update, 1, parameters);
  update.bind(next, run);
  update.exec();
}

void insert_repetition(SQLite::Database& sqlite, RunId run, const Repetition& r) {
  SQLite::Statement insert(sqlite, std::string("INSERT INTO repetitions (run_id, ") + kRepetitionColumns + ", " +
                                       kRepetitionLargeColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.bind(1, run);
  insert.bind(2, r.warm_up ? 1 : 0);
  insert.bind(3, r.index);
  insert.bind(4, r.measured_at.empty() ? utc_now() : r.measured_at);
  insert.bind(5, r.prefill_tokens);
  insert.bind(6, r.prefill_s);
  insert.bind(7, r.ttft_s);
  insert.bind(8, r.decode_tokens);
  insert.bind(9, r.decode_s);
  // A null pointer would bind NULL, not an empty blob.
  const void* samples = r.decode_token_s.empty() ? static_cast<const void*>("") : r.decode_token_s.data();
  insert.bind(10, samples, static_cast<int>(r.decode_token_s.size() * sizeof(double)));
  insert.bind(11, r.metrics_json);
  insert.bind(12, r.output_text);
  insert.exec();
}

Repetition read_repetition(SQLite::Statement& row, int first) {
  Repetition r;
  r.warm_up = row.getColumn(first).getInt() != 0;
  r.index = row.getColumn(first + 1).getInt();
  r.measured_at = row.getColumn(first + 2).getString();
  r.prefill_tokens = row.getColumn(first + 3).getInt64();
  r.prefill_s = row.getColumn(first + 4).getDouble();
  r.ttft_s = row.getColumn(first + 5).getDouble();
  r.decode_tokens = row.getColumn(first + 6).getInt64();
  r.decode_s = row.getColumn(first + 7).getDouble();
  return r;
}

void read_repetition_large(SQLite::Statement& row, int first, Repetition& r) {
  const SQLite::Column samples = row.getColumn(first);
  const auto bytes = static_cast<std::size_t>(samples.getBytes());
  r.decode_token_s.resize(bytes / sizeof(double));
  if (!r.decode_token_s.empty()) {
    std::memcpy(r.decode_token_s.data(), samples.getBlob(), r.decode_token_s.size() * sizeof(double));
  }
  r.metrics_json = row.getColumn(first + 1).getString();
  r.output_text = row.getColumn(first + 2).getString();
}

void insert_log(SQLite::Database& sqlite, RunId run, std::span<const LogLine> lines) {
  SQLite::Statement insert(sqlite, "INSERT INTO log (run_id, time, level, stage, text) VALUES (?, ?, ?, ?, ?)");
  for (const LogLine& line : lines) {
    insert.bind(1, run);
    insert.bind(2, line.time.empty() ? utc_now() : line.time);
    insert.bind(3, line.level);
    insert.bind(4, line.stage);
    insert.bind(5, line.text);
    insert.exec();
    insert.reset();
  }
}

void insert_annotation(SQLite::Database& sqlite, RunId run, std::string_view kind, std::string_view text) {
  SQLite::Statement insert(sqlite, "INSERT INTO annotations (run_id, time, kind, text) VALUES (?, ?, ?, ?)");
  insert.bind(1, run);
  insert.bind(2, utc_now());
  insert.bind(3, std::string(kind));
  insert.bind(4, std::string(text));
  insert.exec();
}

bool update_outcome(SQLite::Database& sqlite, RunId run, const RunOutcome& outcome, const std::string& finished_at) {
  SQLite::Statement update(
      sqlite,
      "UPDATE runs SET status = ?, finished_at = ?, verdict = ?, verdict_figure = ?, verdict_value "
      "= ?, verdict_threshold = ?, cause = ?, remedy = ?, stage = ?, signal = ?, owner = '' "
      "WHERE id = ? AND status IN ('queued', 'running')");
  update.bind(1, std::string(name_of(outcome.status)));
  update.bind(2, finished_at);
  update.bind(3, std::string(name_of(outcome.verdict.verdict)));
  update.bind(4, outcome.verdict.figure);
  bind_optional(update, 5, outcome.verdict.value);
  bind_optional(update, 6, outcome.verdict.threshold);
  update.bind(7, outcome.failure.cause);
  update.bind(8, outcome.failure.remedy);
  update.bind(9, outcome.failure.stage);
  update.bind(10, outcome.failure.signal);
  update.bind(11, run);
  return update.exec() == 1;
}

bool run_exists(SQLite::Database& sqlite, RunId run) {
  SQLite::Statement find(sqlite, "SELECT 1 FROM runs WHERE id = ?");
  find.bind(1, run);
  return find.executeStep();
}

}  // namespace krasis::results

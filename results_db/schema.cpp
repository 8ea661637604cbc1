#include "results_db/schema.h"

#include <utility>
#include <vector>

#include "engine/config/parameters.h"

namespace krasis::results {

namespace {

constexpr const char* kTables = R"sql(
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  model_type TEXT NOT NULL,
  architecture TEXT NOT NULL,
  synthetic INTEGER NOT NULL CHECK (synthetic IN (0, 1))
);
CREATE TABLE environments (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  machine TEXT NOT NULL,
  cpu TEXT NOT NULL,
  memory_bytes INTEGER NOT NULL,
  gpu TEXT NOT NULL,
  driver TEXT NOT NULL,
  kernel TEXT NOT NULL,
  build TEXT NOT NULL,
  facts TEXT NOT NULL,
  ceilings TEXT NOT NULL
);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  started_at TEXT NOT NULL DEFAULT '',
  finished_at TEXT NOT NULL DEFAULT '',
  sweep TEXT NOT NULL,
  model_id INTEGER NOT NULL REFERENCES models (id),
  environment_id INTEGER REFERENCES environments (id),
  device TEXT NOT NULL,
  operations TEXT NOT NULL,
  device_count INTEGER NOT NULL,
  lgs INTEGER NOT NULL,
  hcs TEXT NOT NULL,
  hcs_share REAL NOT NULL,
  vram_budget_mib INTEGER NOT NULL,
  threads INTEGER NOT NULL,
  gpu_bits INTEGER NOT NULL,
  cpu_bits INTEGER NOT NULL,
  attention_bits INTEGER NOT NULL,
  dense_mlp_bits INTEGER NOT NULL,
  lm_head_bits INTEGER NOT NULL,
  group_size INTEGER NOT NULL,
  kv_cache TEXT NOT NULL,
  chunk_tokens INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  decode_tokens INTEGER NOT NULL,
  warmups INTEGER NOT NULL,
  repetitions INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  prompt_fingerprint TEXT NOT NULL,
  configuration TEXT NOT NULL,
  plan TEXT NOT NULL,
  status TEXT NOT NULL
    CHECK (status IN ('queued', 'running', 'done', 'failed', 'crashed', 'cancelled', 'out_of_memory')),
  position INTEGER NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL DEFAULT 'none' CHECK (verdict IN ('none', 'pass', 'fail')),
  verdict_figure TEXT NOT NULL DEFAULT '',
  verdict_value REAL,
  verdict_threshold REAL,
  cause TEXT NOT NULL DEFAULT '',
  remedy TEXT NOT NULL DEFAULT '',
  stage TEXT NOT NULL DEFAULT '',
  signal INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_status ON runs (status, position);
CREATE INDEX runs_by_sweep ON runs (sweep);
CREATE INDEX runs_by_model ON runs (model_id);
CREATE INDEX runs_by_environment ON runs (environment_id);
CREATE INDEX runs_by_device ON runs (device, device_count);
CREATE INDEX runs_by_lgs ON runs (lgs);
CREATE INDEX runs_by_hcs ON runs (hcs);
CREATE INDEX runs_by_gpu_bits ON runs (gpu_bits);
CREATE INDEX runs_by_cpu_bits ON runs (cpu_bits);
CREATE INDEX runs_by_attention_bits ON runs (attention_bits);
CREATE INDEX runs_by_lm_head_bits ON runs (lm_head_bits);
CREATE INDEX runs_by_kv_cache ON runs (kv_cache);
CREATE INDEX runs_by_prompt ON runs (prompt_tokens, prompt_fingerprint);
CREATE INDEX runs_by_decode_tokens ON runs (decode_tokens);
CREATE INDEX runs_by_seed ON runs (seed);
CREATE TABLE repetitions (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  warm_up INTEGER NOT NULL CHECK (warm_up IN (0, 1)),
  number INTEGER NOT NULL CHECK (number >= 0),
  measured_at TEXT NOT NULL,
  prefill_tokens INTEGER NOT NULL,
  prefill_s REAL NOT NULL,
  ttft_s REAL NOT NULL,
  decode_tokens INTEGER NOT NULL,
  decode_s REAL NOT NULL,
  decode_token_s BLOB NOT NULL,
  metrics TEXT NOT NULL,
  output_text TEXT NOT NULL,
  UNIQUE (run_id, warm_up, number)
);
CREATE TABLE log (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  level TEXT NOT NULL,
  stage TEXT NOT NULL,
  text TEXT NOT NULL
);
CREATE INDEX log_by_run ON log (run_id, id);
CREATE TABLE annotations (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  time TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('note', 'tags')),
  text TEXT NOT NULL
);
CREATE INDEX annotations_by_run ON annotations (run_id, kind, id);
)sql";

/// Results are evidence: the file itself refuses to change them. `owner` tells whether a running run's process lives.
constexpr const char* kEvidence = R"sql(
ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE TRIGGER runs_final BEFORE UPDATE ON runs WHEN OLD.status NOT IN ('queued', 'running')
BEGIN SELECT RAISE(ABORT, 'a run that has ended is never changed'); END;
CREATE TRIGGER runs_kept BEFORE DELETE ON runs WHEN OLD.status <> 'queued'
BEGIN SELECT RAISE(ABORT, 'a run that has started is never deleted'); END;
CREATE TRIGGER repetitions_of_running BEFORE INSERT ON repetitions
WHEN NOT EXISTS (SELECT 1 FROM runs WHERE id = NEW.run_id AND status = 'running')
BEGIN SELECT RAISE(ABORT, 'only a run that is running takes repetitions'); END;
CREATE TRIGGER repetitions_final BEFORE UPDATE ON repetitions
BEGIN SELECT RAISE(ABORT, 'a stored repetition is never changed'); END;
CREATE TRIGGER repetitions_kept BEFORE DELETE ON repetitions
BEGIN SELECT RAISE(ABORT, 'a stored repetition is never deleted'); END;
CREATE TRIGGER log_final BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'a stored log line is never changed'); END;
CREATE TRIGGER log_kept BEFORE DELETE ON log
WHEN EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id AND status <> 'queued')
BEGIN SELECT RAISE(ABORT, 'a stored log line is never deleted'); END;
CREATE TRIGGER annotations_final BEFORE UPDATE ON annotations
BEGIN SELECT RAISE(ABORT, 'an annotation is replaced by a newer one, never changed'); END;
CREATE TRIGGER annotations_kept BEFORE DELETE ON annotations
WHEN EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id AND status <> 'queued')
BEGIN SELECT RAISE(ABORT, 'an annotation is never deleted'); END;
)sql";

/// At most one row: who has the right to measure with this database (Database::begin_measuring).
constexpr const char* kMeasuring = R"sql(
CREATE TABLE measuring (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  owner TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  program TEXT NOT NULL,
  since TEXT NOT NULL,
  renewed_at TEXT NOT NULL
);
)sql";

/// Precisions become names of formats: a number of bits does not tell INT4 from MXFP4. And indexes go that no query of
/// the program uses; tests look at the plan of each query that has one.
constexpr std::pair<const char*, const char*> kRenamed[] = {{"gpu_bits", "gpu_format"},
                                                            {"cpu_bits", "cpu_format"},
                                                            {"attention_bits", "attention_format"},
                                                            {"dense_mlp_bits", "dense_mlp_format"},
                                                            {"lm_head_bits", "lm_head_format"}};
constexpr const char* kUnusedIndexes[] = {
    "model",          "environment",  "device",   "lgs",    "hcs",           "gpu_bits", "cpu_bits",
    "attention_bits", "lm_head_bits", "kv_cache", "prompt", "decode_tokens", "seed"};
constexpr const char* kFinal = R"sql(
CREATE TRIGGER runs_final BEFORE UPDATE ON runs WHEN OLD.status NOT IN ('queued', 'running')
BEGIN SELECT RAISE(ABORT, 'a run that has ended is never changed'); END;
)sql";

std::string formats_by_name() {
  std::string sql = "DROP TRIGGER runs_final;\n";
  for (const char* index : kUnusedIndexes) sql += "DROP INDEX IF EXISTS runs_by_" + std::string(index) + ";\n";
  for (const auto& [bits, format] : kRenamed) {
    const std::string old = bits, name = format;
    sql += "ALTER TABLE runs ADD COLUMN " + name + " TEXT NOT NULL DEFAULT '';\n";
    sql += "UPDATE runs SET " + name + " = CASE " + old +
           " WHEN 4 THEN 'int4' WHEN 8 THEN 'int8' WHEN 16 THEN 'bf16' ELSE " + old + " || ' bits' END;\n";
    sql += "ALTER TABLE runs DROP COLUMN " + old + ";\n";
  }
  return sql + kFinal;
}

/// Every column but parameters' that a step added to runs. `before` says what was true of older runs.
constexpr AddedColumn kAddedColumns[] = {{4, "telemetry", "{}"},   // nothing was seen of what GPUs did
                                         {8, "disturbance", ""}};  // nobody looked for other workers

std::string add_column(std::string_view name, std::string_view type, std::string_view before) {
  std::string sql = "ALTER TABLE runs ADD COLUMN ";
  sql.append(name).append(" ").append(type).append(" NOT NULL DEFAULT '").append(before).append("';\n");
  return sql;
}

/// An added parameter's column takes texts or numbers, as the parameter's values are.
std::string add_column(const Parameter& parameter) {
  const krasis::ParameterValue kind = parameter.default_value();
  const char* type = std::holds_alternative<std::string>(kind) ? "TEXT"
                     : std::holds_alternative<double>(kind)    ? "REAL"
                                                               : "INTEGER";
  return add_column(parameter.name, type, parameter.stored.before);
}

/// What only SQL can say, by the version that it leads to.
std::vector<std::string> written_steps() {
  std::vector<std::string> steps(9);
  steps[0] = kTables;
  steps[1] = kEvidence;
  steps[7] = kMeasuring;
  steps[8] = formats_by_name();
  return steps;
}

}  // namespace

std::span<const AddedColumn> added_columns() {
  return kAddedColumns;
}

std::span<const std::string> migrations() {
  static const std::vector<std::string> kMigrations = [] {
    std::vector<std::string> steps = written_steps();
    const auto step = [&steps](int version) -> std::string& {
      const auto count = static_cast<std::size_t>(version);
      if (steps.size() < count) steps.resize(count);
      return steps[count - 1];
    };
    for (const Parameter* parameter : stored_parameters()) {
      if (parameter->stored.since > 1) step(parameter->stored.since) += add_column(*parameter);
    }
    for (const AddedColumn& column : kAddedColumns) {
      step(column.version) += add_column(column.name, "TEXT", column.before);
    }
    return steps;
  }();
  return kMigrations;
}

}  // namespace krasis::results

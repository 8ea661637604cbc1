#pragma once

// Inside of the house only: rows from and to value structs. These functions throw SQLite::Exception; their callers run
// them in Connection::guarded() or write().

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results_db/records.h"

namespace krasis::results {

/// Id of the row with this fingerprint, made if there is none.
std::int64_t model_row(SQLite::Database& sqlite, const ModelRecord& model);
std::int64_t environment_row(SQLite::Database& sqlite, const EnvironmentRecord& environment);

/// Inserts a run as queued at the end of the queue.
RunId insert_run(SQLite::Database& sqlite, const NewRun& run);
void insert_repetition(SQLite::Database& sqlite, RunId run, const Repetition& repetition);
void insert_log(SQLite::Database& sqlite, RunId run, std::span<const LogLine> lines);
void insert_annotation(SQLite::Database& sqlite, RunId run, std::string_view kind, std::string_view text);
void update_parameters(SQLite::Database& sqlite, RunId run, const RunParameters& parameters);
/// Writes outcome, time and verdict into a run that has not ended; false if there is none.
bool update_outcome(SQLite::Database& sqlite, RunId run, const RunOutcome& outcome, const std::string& finished_at);
bool run_exists(SQLite::Database& sqlite, RunId run);

/// `["a","b"]`, what SQL's json_each() and the tags' column take.
std::string json_array(std::span<const std::string> texts);
std::string json_array(std::span<const RunId> ids);
std::vector<std::string> texts_of_json_array(const std::string& json);

/// Columns of the repetitions without the large ones (samples, metrics, text) first, then those.
inline constexpr const char* kRepetitionColumns =
    "warm_up, number, measured_at, prefill_tokens, prefill_s, ttft_s, decode_tokens, decode_s";
inline constexpr const char* kRepetitionLargeColumns = "decode_token_s, metrics, output_text";
/// Reads kRepetitionColumns from column `first` on.
Repetition read_repetition(SQLite::Statement& row, int first);
/// Reads kRepetitionLargeColumns from column `first` on.
void read_repetition_large(SQLite::Statement& row, int first, Repetition& repetition);

}  // namespace krasis::results

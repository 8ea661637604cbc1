#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "results_db/database.h"
#include "results_db/records.h"

namespace krasis::results {

/// One line for each run: identity, parameters, status, verdict, and of each metric n, mean, median, stddev, min, max
/// and confidence interval, unrounded. RFC 4180; numbers with a point whatever the locale.
std::string export_csv(std::span<const RunSummary> runs);

/// One line for each stored repetition, warm-ups included.
Expected<std::string> export_repetitions_csv(Database& database, const RunFilter& filter = {});

/// Everything: runs with parameters, configuration, plan, environment, samples, log and annotations. Import restores
/// it.
Expected<std::string> export_json(Database& database, const RunFilter& filter = {});

/// Adds the runs of an export_json() text; runs whose uuid exists are skipped. All or none.
/// Fails with Corrupt (no JSON, wrong types, impossible values), Unsupported (a newer format).
Expected<Database::ImportReport> import_json(Database& database, std::string_view text);

}  // namespace krasis::results

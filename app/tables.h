#pragma once

#include <string>

#include "results_db/database.h"

namespace krasis::cli {

/// Stored runs as "md" (GitHub Markdown), "csv" or "json".
Expected<std::string> table_of(results::Database& database, const results::RunFilter& filter, const std::string& format);

}  // namespace krasis::cli

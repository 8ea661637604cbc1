#include "app/tables.h"

#include "results_db/exchange.h"
#include "results_db/export_markdown.h"

namespace krasis::cli {

Expected<std::string> table_of(results::Database& database, const results::RunFilter& filter, const std::string& format) {
  if (format == "json") return results::export_json(database, filter);
  KRASIS_TRY(const std::vector<results::RunSummary> runs, database.summaries(filter));
  if (format == "csv") return results::export_csv(runs);
  results::MarkdownOptions options;
  if (filter.sweep) options.title = *filter.sweep;
  return results::export_markdown(runs, options);
}

}  // namespace krasis::cli

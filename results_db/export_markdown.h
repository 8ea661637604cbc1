#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results_db/records.h"

namespace krasis::results {

struct MarkdownOptions {
  std::string title = "Benchmarks";
  std::string date;  ///< after the title; empty: the UTC day of the newest run
  /// Folder of the Log column's links, `[log](runs/<uuid>.log)`; nothing: "run <first 8 of the uuid>".
  std::optional<std::string> log_directory;
  bool heading = true;  ///< title line
  bool spread = false;  ///< "10.57 ± 0.12" in the cells of figures (sample standard deviation)
  bool legend = true;   ///< "Column Legend"
  bool notes = true;    ///< "Notes": footnotes of verdicts and failures, n, spread, warnings
};

/// The runs as one GitHub Markdown page: heading, a Config line with what all rows share, the table (one row for each
/// run in the given order; parameters that vary get a column after HCS), legend and the notes that the rows need.
/// Numbers do not depend on the locale. Text from records is escaped.
std::string export_markdown(std::span<const RunSummary> runs, const MarkdownOptions& options = {});

/// `text` as it may stand in a cell or a line: pipes, line breaks and what Markdown or HTML would interpret escaped.
std::string escape_markdown(std::string_view text);

}  // namespace krasis::results

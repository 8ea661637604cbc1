#pragma once

#include <QString>
#include <vector>

#include "results_db/records.h"

namespace krasis::ui {

/// Why a run ended as it did: cause, remedy, stage and signal, a line each; empty if it ended well.
QString failure_text(const results::FailureRecord& failure);

/// Everything that somebody else needs to look into a run that went wrong: what it was, where and why it ended, the
/// last lines of its log, and its configuration.
QString run_report(const results::RunRecord& run, const std::vector<results::LogLine>& last_lines);

}  // namespace krasis::ui

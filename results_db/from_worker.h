#pragma once

#include <optional>
#include <vector>

#include "engine/protocol/protocol.h"
#include "engine/protocol/request_watch.h"
#include "results_db/records.h"

/// From what a worker says to what the results database keeps.
namespace krasis::results {

ModelRecord model_of(const protocol::ModelFacts& facts);
EnvironmentRecord environment_of(const protocol::MachineFacts& facts);
Repetition repetition_of(const protocol::Sample& sample);
VerdictRecord verdict_of(const protocol::VerdictFacts& facts);
RunOutcome outcome_of(const RequestEnd& end);
/// A run of the configuration, its model known by name alone: a worker has not read it yet.
NewRun new_run_of(const RunConfiguration& configuration, std::string sweep);
/// What an event leaves in the log, without times.
std::vector<LogLine> log_lines_of(const protocol::Event& event);
/// Why it ended badly, for the log; nothing if it did not.
std::optional<LogLine> log_line_of(const RunOutcome& outcome);

}  // namespace krasis::results

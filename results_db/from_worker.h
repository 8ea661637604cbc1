#pragma once

#include "engine/config/run_configuration.h"
#include "engine/worker/protocol.h"
#include "engine/worker/request_watch.h"
#include "results_db/records.h"

/// From what a worker says to what the results database keeps.
namespace krasis::results {

RunParameters parameters_of(const RunConfiguration& configuration);
ModelRecord model_of(const protocol::ModelFacts& facts);
EnvironmentRecord environment_of(const protocol::MachineFacts& facts);
Repetition repetition_of(const protocol::Sample& sample);
VerdictRecord verdict_of(const protocol::VerdictFacts& facts);
RunOutcome outcome_of(const RequestEnd& end);

}  // namespace krasis::results

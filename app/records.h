#pragma once

#include "engine/config/run_configuration.h"
#include "engine/worker/protocol.h"
#include "results_db/records.h"

/// From what a worker says to what the results database keeps.
namespace krasis::cli {

results::RunParameters parameters_of(const RunConfiguration& configuration);
results::ModelRecord model_of(const protocol::ModelFacts& facts);
results::EnvironmentRecord environment_of(const protocol::MachineFacts& facts);
results::Repetition repetition_of(const protocol::Sample& sample);
results::VerdictRecord verdict_of(const protocol::VerdictFacts& facts);

}  // namespace krasis::cli

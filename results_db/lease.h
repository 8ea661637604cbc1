#pragma once

// Inside of the house only, like rows.h: these functions throw SQLite::Exception.

#include <SQLiteCpp/SQLiteCpp.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "results_db/process_identity.h"
#include "results_db/records.h"

namespace krasis::results {

/// Takes or renews the right to measure for `here`, within the caller's transaction. Conflict while another has it.
Expected<void> take_lease(SQLite::Database& sqlite, const ProcessIdentity& here, const std::string& program);

/// Ends, as crashed, the runs that are `running` though their process is gone or, where nobody here can tell, does not
/// renew its right to measure any more. Returns their ids.
std::vector<RunId> end_interrupted(SQLite::Database& sqlite, const ProcessIdentity& here);

}  // namespace krasis::results

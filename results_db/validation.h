#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"
#include "results_db/records.h"

namespace krasis::results {

/// Each fails with InvalidArgument and the name of the field that is wrong.
Expected<void> validate(const ModelRecord& model);
Expected<void> validate(const EnvironmentRecord& environment);
Expected<void> validate(const RunParameters& parameters);
Expected<void> validate(const Repetition& repetition);
Expected<void> validate(const VerdictRecord& verdict);
/// A JSON object that nests at most 64 deep (writers and readers of JSON recurse).
Expected<void> validate_json_object(std::string_view text, std::string_view what);
/// "2026-02-22T10:11:12Z", with or without decimals of a second.
Expected<void> validate_time(std::string_view time, std::string_view what);
/// 36 characters, lower-case hexadecimal in the groups of RFC 4122: it becomes part of file names.
Expected<void> validate_uuid(std::string_view uuid);

std::string new_uuid();  ///< version 4, from the system's random source
std::string utc_now();   ///< with milliseconds
std::string utc_text(std::chrono::system_clock::time_point time);  ///< as utc_now()

}  // namespace krasis::results

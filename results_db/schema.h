#pragma once

#include <span>

namespace krasis::results {

/// "KRAS", in the file's header (PRAGMA application_id): other programs' SQLite files are refused.
inline constexpr int kApplicationId = 0x4b524153;

/// Step i (from 0) takes a file from schema version i to i + 1; PRAGMA user_version holds the version. A step that was
/// released is never changed: later needs are a new step.
std::span<const char* const> migrations();

}  // namespace krasis::results

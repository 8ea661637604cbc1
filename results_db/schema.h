#pragma once

#include <span>
#include <string>
#include <string_view>

namespace krasis::results {

/// "KRAS", in the file's header (PRAGMA application_id): other programs' SQLite files are refused.
inline constexpr int kApplicationId = 0x4b524153;

/// A column, besides those of parameters (Parameter::stored), that runs did not have from the beginning: a text.
struct AddedColumn {
  int version;             ///< of the first schema that has it
  std::string_view name;   ///< in the file and in exports
  std::string_view before; ///< its value for runs, and for exports, of an older schema
};

/// In order of their versions. Migrations add them to files, and the import of an export fills them in.
std::span<const AddedColumn> added_columns();

/// Step i (from 0) takes a file from schema version i to i + 1; PRAGMA user_version holds the version. A step that was
/// released is never changed: later needs are a new step.
std::span<const std::string> migrations();

}  // namespace krasis::results

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "results_db/records.h"

namespace krasis::results {

/// A field of RunParameters with the name that it has as a column and as a key in JSON and CSV.
struct ParameterColumn {
  const char* name;
  std::variant<std::int64_t RunParameters::*, double RunParameters::*, std::string RunParameters::*> member;
};

/// All fields, in the order of the struct.
std::span<const ParameterColumn> parameter_columns();

}  // namespace krasis::results

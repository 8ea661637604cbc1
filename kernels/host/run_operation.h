#pragma once

#include <exception>
#include <optional>
#include <string>

#include "kernels/host/command.h"

namespace krasis {

/// Runs an operation; what it throws becomes an Error that names it and its stream.
inline std::optional<Error> run_operation(const Operation& operation, const std::string& stream_name) {
  const auto error = [&](const std::string& what) {
    return Error{ErrorCode::Internal,
                 "Operation '" + operation.name + "' on stream '" + stream_name + "' failed: " + what,
                 "The results since then cannot be used; repeat the run and report this if it fails again."};
  };
  try {
    operation.run();
  } catch (const std::exception& exception) {
    return error(exception.what());
  } catch (...) {
    return error("an unknown exception");
  }
  return std::nullopt;
}

}  // namespace krasis

#pragma once

// Inside of the house only: SQLiteCpp and its exceptions do not leave it.

#include <SQLiteCpp/SQLiteCpp.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "results_db/database.h"

namespace krasis::results {

struct Database::Connection {
  std::filesystem::path path;
  std::unique_ptr<SQLite::Database> sqlite;
  bool read_only = false;
  std::string read_only_reason;
  int schema_version = 0;
  std::string program;  ///< as OpenOptions gave it
  ProcessIdentity identity;
  /// Environments never change: each is read once and shared by the records that have it.
  std::unordered_map<std::int64_t, std::shared_ptr<const EnvironmentRecord>> environments;

  /// Runs `body`, which returns an Expected, and turns SQLite's exceptions into errors.
  template <class Body>
  auto guarded(Body&& body) -> decltype(body());

  /// Runs `body` in one immediate transaction: committed if it succeeds, otherwise as if it had not been.
  template <class Body>
  auto write(Body&& body) -> decltype(body());

  Error translate(const SQLite::Exception& exception) const;
};

/// The same without a connection: errors of opening `path`.
Error translate_sqlite_error(const SQLite::Exception& exception, const std::filesystem::path& path);

template <class Body>
auto Database::Connection::guarded(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const SQLite::Exception& exception) {
    return tl::unexpected(translate(exception));
  } catch (const std::exception& exception) {
    return fail(ErrorCode::Internal, std::string("The results database failed: ") + exception.what() + ".");
  }
}

template <class Body>
auto Database::Connection::write(Body&& body) -> decltype(body()) {
  if (read_only) {
    return fail(ErrorCode::Unsupported, read_only_reason, "Nothing was stored; choose or make another database.");
  }
  return guarded([&]() -> decltype(body()) {
    SQLite::Transaction transaction(*sqlite, SQLite::TransactionBehavior::IMMEDIATE);
    auto result = body();
    if (result) transaction.commit();
    return result;
  });
}

}  // namespace krasis::results

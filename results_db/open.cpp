#include <sqlite3.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "results_db/connection.h"
#include "results_db/schema.h"

namespace krasis::results {

namespace fs = std::filesystem;

namespace {

/// Larger files are checked by check_integrity() on demand, not whenever they are opened.
constexpr std::uintmax_t kMaxBytesToCheck = 256u << 20;

std::string quoted(const fs::path& path) {
  return "\"" + path.string() + "\"";
}

int primary_code(const SQLite::Exception& exception) {
  return exception.getErrorCode() & 0xff;
}

/// What the file says about itself.
struct Header {
  int application_id = 0;
  int version = 0;
  bool empty = true;  ///< without any table
};

Header read_header(SQLite::Database& sqlite) {
  Header header;
  header.empty = sqlite.execAndGet("SELECT count(*) FROM sqlite_master").getInt() == 0;
  header.application_id = sqlite.execAndGet("PRAGMA application_id").getInt();
  header.version = sqlite.execAndGet("PRAGMA user_version").getInt();
  return header;
}

/// The path as an SQLite URI that promises that nobody changes the file.
std::string immutable_uri(const fs::path& path) {
  constexpr std::string_view kHexadecimal = "0123456789ABCDEF";
  std::string uri = "file://";
  for (const char c : path.string()) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                       c == '.' || c == '-' || c == '_';
    if (plain) {
      uri += c;
    } else {
      uri += '%';
      uri += kHexadecimal[byte >> 4];
      uri += kHexadecimal[byte & 15u];
    }
  }
  return uri + "?immutable=1";
}

Expected<void> check_path(const fs::path& path, OpenMode mode) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::directory) {
    return fail(ErrorCode::InvalidArgument, quoted(path) + " is a folder, not a results database.",
                "Name a file in it, for example " + quoted(path / "results.db") + ".");
  }
  if (status.type() == fs::file_type::not_found) {
    if (mode != OpenMode::Create) {
      return fail(ErrorCode::NotFound, "There is no results database " + quoted(path) + ".",
                  "Check the name, or run a benchmark to make it.");
    }
    if (!fs::is_directory(path.parent_path(), error)) {
      return fail(ErrorCode::NotFound, "The folder " + quoted(path.parent_path()) + " does not exist.",
                  "Make it, or choose another place for the results database.");
    }
    return {};
  }
  if (status.type() == fs::file_type::none) {
    return fail(ErrorCode::Io, quoted(path) + " cannot be reached: " + error.message() + ".",
                "Check the permissions of its folder.");
  }
  if (status.type() != fs::file_type::regular) {
    return fail(ErrorCode::InvalidArgument, quoted(path) + " is not a regular file.", "Choose another file.");
  }
  // The smallest page is 512 bytes; SQLite takes a file of one byte for an empty one and would overwrite it.
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (!error && bytes > 0 && bytes < 512) {
    return fail(ErrorCode::Corrupt, quoted(path) + " is not a results database (" + std::to_string(bytes) + " bytes).",
                "It was left as it is. Choose another file, or move it away to start a new database.");
  }
  return {};
}

/// Opens for reading. In a folder that may not be written, SQLite cannot make the files that WAL needs; without a log
/// that waits to be read, the file itself is then all there is.
std::unique_ptr<SQLite::Database> open_for_reading(const fs::path& path, int busy_timeout_ms) {
  try {
    auto sqlite = std::make_unique<SQLite::Database>(path.string(), SQLite::OPEN_READONLY, busy_timeout_ms);
    read_header(*sqlite);
    return sqlite;
  } catch (const SQLite::Exception& exception) {
    const int code = primary_code(exception);
    std::error_code error;
    const auto log_bytes = fs::file_size(path.string() + "-wal", error);
    const bool log_waits = !error && log_bytes > 0;
    if ((code != SQLITE_CANTOPEN && code != SQLITE_READONLY) || log_waits) throw;
    return std::make_unique<SQLite::Database>(immutable_uri(path), SQLite::OPEN_READONLY | SQLite::OPEN_URI,
                                              busy_timeout_ms);
  }
}

/// Brings the file to the current schema; several processes may try at once.
void migrate(SQLite::Database& sqlite) {
  SQLite::Transaction transaction(sqlite, SQLite::TransactionBehavior::IMMEDIATE);
  const Header header = read_header(sqlite);
  const auto steps = migrations();
  for (auto step = static_cast<std::size_t>(header.version); step < steps.size(); ++step) sqlite.exec(steps[step]);
  if (header.version < static_cast<int>(steps.size())) {
    sqlite.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
    sqlite.exec("PRAGMA user_version = " + std::to_string(steps.size()));
  }
  transaction.commit();
}

/// Changing the journal mode does not wait for locks by itself.
void use_wal(SQLite::Database& sqlite, int busy_timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
  while (true) {
    try {
      sqlite.execAndGet("PRAGMA journal_mode = WAL");
      return;
    } catch (const SQLite::Exception& exception) {
      if (primary_code(exception) != SQLITE_BUSY || std::chrono::steady_clock::now() >= deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

Expected<void> check_header(const Header& header, const fs::path& path, bool may_initialize) {
  if (header.empty && header.application_id == 0 && header.version == 0) {
    if (may_initialize) return {};
    return fail(ErrorCode::Corrupt, quoted(path) + " is empty.", "Choose another file, or run a benchmark to fill it.");
  }
  if (header.application_id != kApplicationId || header.version < 1) {
    return fail(ErrorCode::Unsupported, quoted(path) + " is the database of another program.",
                "It was left as it is. Choose another file.");
  }
  return {};
}

Expected<void> quick_check(SQLite::Database& sqlite, const fs::path& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  // SQLite reads zeros behind the end of a cut last page, and does not always notice.
  const bool cut = !error && bytes % static_cast<std::uintmax_t>(sqlite.execAndGet("PRAGMA page_size").getInt()) != 0;
  if (!cut && bytes > kMaxBytesToCheck) return {};
  const std::string finding = cut ? "its last page is cut off" : sqlite.execAndGet("PRAGMA quick_check(1)").getString();
  if (finding == "ok") return {};
  return fail(ErrorCode::Corrupt, "The results database " + quoted(path) + " is damaged (" + finding + ").",
              "It was left as it is. Restore a copy, or save what can be read with \"sqlite3 FILE .recover\".");
}

}  // namespace

int Database::current_schema_version() {
  return static_cast<int>(migrations().size());
}

Expected<Database> Database::open(const fs::path& given, const OpenOptions& options) {
  if (given.empty()) return fail(ErrorCode::InvalidArgument, "The results database has no name.", "Name a file.");
  std::error_code error;
  const fs::path path =
      fs::absolute(given, error);  // also keeps SQLite's special names (":memory:") from meaning anything
  KRASIS_CHECK(check_path(path, options.mode));
  auto connection = std::make_unique<Connection>();
  connection->path = path;
  connection->program = options.program;
  connection->identity = options.identity ? *options.identity : this_process();
  const auto become_read_only = [&](std::string reason) {
    connection->sqlite = open_for_reading(path, options.busy_timeout_ms);
    connection->read_only = true;
    connection->read_only_reason = std::move(reason);
  };
  try {
    if (options.mode == OpenMode::ReadOnly) {
      become_read_only("The results database was opened for reading only.");
    } else {
      const int create = options.mode == OpenMode::Create ? SQLite::OPEN_CREATE : 0;
      connection->sqlite =
          std::make_unique<SQLite::Database>(path.string(), SQLite::OPEN_READWRITE | create, options.busy_timeout_ms);
      if (sqlite3_db_readonly(connection->sqlite->getHandle(), "main") == 1) {
        become_read_only("The file " + quoted(path) + " is write-protected.");
      }
    }
    Header header;
    try {
      header = read_header(*connection->sqlite);
    } catch (const SQLite::Exception& exception) {
      const int code = primary_code(exception);
      if (connection->read_only || (code != SQLITE_CANTOPEN && code != SQLITE_READONLY)) throw;
      become_read_only("The folder of " + quoted(path) + " is write-protected.");
      header = read_header(*connection->sqlite);
    }
    KRASIS_CHECK(check_header(header, path, !connection->read_only));
    KRASIS_CHECK(quick_check(*connection->sqlite, path));
    const int current = current_schema_version();
    if (header.version > current && !connection->read_only) {
      become_read_only("The results database was written by a newer version of the program (schema " +
                       std::to_string(header.version) + ", this program knows " + std::to_string(current) + ").");
    }
    if (header.version < current && connection->read_only) {
      return fail(ErrorCode::Unsupported,
                  "The results database " + quoted(path) + " has an older schema (" + std::to_string(header.version) +
                      ") and cannot be upgraded: " + connection->read_only_reason,
                  "Open a copy of it where it may be written.");
    }
    if (!connection->read_only) {
      try {
        if (header.version < current) migrate(*connection->sqlite);
        header.version = current;
        use_wal(*connection->sqlite, options.busy_timeout_ms);
        SQLite::Transaction probe(*connection->sqlite, SQLite::TransactionBehavior::IMMEDIATE);
      } catch (const SQLite::Exception& exception) {
        const int code = primary_code(exception);
        if (code == SQLITE_BUSY && header.version == current) {
          become_read_only("The results database is locked by another program.");
        } else if ((code == SQLITE_READONLY || code == SQLITE_CANTOPEN) && header.version == current) {
          become_read_only("The results database " + quoted(path) + " or its folder is write-protected.");
        } else {
          throw;
        }
      }
    }
    connection->sqlite->exec("PRAGMA foreign_keys = ON");
    // In WAL mode FULL flushes the log at each commit: a repetition that was stored survives a power cut.
    connection->sqlite->exec("PRAGMA synchronous = FULL");
    connection->schema_version = header.version;
  } catch (const SQLite::Exception& exception) {
    return tl::unexpected(translate_sqlite_error(exception, path));
  }
  return Database(std::move(connection));
}

Database::Database(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

const fs::path& Database::path() const {
  return connection_->path;
}
bool Database::read_only() const {
  return connection_->read_only;
}
const std::string& Database::read_only_reason() const {
  return connection_->read_only_reason;
}
int Database::schema_version() const {
  return connection_->schema_version;
}

Expected<void> Database::check_integrity() {
  return connection_->guarded([&]() -> Expected<void> {
    const std::string finding = connection_->sqlite->execAndGet("PRAGMA integrity_check(1)").getString();
    if (finding != "ok") return fail(ErrorCode::Corrupt, "The results database is damaged (" + finding + ").");
    SQLite::Statement foreign_keys(*connection_->sqlite, "PRAGMA foreign_key_check");
    if (foreign_keys.executeStep()) {
      return fail(ErrorCode::Corrupt, "The results database refers to a row that is not there.");
    }
    return {};
  });
}

Expected<std::int64_t> Database::change_counter() {
  return connection_->guarded(
      [&]() -> Expected<std::int64_t> { return connection_->sqlite->execAndGet("PRAGMA data_version").getInt64(); });
}

}  // namespace krasis::results

#include "results_db/connection.h"

#include <sqlite3.h>

namespace krasis::results {

Error translate_sqlite_error(const SQLite::Exception& exception, const std::filesystem::path& path) {
  const std::string file = "\"" + path.string() + "\"";
  const std::string detail = std::string(" (") + exception.what() + ")";
  switch (exception.getErrorCode() & 0xff) {
    case SQLITE_NOTADB:
      return {ErrorCode::Corrupt, file + " is not a results database" + detail + ".",
              "It was left as it is. Choose another file, or move it away to start a new database."};
    case SQLITE_CORRUPT:
      return {ErrorCode::Corrupt, "The results database " + file + " is damaged" + detail + ".",
              "It was left as it is. Restore a copy, or save what can be read with \"sqlite3 FILE .recover\"."};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::Conflict, "The results database " + file + " is locked by another program" + detail + ".",
              "Close the other program or wait until it has finished, then try again."};
    case SQLITE_CONSTRAINT:
      return {ErrorCode::Conflict, "The results database refused the change" + detail + ".", "Nothing was changed."};
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return {ErrorCode::Io, "The results database " + file + " may not be written" + detail + ".",
              "Change the file's permissions or choose another database."};
    case SQLITE_FULL:
      return {ErrorCode::Io, "There is no room left for the results database " + file + detail + ".",
              "Free some space, then try again; what was stored before is safe."};
    case SQLITE_CANTOPEN:
      return {ErrorCode::Io, "The results database " + file + " cannot be opened" + detail + ".",
              "Check the permissions of the file and of its folder."};
    case SQLITE_IOERR:
      return {ErrorCode::Io, "Reading or writing the results database " + file + " failed" + detail + ".",
              "Check the disk, then try again."};
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return {ErrorCode::OutOfMemory, "A value is too large for the results database" + detail + ".",
              "It was not stored."};
    default:
      return {ErrorCode::Internal, "The results database " + file + " failed" + detail + ".", "Please report this."};
  }
}

Error Database::Connection::translate(const SQLite::Exception& exception) const {
  return translate_sqlite_error(exception, path);
}

}  // namespace krasis::results

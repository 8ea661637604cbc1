#include "results_db/connection.h"

#include <sqlite3.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace krasis::results {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Field 22 of /proc/PID/stat: when the process started, in ticks after boot. Empty when there is no such process.
std::string start_time(const std::string& process) {
  const std::string stat = first_line("/proc/" + process + "/stat");
  const auto name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos) return {};
  std::size_t at = name_end + 1;
  for (int field = 2; field < 21 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return {};
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

}  // namespace

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

std::string this_process() {
  const std::string process = std::to_string(::getpid());
  return boot_id() + ":" + process + ":" + start_time(process);
}

bool is_alive(const std::string& owner) {
  const auto first = owner.find(':');
  const auto last = owner.rfind(':');
  if (first == std::string::npos || first == last || owner.substr(0, first) != boot_id()) return false;
  const std::string started = owner.substr(last + 1);
  return !started.empty() && started == start_time(owner.substr(first + 1, last - first - 1));
}

}  // namespace krasis::results

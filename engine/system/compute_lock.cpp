#include "engine/system/compute_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace krasis {
namespace {

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return {text.data(), length};
}

tl::unexpected<Error> unusable(const std::filesystem::path& path, const std::string& why) {
  return fail(ErrorCode::Io, fmt::format("The file {} cannot be locked: {}.", path.string(), why),
              "Set XDG_RUNTIME_DIR to a folder of yours: the lock keeps two workers from computing at the same time.");
}

}  // namespace

std::filesystem::path ComputeLock::default_path() {
  constexpr const char* kName = "krasis-compute.lock";
  const std::string user = std::to_string(::geteuid());
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime != '\0') {
    return std::filesystem::path(runtime) / kName;
  }
  // A shell of ssh may lack the variable that the desktop's session has: both must find the same file.
  const std::filesystem::path session = "/run/user/" + user;
  if (::access(session.c_str(), W_OK | X_OK) == 0) return session / kName;
  return "/tmp/krasis-" + user + ".lock";
}

ComputeLock::ComputeLock(std::filesystem::path path) : path_(std::move(path)) {}

ComputeLock::~ComputeLock() {
  give_back();
  if (file_ >= 0) ::close(file_);
}

Expected<void> ComputeLock::open() {
  if (file_ >= 0) return {};
  // /tmp belongs to everybody: no link is followed, and a pipe in the file's place does not block.
  const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (file < 0) return unusable(path_, std::strerror(errno));
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) {
    ::close(file);
    return unusable(path_, "it is not a file of this user");
  }
  file_ = file;
  return {};
}

Expected<bool> ComputeLock::take(const std::string& what) {
  KRASIS_CHECK(open());
  while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return false;
    return unusable(path_, std::strerror(errno));
  }
  const std::string text = fmt::format("{} of process {}, since {}", what, ::getpid(), utc_time());
  const bool written = ::ftruncate(file_, 0) == 0 && ::pwrite(file_, text.data(), text.size(), 0) >= 0;
  (void)written;  // a full disk costs the explanation, not the lock
  return true;
}

void ComputeLock::give_back() {
  if (file_ < 0) return;
  // Only the holder may empty the file. Closing would do, too; the file stays, so that all lock the same one.
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) {
    (void)!::ftruncate(file_, 0);
    ::flock(file_, LOCK_UN);
  }
}

std::string ComputeLock::holder() const {
  std::array<char, 256> text{};
  const ssize_t length = file_ < 0 ? 0 : ::pread(file_, text.data(), text.size(), 0);
  return length > 0 ? std::string(text.data(), static_cast<std::size_t>(length)) : std::string();
}

}  // namespace krasis

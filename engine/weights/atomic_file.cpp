#include "engine/weights/atomic_file.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace krasis {
namespace {

tl::unexpected<Error> refused(const std::filesystem::path& path, int error) {
  return fail(ErrorCode::Io, path.string() + " cannot be written: " + std::strerror(error) + ".",
              "Check the folder's permissions and the free space.");
}

void remove_stale_temporaries(const std::filesystem::path& path) {
  std::error_code error;
  const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24);
  const std::string prefix = path.filename().string() + ".tmp-";
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), error)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    std::error_code ignored;
    const auto written = entry.last_write_time(ignored);
    if (!ignored && written < long_ago) std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Expected<AtomicFile> AtomicFile::create(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return refused(path, error.value());
  remove_stale_temporaries(path);
  std::string temporary = path.string() + ".tmp-XXXXXX";
  AtomicFile file;
  file.descriptor_ = mkostemp(temporary.data(), 0);
  if (file.descriptor_ < 0) return refused(path, errno);
  file.path_ = path;
  file.temporary_ = temporary;
  return file;
}

Expected<void> AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return refused(path_, written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Expected<void> AtomicFile::commit() {
  const int closed = close(std::exchange(descriptor_, -1));
  if (closed != 0) return refused(path_, errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return refused(path_, errno);
  temporary_.clear();
  return {};
}

}  // namespace krasis

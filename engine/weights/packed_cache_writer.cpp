#include <fcntl.h>
#include <oneapi/tbb/parallel_for.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "engine/weights/content_hash.h"
#include "engine/weights/packed_cache.h"

namespace krasis {
namespace {

constexpr std::string_view kPartialSuffix = ".partial";
const std::string kNoHash(PackedFile::kHashBytes, '0');

Error refused(const std::filesystem::path& path, int error) {
  return {ErrorCode::Io, path.string() + " cannot be written: " + std::strerror(error) + ".",
          "Check the folder's permissions and the free space."};
}

/// Whether the path still names the file that is open: its last owner may have renamed or removed it.
bool still_named(int descriptor, const std::filesystem::path& path) {
  struct stat open_file {
  }, named{};
  return fstat(descriptor, &open_file) == 0 && stat(path.c_str(), &named) == 0 && open_file.st_ino == named.st_ino &&
         open_file.st_dev == named.st_dev;
}

/// Opens a file and locks it for this process; made if absent.
Expected<int> open_locked(const std::filesystem::path& path) {
  for (;;) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) return tl::unexpected(refused(path, errno));
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      close(descriptor);
      if (error != EWOULDBLOCK) return tl::unexpected(refused(path, error));
      return fail(ErrorCode::Conflict, "Another process is making " + path.string() + ".");
    }
    if (still_named(descriptor, path)) return descriptor;
    close(descriptor);
  }
}

void remove_forgotten(const std::filesystem::path& directory, const std::filesystem::path& except) {
  std::error_code error;
  const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 7);
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (entry.path() == except || entry.path().extension() != kPartialSuffix) continue;
    const auto written = entry.last_write_time(ignored);
    if (ignored || written >= long_ago) continue;
    const Descriptor descriptor(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    if (descriptor.get() < 0 || flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (still_named(descriptor.get(), entry.path())) unlink(entry.path().c_str());
  }
}

}  // namespace

PackedCacheWriter::PackedCacheWriter(std::filesystem::path path, int descriptor, const PackedModel& model)
    : path_(std::move(path)),
      partial_(path_.string() + std::string(kPartialSuffix)),
      descriptor_(descriptor),
      file_(model),
      hashes_(file_.pieces().size(), kNoHash),
      states_(file_.pieces().size(), State::Missing),
      open_(file_.pieces().size()) {}

PackedCacheWriter::~PackedCacheWriter() {
  if (finished_) return;
  if (failed_ || taken_over_ + stored_ == 0) unlink(partial_.c_str());  // locked, so it is this one's
}

Expected<std::unique_ptr<PackedCacheWriter>> PackedCacheWriter::open(const std::filesystem::path& directory,
                                                                     const PackedModel& model, LoadMonitor& monitor) {
  const auto path = packed_cache_path(directory, model.fingerprint, model.precision);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return tl::unexpected(refused(path, error.value()));
  const std::filesystem::path partial = path.string() + std::string(kPartialSuffix);
  remove_forgotten(directory, partial);
  KRASIS_TRY(const int descriptor, open_locked(partial));
  std::unique_ptr<PackedCacheWriter> writer(new PackedCacheWriter(path, descriptor, model));
  KRASIS_CHECK(writer->prepare());
  writer->take_over(monitor);
  KRASIS_CHECK(monitor.outcome());
  return writer;
}

bool PackedCacheWriter::is_of_this_model() {
  std::string front(file_.front_bytes(), '\0');
  if (!read_exactly(descriptor_.get(), std::as_writable_bytes(std::span(front)), 0)) return false;
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    const std::string hash = front.substr(file_.hash_offset(i), PackedFile::kHashBytes);
    hashes_[i] = hash.find_first_not_of("0123456789abcdef") == std::string::npos ? hash : kNoHash;
    front.replace(file_.hash_offset(i), PackedFile::kHashBytes, kNoHash);
  }
  // A process may have died after it finished the file, before it renamed it.
  std::fill_n(front.begin(), PackedFile::kPrefixBytes, '\0');
  return front == file_.front(std::vector<std::string>(hashes_.size(), kNoHash), false);
}

/// Sees to the size and the header.
Expected<void> PackedCacheWriter::prepare() {
  const auto give_up = [this](int error) {
    failed_ = true;
    return tl::unexpected(refused(path_, error));
  };
  const bool known = is_of_this_model();
  if (!known) {
    std::fill(hashes_.begin(), hashes_.end(), kNoHash);
    if (ftruncate(descriptor_.get(), 0) != 0) return give_up(errno);
  }
  struct stat status {};
  struct statvfs space {};
  if (fstat(descriptor_.get(), &status) != 0) return give_up(errno);
  const auto allocated = static_cast<std::size_t>(status.st_blocks) * 512;
  if (fstatvfs(descriptor_.get(), &space) == 0 && allocated < file_.file_bytes() &&
      space.f_bavail * space.f_frsize < file_.file_bytes() - allocated) {
    failed_ = true;
    return fail(ErrorCode::Io, path_.string() + " cannot be written: the disk has too little space.");
  }
  if (ftruncate(descriptor_.get(), static_cast<off_t>(file_.file_bytes())) != 0) return give_up(errno);
  const std::string front = file_.front(hashes_, false);
  if (!write_exactly(descriptor_.get(), std::as_bytes(std::span(front)), 0)) return give_up(errno);
  return {};
}

/// Reads the pieces that have a hash; what does not have that hash is packed again.
void PackedCacheWriter::take_over(LoadMonitor& monitor) {
  std::vector<std::size_t> found;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    if (hashes_[i] == kNoHash) continue;
    found.push_back(i);
    bytes += file_.pieces()[i].bytes.size();
  }
  if (found.empty()) return;
  monitor.begin_stage("read partial cache", bytes);
  tbb::parallel_for(std::size_t{0}, found.size(), [&](std::size_t n) {
    const std::size_t i = found[n];
    const auto& piece = file_.pieces()[i];
    if (monitor.halted()) return;
    if (read_exactly(descriptor_.get(), piece.bytes, piece.offset) && content_hash(piece.bytes) == hashes_[i]) {
      states_[i] = State::TakenOver;
    } else {
      std::memset(piece.bytes.data(), 0, piece.bytes.size());
    }
    monitor.add(piece.bytes.size());
  });
  taken_over_ = static_cast<std::size_t>(std::count(states_.begin(), states_.end(), State::TakenOver));
  if (!monitor.halted()) monitor.end_stage();
}

bool PackedCacheWriter::has(const Range& range) const {
  const auto [first, last] = file_.pieces_of(range.region, range.offset, range.count);
  for (std::size_t i = first; i <= last; ++i) {
    if (states_[i] != State::TakenOver) return false;
  }
  return true;
}

void PackedCacheWriter::expect(const Range& range) {
  const auto [first, last] = file_.pieces_of(range.region, range.offset, range.count);
  for (std::size_t i = first; i <= last; ++i) ++open_[i];
}

void PackedCacheWriter::done(const Range& range) {
  const auto [first, last] = file_.pieces_of(range.region, range.offset, range.count);
  for (std::size_t i = first; i <= last; ++i) {
    // The last of a piece's threads sees what the others have packed.
    if (open_[i].fetch_sub(1, std::memory_order_acq_rel) == 1) store(i);
  }
}

void PackedCacheWriter::store(std::size_t i) {
  if (failed_) return;
  const auto& piece = file_.pieces()[i];
  if (states_[i] == State::TakenOver) return;
  hashes_[i] = content_hash(piece.bytes);
  if (!write_exactly(descriptor_.get(), piece.bytes, piece.offset) ||
      !write_exactly(descriptor_.get(), std::as_bytes(std::span(hashes_[i])), file_.hash_offset(i))) {
    fail_with(errno);
    return;
  }
  drop_file_cache(descriptor_.get(), piece.offset, piece.bytes.size());  // sends it to the disk
  states_[i] = State::Stored;
  ++stored_;
}

void PackedCacheWriter::fail_with(int error) {
  const std::lock_guard lock(error_mutex_);
  if (!error_) error_ = refused(path_, error);
  failed_ = true;
}

Expected<void> PackedCacheWriter::finish() {
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] == State::Missing) store(i);  // nothing but padding
  }
  static constexpr std::array<std::byte, PackedFile::kPageBytes> kZeros{};
  for (const auto& [offset, bytes] : file_.paddings()) {
    if (!failed_ && !write_exactly(descriptor_.get(), std::span(kZeros).first(bytes), offset)) fail_with(errno);
  }
  const std::string front = file_.front(hashes_, true);
  if (!failed_ && !write_exactly(descriptor_.get(), std::as_bytes(std::span(front)), 0)) fail_with(errno);
  if (!failed_ && rename(partial_.c_str(), path_.c_str()) != 0) fail_with(errno);
  if (failed_) return tl::unexpected(*error_);
  finished_ = true;
  drop_file_cache(descriptor_.get(), 0, 0);
  return {};
}

}  // namespace krasis

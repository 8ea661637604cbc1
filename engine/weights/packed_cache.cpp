#include "engine/weights/packed_cache.h"

#include <fcntl.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/weights/content_hash.h"
#include "engine/weights/host_pages.h"

namespace krasis {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20;

/// The hashes of the pieces, after checking magic, header and size.
Expected<std::vector<std::string>> read_hashes(int descriptor, const PackedFile& file) {
  const auto damaged = [](const char* what) { return fail(ErrorCode::Corrupt, what); };
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return damaged("it cannot be examined");
  const auto file_bytes = static_cast<std::size_t>(status.st_size);
  std::array<char, PackedFile::kPrefixBytes> prefix{};
  if (!read_exactly(descriptor, std::as_writable_bytes(std::span(prefix)), 0)) return damaged("it is truncated");
  std::uint64_t length = 0;
  std::memcpy(&length, prefix.data() + 16, 8);
  if (std::string_view(prefix.data(), PackedFile::kMagic.size()) != PackedFile::kMagic)
    return damaged("its magic number is wrong");
  if (length > kMaxHeaderBytes || length > file_bytes) return damaged("its header's length is wrong");
  std::string text(static_cast<std::size_t>(length), '\0');
  if (!read_exactly(descriptor, std::as_writable_bytes(std::span(text)), PackedFile::kPrefixBytes)) {
    return damaged("it is truncated");
  }
  if (content_hash(text) != std::string_view(prefix.data() + 24, 32)) {
    return damaged("the checksum of its header does not match");
  }
  const Json header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> hashes;
  if (header.is_object() && header.contains("chunk_hashes") && header["chunk_hashes"].is_array()) {
    for (const Json& hash : header["chunk_hashes"]) hashes.push_back(hash.is_string() ? hash.get<std::string>() : "");
  }
  const bool same = hashes.size() == file.pieces().size() &&
                    file.front(hashes, true).substr(PackedFile::kPrefixBytes, text.size()) == text;
  if (!same) return damaged("it belongs to another model");
  if (file_bytes != file.file_bytes()) return damaged("it is truncated");
  return hashes;
}

using Clock = std::chrono::steady_clock;
double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Reads pieces on one thread.
class PieceReader {
 public:
  explicit PieceReader(int descriptor) : descriptor_(descriptor) {}

  /// Whether the piece has its hash; false, too, if it was not read to its end, since the monitor is halted or the file
  /// has no more. Errors: OutOfMemory.
  Expected<bool> read(const PackedFile::Piece& piece, const std::string& hash, LoadMonitor& monitor) {
    ContentHasher hasher;
    std::size_t at = 0;
    for (; at < piece.bytes.size() && !monitor.halted(); at += kStepBytes) {
      const auto bytes = piece.bytes.subspan(at, std::min(kStepBytes, piece.bytes.size() - at));
      const auto begin = Clock::now();
      KRASIS_CHECK(piece.region->touch(static_cast<std::size_t>(bytes.data() - piece.region->data()), bytes.size()));
      const auto touched = Clock::now();
      if (!read_exactly(descriptor_, bytes, piece.offset + at)) return false;
      const auto read = Clock::now();
      hasher.add(bytes);
      sum_.touch_s += seconds(begin, touched);
      sum_.read_s += seconds(touched, read);
      sum_.verify_s += seconds(read, Clock::now());
      sum_.bytes += bytes.size();
      monitor.add(bytes.size());
    }
    const auto begin = Clock::now();
    drop_file_cache(descriptor_, piece.offset, piece.bytes.size());
    sum_.drop_s += seconds(begin, Clock::now());
    return at >= piece.bytes.size() && hasher.hash() == hash;
  }

  void add_to(CacheReading& all) const {
    all.bytes += sum_.bytes;
    all.touch_s += sum_.touch_s;
    all.read_s += sum_.read_s;
    all.verify_s += sum_.verify_s;
    all.drop_s += sum_.drop_s;
  }

 private:
  /// A huge page, so that what was read is still in the core's cache when it is hashed.
  static constexpr std::size_t kStepBytes = kHugePage;

  int descriptor_;
  CacheReading sum_;
};

}  // namespace

std::filesystem::path packed_cache_path(const std::filesystem::path& directory, const std::string& fingerprint,
                                        const Precision& precision) {
  return directory /
         (fingerprint + "-" + precision_text(precision) + "-v" + std::to_string(kPackedLayoutVersion) + ".packed");
}

Expected<CacheReading> read_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
                                         LoadMonitor& monitor) {
  const auto path = packed_cache_path(directory, model.fingerprint, model.precision);
  const auto damaged = [&path](const std::string& what) {
    return fail(ErrorCode::Corrupt, "The packed copy " + path.string() + " is damaged: " + what + ".");
  };
  const Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.get() < 0 && errno == ENOENT) return fail(ErrorCode::NotFound, "There is no packed copy yet.");
  if (descriptor.get() < 0) return damaged(std::strerror(errno));
  const PackedFile file(model);
  const auto hashes = read_hashes(descriptor.get(), file);
  if (!hashes) return damaged(hashes.error().cause);

  const auto& pieces = file.pieces();
  monitor.begin_stage("read cache", file.file_bytes() - file.front_bytes());
  constexpr std::size_t kNone = SIZE_MAX;
  std::atomic<std::size_t> bad_piece = kNone;
  tbb::enumerable_thread_specific<PieceReader> readers(descriptor.get());
  const auto begin = Clock::now();
  tbb::parallel_for(std::size_t{0}, pieces.size(), [&](std::size_t i) {
    if (monitor.halted() || bad_piece != kNone) return;
    auto right = readers.local().read(pieces[i], (*hashes)[i], monitor);
    if (!right) {
      monitor.fail_with(right.error());
    } else if (!*right && !monitor.halted()) {
      bad_piece = i;
    }
  });
  drop_file_cache(descriptor.get(), 0, 0);  // header and what lay across the borders of pieces
  KRASIS_CHECK(monitor.outcome());
  if (bad_piece != kNone) return damaged("the checksum of its piece " + std::to_string(bad_piece) + " does not match");
  for (const HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts}) region->collect();
  monitor.end_stage();
  CacheReading sum;
  for (const PieceReader& reader : readers) reader.add_to(sum);
  sum.wall_s = seconds(begin, Clock::now());
  return sum;
}

}  // namespace krasis

#include "engine/weights/packed_cache.h"

#include <fcntl.h>
#include <oneapi/tbb/parallel_for.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/weights/content_hash.h"

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

}  // namespace

std::filesystem::path packed_cache_path(const std::filesystem::path& directory, const std::string& fingerprint,
                                        const Precision& precision) {
  return directory /
         (fingerprint + "-" + precision_text(precision) + "-v" + std::to_string(kPackedLayoutVersion) + ".packed");
}

Expected<void> read_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
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
  tbb::parallel_for(std::size_t{0}, pieces.size(), [&](std::size_t i) {
    if (monitor.halted() || bad_piece != kNone) return;
    if (!read_exactly(descriptor.get(), pieces[i].bytes, pieces[i].offset) ||
        content_hash(pieces[i].bytes) != (*hashes)[i]) {
      bad_piece = i;
    }
    monitor.add(pieces[i].bytes.size());
  });
  KRASIS_CHECK(monitor.outcome());
  if (bad_piece != kNone) return damaged("the checksum of its piece " + std::to_string(bad_piece) + " does not match");
  monitor.end_stage();
  return {};
}

}  // namespace krasis

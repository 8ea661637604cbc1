#include "engine/weights/packed_cache.h"

#include <fcntl.h>
#include <oneapi/tbb/parallel_for.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/weights/atomic_file.h"
#include "engine/weights/content_hash.h"
#include "engine/weights/packed_layout.h"

namespace krasis {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMagic = "krasis packed 1\n";
constexpr std::size_t kPrefixBytes = 16 + 8 + 32;
constexpr std::size_t kChunkBytes = std::size_t{16} << 20;
constexpr std::size_t kPageBytes = 4096;
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20;

/// A piece of a region, at most kChunkBytes, and where it lies in the data behind the header.
struct Chunk {
  std::span<std::byte> bytes;
  std::size_t file_offset = 0;
};

std::vector<Chunk> chunks_of(const PackedModel& model) {
  std::vector<Chunk> chunks;
  std::size_t offset = 0;
  for (const HostRegion* region : {&model.dense, &model.gpu_experts, &model.cpu_experts}) {
    for (std::size_t begin = 0; begin < region->bytes(); begin += kChunkBytes) {
      const std::size_t count = std::min(kChunkBytes, region->bytes() - begin);
      chunks.push_back({{region->data() + begin, count}, offset + begin});
    }
    offset += round_up(region->bytes(), kPageBytes);
  }
  return chunks;
}

std::size_t data_bytes(const PackedModel& model) {
  return round_up(model.dense.bytes(), kPageBytes) + round_up(model.gpu_experts.bytes(), kPageBytes) +
         round_up(model.cpu_experts.bytes(), kPageBytes);
}

std::string precision_text(const Precision& p) {
  std::string text;
  for (const Element element : {p.gpu_experts, p.cpu_experts, p.attention, p.dense_mlp, p.lm_head}) {
    text += std::string(name_of(element)) + "-";
  }
  return text + "g" + std::to_string(p.group_size);
}

Json header_of(const PackedModel& model, const std::vector<std::string>& hashes) {
  return {{"fingerprint", model.fingerprint},
          {"precision", precision_text(model.precision)},
          {"layout_version", kPackedLayoutVersion},
          {"region_bytes", {model.dense.bytes(), model.gpu_experts.bytes(), model.cpu_experts.bytes()}},
          {"chunk_bytes", kChunkBytes},
          {"chunk_hashes", hashes}};
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

bool read_exactly(int descriptor, std::span<std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::size_t>(count);
  }
  return true;
}

/// Reads and checks magic, header and size; returns the header and the offset of the data.
Expected<std::pair<Json, std::size_t>> read_header(int descriptor, const PackedModel& model) {
  const auto damaged = [](const char* what) { return fail(ErrorCode::Corrupt, what); };
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return damaged("it cannot be examined");
  const auto file_bytes = static_cast<std::size_t>(status.st_size);
  std::array<char, kPrefixBytes> prefix{};
  if (!read_exactly(descriptor, std::as_writable_bytes(std::span(prefix)), 0)) return damaged("it is truncated");
  if (std::string_view(prefix.data(), kMagic.size()) != kMagic) return damaged("its magic number is wrong");
  std::uint64_t length = 0;
  std::memcpy(&length, prefix.data() + 16, 8);
  if (length > kMaxHeaderBytes || length > file_bytes) return damaged("its header's length is wrong");
  std::string text(static_cast<std::size_t>(length), '\0');
  if (!read_exactly(descriptor, std::as_writable_bytes(std::span(text)), kPrefixBytes)) {
    return damaged("it is truncated");
  }
  if (content_hash(text) != std::string_view(prefix.data() + 24, 32)) {
    return damaged("the checksum of its header does not match");
  }
  Json header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const std::size_t chunk_count = chunks_of(model).size();
  std::vector<std::string> hashes;
  if (header.is_object() && header["chunk_hashes"].is_array()) {
    for (const Json& hash : header["chunk_hashes"]) hashes.push_back(hash.is_string() ? hash.get<std::string>() : "");
  }
  if (header != header_of(model, hashes) || hashes.size() != chunk_count) return damaged("it belongs to another model");
  const std::size_t data_offset = round_up(kPrefixBytes + text.size(), kPageBytes);
  if (file_bytes != data_offset + data_bytes(model)) return damaged("it is truncated");
  return std::pair(std::move(header), data_offset);
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
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) return fail(ErrorCode::NotFound, "There is no packed copy yet.");
  if (file.get() < 0) return damaged(std::strerror(errno));
  auto header = read_header(file.get(), model);
  if (!header) return damaged(header.error().cause);
  const auto& [json, data_offset] = *header;
  const auto hashes = json["chunk_hashes"].get<std::vector<std::string>>();

  const auto chunks = chunks_of(model);
  monitor.begin_stage("read cache", data_bytes(model));
  constexpr std::size_t kNone = SIZE_MAX;
  std::atomic<std::size_t> bad_chunk = kNone;
  tbb::parallel_for(std::size_t{0}, chunks.size(), [&, offset = data_offset](std::size_t i) {
    if (monitor.halted() || bad_chunk != kNone) return;
    if (!read_exactly(file.get(), chunks[i].bytes, offset + chunks[i].file_offset) ||
        content_hash(chunks[i].bytes) != hashes[i]) {
      bad_chunk = i;
    }
    monitor.add(chunks[i].bytes.size());
  });
  KRASIS_CHECK(monitor.outcome());
  if (bad_chunk != kNone) return damaged("the checksum of its part " + std::to_string(bad_chunk) + " does not match");
  monitor.end_stage();
  return {};
}

Expected<void> write_packed_cache(const std::filesystem::path& directory, const PackedModel& model,
                                  LoadMonitor& monitor) {
  const auto path = packed_cache_path(directory, model.fingerprint, model.precision);
  const auto chunks = chunks_of(model);
  monitor.begin_stage("write cache", data_bytes(model));
  std::vector<std::string> hashes(chunks.size());
  tbb::parallel_for(std::size_t{0}, chunks.size(), [&](std::size_t i) {
    if (!monitor.halted()) hashes[i] = content_hash(chunks[i].bytes);
  });
  KRASIS_CHECK(monitor.outcome());

  KRASIS_TRY(AtomicFile file, AtomicFile::create(path));
  struct statvfs space {};
  if (statvfs(directory.c_str(), &space) == 0 && space.f_bavail * space.f_frsize < data_bytes(model)) {
    return fail(ErrorCode::Io, path.string() + " cannot be written: the disk has too little space.");
  }
  const std::string text = header_of(model, hashes).dump();
  std::string front(kMagic);
  const std::uint64_t length = text.size();
  front.append(reinterpret_cast<const char*>(&length), 8);
  front += content_hash(text) + text;
  front.resize(round_up(front.size(), kPageBytes), '\0');
  KRASIS_CHECK(file.write(std::as_bytes(std::span(front))));
  static constexpr std::array<std::byte, kPageBytes> kZeros{};
  for (const Chunk& chunk : chunks) {
    KRASIS_CHECK(monitor.outcome());
    KRASIS_CHECK(file.write(chunk.bytes));
    // kChunkBytes is a multiple of the page, so only a region's last chunk leaves something to pad.
    const std::size_t padding = round_up(chunk.bytes.size(), kPageBytes) - chunk.bytes.size();
    KRASIS_CHECK(file.write(std::span(kZeros).first(padding)));
    monitor.add(chunk.bytes.size());
  }
  KRASIS_CHECK(file.commit());
  monitor.end_stage();
  return {};
}

}  // namespace krasis

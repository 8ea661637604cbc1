#include "engine/weights/packed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "engine/weights/content_hash.h"

namespace krasis {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLeastPieceBytes = std::size_t{16} << 10;
constexpr std::size_t kMostPieceBytes = std::size_t{16} << 20;
constexpr std::size_t kPiecesWanted = 64;

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) close(value_);
}

bool read_exactly(int descriptor, std::span<std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = 0;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::size_t>(count);
  }
  return true;
}

bool write_exactly(int descriptor, std::span<const std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = ENOSPC;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::size_t>(count);
  }
  return true;
}

void drop_file_cache(int descriptor, std::size_t offset, std::size_t bytes) {
  posix_fadvise(descriptor, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

std::string precision_text(const Precision& p) {
  std::string text;
  for (const Element element : {p.gpu_experts, p.cpu_experts, p.attention, p.dense_mlp, p.lm_head}) {
    text += std::string(name_of(element)) + "-";
  }
  return text + "g" + std::to_string(p.group_size);
}

PackedFile::PackedFile(const PackedModel& model)
    : fingerprint_(model.fingerprint),
      precision_(precision_text(model.precision)),
      region_bytes_{model.dense.bytes(), model.gpu_experts.bytes(), model.cpu_experts.bytes()} {
  const std::size_t total = region_bytes_[0] + region_bytes_[1] + region_bytes_[2];
  piece_bytes_ = std::clamp(std::bit_ceil(total / kPiecesWanted), kLeastPieceBytes, kMostPieceBytes);
  const HostRegion* const regions[] = {&model.dense, &model.gpu_experts, &model.cpu_experts};
  std::size_t offset = 0;  // behind the front
  for (std::size_t r = 0; r < region_bytes_.size(); ++r) {
    first_piece_[r] = pieces_.size();
    const HostRegion* region = regions[r];
    const std::size_t bytes = region_bytes_[r];
    for (std::size_t begin = 0; begin < bytes; begin += piece_bytes_) {
      pieces_.push_back({{region->data() + begin, std::min(piece_bytes_, bytes - begin)}, offset + begin, region});
    }
    const std::size_t padded = round_up(bytes, kPageBytes);
    if (padded > bytes) paddings_.emplace_back(offset + bytes, padded - bytes);
    offset += padded;
  }
  const std::string text = header(std::vector<std::string>(pieces_.size(), std::string(kHashBytes, '0')));
  first_hash_ = kPrefixBytes + text.find("[\"") + 2;
  front_bytes_ = round_up(kPrefixBytes + text.size(), kPageBytes);
  for (Piece& piece : pieces_) piece.offset += front_bytes_;
  for (auto& padding : paddings_) padding.first += front_bytes_;
  file_bytes_ = front_bytes_ + offset;
}

std::string PackedFile::header(const std::vector<std::string>& hashes) const {
  // nlohmann sorts the keys: the hashes' list is the first one.
  return Json{{"chunk_bytes", piece_bytes_}, {"chunk_hashes", hashes},        {"fingerprint", fingerprint_},
              {"precision", precision_},     {"region_bytes", region_bytes_}, {"layout_version", kPackedLayoutVersion}}
      .dump();
}

std::string PackedFile::front(const std::vector<std::string>& hashes, bool finished) const {
  const std::string text = header(hashes);
  std::string front;
  if (finished) {
    front = kMagic;
    const std::uint64_t length = text.size();
    front.append(reinterpret_cast<const char*>(&length), 8);
    front += content_hash(text);
  } else {
    front.resize(kPrefixBytes, '\0');
  }
  front += text;
  front.resize(front_bytes_, '\0');
  return front;
}

std::size_t PackedFile::hash_offset(std::size_t piece) const {
  return first_hash_ + piece * (kHashBytes + std::string_view("\",\"").size());
}

std::pair<std::size_t, std::size_t> PackedFile::pieces_of(Region region, std::size_t offset, std::size_t count) const {
  const std::size_t first = first_piece_[static_cast<std::size_t>(region)];
  return {first + offset / piece_bytes_, first + (offset + count - 1) / piece_bytes_};
}

}  // namespace krasis

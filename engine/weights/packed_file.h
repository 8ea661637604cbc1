#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/weights/packed_layout.h"

namespace krasis {

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int get() const { return value_; }

 private:
  int value_;
};

/// pread and pwrite of all `bytes`; false with errno if that was not possible (0 at the file's end).
bool read_exactly(int descriptor, std::span<std::byte> bytes, std::size_t offset);
bool write_exactly(int descriptor, std::span<const std::byte> bytes, std::size_t offset);

/// Takes [offset, offset + bytes) of a file, 0 bytes = all behind, out of the system's file cache, so that it does not
/// compete with the weights for memory. What is not on the disk yet stays, on its way there. Best effort.
void drop_file_cache(int descriptor, std::size_t offset, std::size_t bytes);

/// Where the parts of a packed file (packed_cache.h) lie, for one model and precision:
///
///   16 bytes magic, 8 bytes length of the header, 32 bytes its hash (hexadecimal), the header (JSON: fingerprint,
///   precision, layout version, per region its bytes, and the hash of each piece), padding to 4 KiB, the regions, each
///   padded to 4 KiB. Integers little endian.
///
/// A piece is at most 16 MiB of one region; a small model has smaller ones, so that there are about 64. The header's
/// length does not depend on the hashes, so pieces have their place before these are known.
class PackedFile {
 public:
  static constexpr std::string_view kMagic = "krasis packed 1\n";
  static constexpr std::size_t kPrefixBytes = 16 + 8 + 32;
  static constexpr std::size_t kHashBytes = 32;
  static constexpr std::size_t kPageBytes = 4096;

  struct Piece {
    std::span<std::byte> bytes;          ///< in the model's region
    std::size_t offset = 0;              ///< in the file
    const HostRegion* region = nullptr;  ///< of the model
  };

  /// The regions of `model` are allocated or reserved and outlive this.
  explicit PackedFile(const PackedModel& model);

  const std::vector<Piece>& pieces() const { return pieces_; }
  /// The first and the last of the pieces that hold `count` > 0 bytes from `offset` on.
  std::pair<std::size_t, std::size_t> pieces_of(Region region, std::size_t offset, std::size_t count) const;
  /// All that lies before the first region. Unfinished: zeros in place of magic, length and header's hash, so that
  /// nobody takes the file for a whole one.
  std::string front(const std::vector<std::string>& hashes, bool finished) const;
  /// Where the hash of a piece stands in the file.
  std::size_t hash_offset(std::size_t piece) const;
  std::size_t front_bytes() const { return front_bytes_; }
  std::size_t file_bytes() const { return file_bytes_; }
  /// Places behind the regions, {offset, bytes}, that hold zeros.
  const std::vector<std::pair<std::size_t, std::size_t>>& paddings() const { return paddings_; }

 private:
  std::string header(const std::vector<std::string>& hashes) const;

  std::string fingerprint_, precision_;
  std::array<std::size_t, 3> region_bytes_{};
  std::array<std::size_t, 3> first_piece_{};
  std::size_t piece_bytes_ = 0, front_bytes_ = 0, file_bytes_ = 0, first_hash_ = 0;
  std::vector<Piece> pieces_;
  std::vector<std::pair<std::size_t, std::size_t>> paddings_;
};

/// "INT4-INT4-INT8-INT8-INT8-g128"
std::string precision_text(const Precision& precision);

}  // namespace krasis

#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/error.h"

namespace krasis {

/// A whole file, mapped read-only and private. A file that another program cuts short while it is mapped ends this
/// process (SIGBUS), as with every mapped file; engines run in a process of their own for such reasons.
class MappedFile {
 public:
  /// Errors: NotFound, Io; both name the file. An empty file has no bytes and is no error.
  static Expected<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile() = default;
  std::span<const std::byte> bytes_;
};

/// Takes the pages of a mapped file out of this process's resident memory, after use; they stay in the system's file
/// cache, and reading them again only costs a fault. `bytes` lie in a MappedFile.
void release_pages(std::span<const std::byte> bytes);

}  // namespace krasis

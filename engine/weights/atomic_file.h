#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/error.h"

namespace krasis {

/// A file that appears under its name whole or not at all: written under a temporary name beside it, then renamed. Two
/// processes that write the same file do not meet; the later rename stays. Not synced: whoever reads it checks
/// checksums.
class AtomicFile {
 public:
  /// Makes the parent directories. Removes temporaries of the same file that were left a day ago or earlier.
  /// Errors: Io, as of write and commit, with the operating system's reason.
  static Expected<AtomicFile> create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  /// Removes the temporary file unless committed.
  ~AtomicFile();

  Expected<void> write(std::span<const std::byte> bytes);
  Expected<void> commit();

 private:
  AtomicFile() = default;
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

}  // namespace krasis

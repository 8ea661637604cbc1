#pragma once

#include <filesystem>
#include <string>

#include "engine/weights/checkpoint.h"
#include "engine/weights/load_monitor.h"

namespace krasis {

/// Identifies a model's weights by their content: XXH3-128 over config.json and every tensor's name, dtype, shape and
/// bytes, in order of the names. How the tensors are spread over shards makes no difference. Reads every byte once, on
/// all cores. Errors: Cancelled.
Expected<std::string> weights_fingerprint(const Checkpoint& checkpoint, std::string_view config_text,
                                          LoadMonitor& monitor);

/// Remembers in `cache_directory` which fingerprint the files of a checkpoint had, so that they need not be read again
/// while their sizes, modification times and inodes stay.
class FingerprintMemory {
 public:
  /// Looks at the files as they are now: make it before hashing them.
  FingerprintMemory(const std::filesystem::path& cache_directory, const std::filesystem::path& model_directory,
                    const Checkpoint& checkpoint);
  /// "" if unknown, changed or unreadable.
  std::string recall() const;
  /// Errors: Io; harmless, the files are only hashed again the next time.
  Expected<void> remember(const std::string& fingerprint) const;

 private:
  std::filesystem::path path_;
  std::string identity_;  ///< JSON of names, sizes, times, inodes
};

}  // namespace krasis

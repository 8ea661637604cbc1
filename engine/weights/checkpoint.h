#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/weights/safetensors.h"

namespace krasis {

/// The weights of a folder in Hugging Face layout: model.safetensors, or the shards that model.safetensors.index.json
/// names.
class Checkpoint {
 public:
  struct Entry {
    const SafetensorsTensor* tensor = nullptr;
    const SafetensorsFile* file = nullptr;
  };

  /// Errors: NotFound without weights or without one of the shards; Corrupt for an index that is no JSON, names files
  /// outside of the folder, or says of a tensor what its shard does not; those of SafetensorsFile::open.
  static Expected<Checkpoint> open(const std::filesystem::path& directory);

  /// Sorted by the tensor's name; each name once.
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* find(std::string_view name) const;
  /// The files that were opened.
  std::vector<std::filesystem::path> files() const;

 private:
  std::vector<SafetensorsFile> files_;  // entries_ point into it; it is never changed after open
  std::vector<Entry> entries_;
};

}  // namespace krasis

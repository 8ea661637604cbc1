#include "engine/weights/checkpoint.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

namespace krasis {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMaxIndexBytes = 100'000'000;
constexpr const char* kIndexName = "model.safetensors.index.json";

/// File name of a shard -> the tensors that the index expects in it.
using ShardMap = std::map<std::string, std::vector<std::string>>;

Expected<ShardMap> read_index(const std::filesystem::path& path) {
  const auto corrupt = [&](const std::string& what) {
    return fail(ErrorCode::Corrupt, path.string() + ": " + what + ".", "Download the file again.");
  };
  KRASIS_TRY(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > kMaxIndexBytes) return corrupt("the index is larger than any index can be");
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, Json::parse_event_t, Json&) { return !(too_deep = too_deep || depth > 8); };
  const Json index = Json::parse(text, text + file.bytes().size(), watch, /*allow_exceptions=*/false);
  if (too_deep || index.is_discarded() || !index.is_object()) return corrupt("the index is not a valid JSON object");
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object() || weight_map->empty()) {
    return corrupt("the index has no weight_map");
  }
  ShardMap shards;
  for (const auto& [tensor, shard] : weight_map->items()) {
    if (!shard.is_string()) return corrupt("tensor " + tensor + " is mapped to something that is no file name");
    const auto& name = shard.get_ref<const std::string&>();
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      return corrupt("tensor " + tensor + " is mapped to \"" + name + "\", which is not a file name in this folder");
    }
    shards[name].push_back(tensor);
  }
  return shards;
}

}  // namespace

Expected<Checkpoint> Checkpoint::open(const std::filesystem::path& directory) {
  std::error_code error;
  ShardMap shards;
  const bool indexed = !std::filesystem::exists(directory / "model.safetensors", error);
  if (!indexed) {
    shards["model.safetensors"] = {};
  } else if (std::filesystem::exists(directory / kIndexName, error)) {
    KRASIS_TRY(shards, read_index(directory / kIndexName));
  } else {
    return fail(ErrorCode::NotFound, directory.string() + " has neither model.safetensors nor " + kIndexName + ".",
                "Choose a folder in Hugging Face layout; convert other weights to safetensors first.");
  }

  Checkpoint checkpoint;
  checkpoint.files_.reserve(shards.size());
  for (const auto& [name, expected_tensors] : shards) {
    const auto path = directory / name;
    if (!std::filesystem::exists(path, error)) {
      return fail(ErrorCode::NotFound, "Shard " + path.string() + ", which the index names, is missing.",
                  "Finish downloading the model.");
    }
    KRASIS_TRY(auto file, SafetensorsFile::open(path));
    for (const auto& tensor : expected_tensors) {
      if (file.find(tensor) != nullptr) continue;
      return fail(ErrorCode::Corrupt, path.string() + " has no tensor " + tensor + ", though the index says so.",
                  "Download the shard and the index again.");
    }
    checkpoint.files_.push_back(std::move(file));
  }
  for (const auto& file : checkpoint.files_) {
    for (const auto& tensor : file.tensors()) checkpoint.entries_.push_back({&tensor, &file});
  }
  auto& entries = checkpoint.entries_;
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.tensor->name < b.tensor->name; });
  const auto twice = std::adjacent_find(
      entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.tensor->name == b.tensor->name; });
  if (twice != entries.end()) {
    return fail(ErrorCode::Corrupt,
                "Tensor " + twice->tensor->name + " is in two shards: " + twice->file->path().string() + " and " +
                    (twice + 1)->file->path().string() + ".",
                "Download the model into an empty folder.");
  }
  return checkpoint;
}

const Checkpoint::Entry* Checkpoint::find(std::string_view name) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const Entry& entry, std::string_view key) { return entry.tensor->name < key; });
  return at != entries_.end() && at->tensor->name == name ? &*at : nullptr;
}

std::vector<std::filesystem::path> Checkpoint::files() const {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : files_) paths.push_back(file.path());
  return paths;
}

}  // namespace krasis

#include "engine/weights/fingerprint.h"

#include <oneapi/tbb/parallel_for.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/weights/atomic_file.h"
#include "engine/weights/content_hash.h"

namespace krasis {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kChunkBytes = std::size_t{16} << 20;  // part of the definition: changing it changes fingerprints

}  // namespace

Expected<std::string> weights_fingerprint(const Checkpoint& checkpoint, std::string_view config_text,
                                          LoadMonitor& monitor) {
  std::vector<std::span<const std::byte>> chunks;
  std::string description = content_hash(config_text) + "\n";
  std::size_t total = 0;
  for (const auto& [tensor, file] : checkpoint.entries()) {
    description += Json(tensor->name).dump(-1, ' ', false, Json::error_handler_t::replace) + " " +
                   Json(tensor->dtype).dump(-1, ' ', false, Json::error_handler_t::replace) + " " +
                   shape_text(tensor->shape) + "\n";
    for (std::size_t begin = 0; begin < tensor->bytes.size(); begin += kChunkBytes) {
      chunks.push_back(tensor->bytes.subspan(begin, std::min(kChunkBytes, tensor->bytes.size() - begin)));
    }
    total += tensor->bytes.size();
  }
  monitor.begin_stage("hash", total);
  std::vector<std::string> hashes(chunks.size());
  tbb::parallel_for(std::size_t{0}, chunks.size(), [&](std::size_t i) {
    if (monitor.halted()) return;
    hashes[i] = content_hash(chunks[i]);
    release_pages(chunks[i]);
    monitor.add(chunks[i].size());
  });
  KRASIS_CHECK(monitor.outcome());
  monitor.end_stage();
  for (const std::string& hash : hashes) description += hash;
  return content_hash(description);
}

FingerprintMemory::FingerprintMemory(const std::filesystem::path& cache_directory,
                                     const std::filesystem::path& model_directory, const Checkpoint& checkpoint) {
  auto files = checkpoint.files();
  files.push_back(model_directory / "config.json");
  Json identity = Json::array();
  for (const auto& file : files) {
    struct stat status {};
    if (stat(file.c_str(), &status) != 0) return;
    identity.push_back({file.filename().string(), static_cast<std::int64_t>(status.st_size),
                        static_cast<std::int64_t>(status.st_mtim.tv_sec),
                        static_cast<std::int64_t>(status.st_mtim.tv_nsec), static_cast<std::uint64_t>(status.st_ino)});
  }
  identity_ = identity.dump(-1, ' ', true, Json::error_handler_t::replace);
  std::error_code error;
  const auto canonical = std::filesystem::canonical(model_directory, error);
  path_ = cache_directory / "fingerprints" / (content_hash((error ? model_directory : canonical).string()) + ".json");
}

std::string FingerprintMemory::recall() const {
  if (path_.empty()) return {};
  const auto file = MappedFile::open(path_);
  if (!file) return {};
  const auto* text = reinterpret_cast<const char*>(file->bytes().data());
  const Json memory = Json::parse(text, text + file->bytes().size(), nullptr, /*allow_exceptions=*/false);
  if (!memory.is_object() || memory.value("files", Json()) != Json(identity_)) return {};
  const Json fingerprint = memory.value("fingerprint", Json());
  const bool sane =
      fingerprint.is_string() && fingerprint.get_ref<const std::string&>().size() == 32 &&
      fingerprint.get_ref<const std::string&>().find_first_not_of("0123456789abcdef") == std::string::npos;
  return sane ? fingerprint.get<std::string>() : std::string();
}

Expected<void> FingerprintMemory::remember(const std::string& fingerprint) const {
  if (path_.empty()) return {};
  KRASIS_TRY(AtomicFile file, AtomicFile::create(path_));
  const std::string text = Json{{"files", identity_}, {"fingerprint", fingerprint}}.dump();
  KRASIS_CHECK(file.write(std::as_bytes(std::span(text.data(), text.size()))));
  return file.commit();
}

}  // namespace krasis

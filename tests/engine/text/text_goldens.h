#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>

namespace krasis::test {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline nlohmann::ordered_json read_golden(const std::string& name) {
  const auto path = std::filesystem::path(KRASIS_SOURCE_DIR) / "tests/goldens/text" / (name + ".json");
  return nlohmann::ordered_json::parse(read_text(path));
}

/// A file of a published tokenizer, kept compressed beside the repository where there is room for it; nothing if
/// absent.
inline std::optional<std::string> read_published(const std::string& model, const std::string& file) {
  const auto path = std::filesystem::path(KRASIS_SOURCE_DIR) / "../shared/tokenizers" / model / (file + ".json.xz");
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::string command = "xz -dc '" + path.string() + "'";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string content;
  std::array<char, 1 << 16> buffer{};
  while (const std::size_t count = fread(buffer.data(), 1, buffer.size(), pipe.get()))
    content.append(buffer.data(), count);
  if (content.empty()) return std::nullopt;
  return content;
}

/// Small patched tokenizers of fixtures.json: the base with a JSON merge patch.
inline std::string fixture_json(const nlohmann::ordered_json& goldens, const nlohmann::ordered_json& patch) {
  auto patched = nlohmann::json::parse(goldens["base"].dump());
  patched.merge_patch(nlohmann::json::parse(patch.dump()));
  return patched.dump();
}

}  // namespace krasis::test

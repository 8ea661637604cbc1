#include "engine/text/json_guard.h"

namespace krasis::text {

namespace {
constexpr const char* kDownloadAgain = "Download or copy the file again.";
}

Expected<nlohmann::json> parse_json(std::string_view text, const std::string& what, int depth) {
  int level = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++level > depth)
        return fail(ErrorCode::Corrupt, what + " is nested more than " + std::to_string(depth) + " levels deep.",
                    kDownloadAgain);
    } else if (c == ']' || c == '}') {
      --level;
    }
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    const std::string reason = e.what();
    return fail(ErrorCode::Corrupt, what + " is not valid JSON: " + reason + ".", kDownloadAgain);
  }
}

const nlohmann::json* member(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Expected<bool> bool_member(const nlohmann::json& object, const char* key, bool absent, const std::string& what) {
  const nlohmann::json* value = member(object, key);
  if (!value) return absent;
  if (!value->is_boolean())
    return fail(ErrorCode::Corrupt, what + ": '" + key + "' is not true or false.", kDownloadAgain);
  return value->get<bool>();
}

Expected<std::string> string_member(const nlohmann::json& object, const char* key, const std::string& what) {
  const nlohmann::json* value = member(object, key);
  if (!value) return std::string();
  if (!value->is_string()) return fail(ErrorCode::Corrupt, what + ": '" + key + "' is not a string.", kDownloadAgain);
  return value->get<std::string>();
}

}  // namespace krasis::text

#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace krasis::text {

/// Parses JSON from outside. `what` begins the messages ("tokenizer.json"). Corrupt for a syntax error, invalid UTF-8
/// or nesting beyond `depth` (checked before parsing: later passes over the values are recursive).
Expected<nlohmann::json> parse_json(std::string_view text, const std::string& what, int depth);

/// The member `key` of an object, or nullptr if it is absent or null.
const nlohmann::json* member(const nlohmann::json& object, const char* key);

/// Optional members with a type; Corrupt if they have another one.
Expected<bool> bool_member(const nlohmann::json& object, const char* key, bool absent, const std::string& what);
Expected<std::string> string_member(const nlohmann::json& object, const char* key, const std::string& what);

}  // namespace krasis::text

#include "engine/model/config_reader.h"

#include <cmath>

namespace krasis {
namespace {

constexpr const char* kRemedy = "Check the file against the one that the model's publisher provides.";

/// A value as it may stand in a message: short.
std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& object, std::string where, std::string file)
    : object_(object), where_(std::move(where)), file_(std::move(file)) {}

tl::unexpected<Error> ConfigReader::wrong(const std::string& key, const std::string& what) const {
  return fail(ErrorCode::InvalidArgument, file_ + ": " + where_ + key + " " + what + ".", kRemedy);
}

const nlohmann::json* ConfigReader::value(const std::string& key) {
  read_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

Expected<std::int64_t> ConfigReader::as_integer(const nlohmann::json& value, const std::string& key, std::int64_t low,
                                                std::int64_t high) const {
  const std::string range = std::to_string(low) + " to " + std::to_string(high);
  if (!value.is_number_integer()) return wrong(key, "is " + shown(value) + ", but must be a whole number, " + range);
  const bool too_big = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (too_big || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
    return wrong(key, "is " + shown(value) + ", outside " + range);
  }
  return value.get<std::int64_t>();
}

Expected<std::int64_t> ConfigReader::integer(const std::string& key, std::int64_t low, std::int64_t high) {
  const auto* found = value(key);
  if (found == nullptr) return wrong(key, "is missing");
  return as_integer(*found, key, low, high);
}

Expected<std::int64_t> ConfigReader::integer(const std::string& key, std::int64_t low, std::int64_t high,
                                             std::int64_t absent) {
  const auto* found = value(key);
  if (found == nullptr) return absent;
  return as_integer(*found, key, low, high);
}

Expected<std::optional<double>> ConfigReader::number(const std::string& key, double low, double high) {
  const auto* found = value(key);
  if (found == nullptr) return std::optional<double>();
  if (!found->is_number()) return wrong(key, "is " + shown(*found) + ", but must be a number");
  const double number = found->get<double>();
  if (!(number >= low && number <= high)) return wrong(key, "is " + shown(*found) + ", outside its sensible range");
  return std::optional<double>(number);
}

Expected<bool> ConfigReader::boolean(const std::string& key, bool absent) {
  const auto* found = value(key);
  if (found == nullptr) return absent;
  if (!found->is_boolean()) return wrong(key, "is " + shown(*found) + ", but must be true or false");
  return found->get<bool>();
}

Expected<std::string> ConfigReader::text(const std::string& key, const std::string& absent) {
  const auto* found = value(key);
  if (found == nullptr) return absent;
  if (!found->is_string()) return wrong(key, "is " + shown(*found) + ", but must be a text");
  return found->get<std::string>();
}

Expected<std::vector<std::int64_t>> ConfigReader::integers(const std::string& key, std::int64_t low,
                                                           std::int64_t high) {
  std::vector<std::int64_t> list;
  const auto* found = value(key);
  if (found == nullptr) return list;
  if (!found->is_array()) {
    KRASIS_TRY(const std::int64_t one, as_integer(*found, key, low, high));
    return std::vector<std::int64_t>{one};
  }
  for (const auto& item : *found) {
    KRASIS_TRY(const std::int64_t one, as_integer(item, key, low, high));
    list.push_back(one);
  }
  return list;
}

std::vector<std::string> ConfigReader::unread() const {
  std::vector<std::string> keys;
  for (const auto& item : object_.items()) {
    if (!read_.contains(item.key())) keys.push_back(where_ + item.key());
  }
  return keys;  // nlohmann::json keeps them sorted
}

Expected<nlohmann::json> parse_json_object(std::string_view text, const std::string& what) {
  // A hostile file may nest without end; nothing here is deeper than a few levels.
  constexpr int kDeepest = 32;
  bool too_deep = false;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  auto json = nlohmann::json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded()) {
    return fail(ErrorCode::Corrupt, what + " is not valid JSON.", "Download the file again.");
  }
  if (!json.is_object()) return fail(ErrorCode::Corrupt, what + " is not a JSON object.", "Download the file again.");
  return json;
}

}  // namespace krasis

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace krasis {

/// Reads the keys of one JSON object, with ranges, and remembers which were asked for; what remains is unknown.
/// A key whose value is null counts as absent. Not part of the public interface.
class ConfigReader {
 public:
  /// `object` must outlive the reader and be a JSON object; `where` is put before key names ("" or
  /// "rope_parameters."), `file` before messages.
  explicit ConfigReader(const nlohmann::json& object, std::string where = {}, std::string file = "config.json");

  /// The integer of `key`, or InvalidArgument: absent, no integer, outside [low, high].
  Expected<std::int64_t> integer(const std::string& key, std::int64_t low, std::int64_t high);
  /// The same with a default for an absent key.
  Expected<std::int64_t> integer(const std::string& key, std::int64_t low, std::int64_t high, std::int64_t absent);
  Expected<std::optional<double>> number(const std::string& key, double low, double high);
  Expected<bool> boolean(const std::string& key, bool absent);
  Expected<std::string> text(const std::string& key, const std::string& absent);
  /// One number or a list of numbers; an absent key gives an empty list.
  Expected<std::vector<std::int64_t>> integers(const std::string& key, std::int64_t low, std::int64_t high);
  /// The raw value, or null when absent.
  const nlohmann::json* value(const std::string& key);
  void ignore(const std::string& key) { read_.insert(key); }

  /// Keys that nobody asked for, sorted.
  std::vector<std::string> unread() const;

 private:
  Expected<std::int64_t> as_integer(const nlohmann::json& value, const std::string& key, std::int64_t low,
                                    std::int64_t high) const;
  tl::unexpected<Error> wrong(const std::string& key, const std::string& what) const;

  const nlohmann::json& object_;
  std::string where_;
  std::string file_;
  std::set<std::string> read_;
};

/// JSON text -> object; Corrupt, naming `what`, if it is not one.
Expected<nlohmann::json> parse_json_object(std::string_view text, const std::string& what);

}  // namespace krasis

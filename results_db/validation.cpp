#include "results_db/validation.h"

#include <chrono>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/config/parameters.h"
#include "results_db/number_text.h"

namespace krasis::results {

namespace {

constexpr int kMaxJsonDepth = 64;
// Beyond these, sums of squares over repetitions could overflow; nothing that was measured comes near.
constexpr double kMaxSeconds = 1e9;
constexpr double kMaxSpeed = 1e15;  // tokens per second

tl::unexpected<Error> invalid(std::string_view what, const std::string& problem) {
  return fail(ErrorCode::InvalidArgument, std::string(what) + " " + problem, "Nothing was stored.");
}

/// "0" for digits, "x" for lower-case hexadecimal, anything else for itself.
bool has_shape(std::string_view text, std::string_view shape) {
  if (text.size() != shape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    const bool hexadecimal = digit || (text[i] >= 'a' && text[i] <= 'f');
    if (shape[i] == '0' ? !digit : shape[i] == 'x' ? !hexadecimal : text[i] != shape[i]) return false;
  }
  return true;
}

Expected<void> validate_duration(double seconds, std::string_view what) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kMaxSeconds)
    return invalid(what, "is no duration: " + exact(seconds) + ".");
  return {};
}

}  // namespace

Expected<void> validate_json_object(std::string_view text, std::string_view what) {
  bool too_deep = false;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  const auto json = nlohmann::json::parse(text, watch, false);
  if (too_deep) return invalid(what, "nests deeper than " + std::to_string(kMaxJsonDepth) + " levels.");
  if (!json.is_object()) return invalid(what, "is not a JSON object.");
  return {};
}

Expected<void> validate_time(std::string_view time, std::string_view what) {
  std::string_view digits = time;
  if (digits.size() > 21 && digits.size() < 32 && digits[19] == '.' && digits.back() == 'Z') {
    for (const char c : digits.substr(20, digits.size() - 21)) {
      if (c < '0' || c > '9') return invalid(what, "is no time in UTC.");
    }
    digits = digits.substr(0, 19);
  } else if (!digits.empty() && digits.back() == 'Z') {
    digits.remove_suffix(1);
  } else {
    digits = {};
  }
  if (!has_shape(digits, "0000-00-00T00:00:00")) return invalid(what, "is no time in UTC (2026-02-22T10:11:12Z).");
  return {};
}

Expected<void> validate_uuid(std::string_view uuid) {
  if (!has_shape(uuid, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
    return invalid("uuid", "is not in the form of RFC 4122.");
  return {};
}

Expected<void> validate(const ModelRecord& model) {
  if (model.fingerprint.empty()) return invalid("model fingerprint", "is empty.");
  if (model.name.empty()) return invalid("model name", "is empty.");
  return {};
}

Expected<void> validate(const EnvironmentRecord& environment) {
  if (environment.memory_bytes < 0) return invalid("memory_bytes", "is negative.");
  KRASIS_CHECK(validate_json_object(environment.facts_json, "facts_json"));
  return validate_json_object(environment.ceilings_json, "ceilings_json");
}

Expected<void> validate(const RunParameters& parameters) {
  for (const Parameter* parameter : stored_parameters()) {
    const krasis::ParameterValue value = parameter->value(parameters);
    const auto* integer = std::get_if<std::int64_t>(&value);
    const auto* real = std::get_if<double>(&value);
    if (integer != nullptr && *integer < 0) return invalid(parameter->name, "is negative.");
    if (real != nullptr && !(*real >= parameter->minimum && *real <= parameter->maximum)) {
      return invalid(parameter->name, "is not " + parameter->range_text() + ".");
    }
  }
  return {};
}

Expected<void> validate(const VerdictRecord& verdict) {
  if (verdict.value && !std::isfinite(*verdict.value)) return invalid("verdict value", "is not finite.");
  if (verdict.threshold && !std::isfinite(*verdict.threshold)) return invalid("verdict threshold", "is not finite.");
  return {};
}

Expected<void> validate(const Repetition& r) {
  if (r.index < 0) return invalid("index", "is negative.");
  if (r.prefill_tokens < 0) return invalid("prefill_tokens", "is negative.");
  if (r.decode_tokens < 0) return invalid("decode_tokens", "is negative.");
  KRASIS_CHECK(validate_duration(r.prefill_s, "prefill_s"));
  KRASIS_CHECK(validate_duration(r.ttft_s, "ttft_s"));
  KRASIS_CHECK(validate_duration(r.decode_s, "decode_s"));
  for (const double seconds : r.decode_token_s) KRASIS_CHECK(validate_duration(seconds, "decode_token_s"));
  // A duration of 0 for work that was done would become an infinite speed.
  if (r.prefill_tokens > 0 && r.prefill_s == 0) return invalid("prefill_s", "is 0 though tokens were read.");
  if (r.decode_tokens > 0 && r.decode_s == 0) return invalid("decode_s", "is 0 though tokens were written.");
  if (static_cast<double>(r.prefill_tokens) > kMaxSpeed * r.prefill_s) return invalid("prefill_s", "is too short.");
  if (static_cast<double>(r.decode_tokens) > kMaxSpeed * r.decode_s) return invalid("decode_s", "is too short.");
  if (!r.decode_token_s.empty() && static_cast<std::int64_t>(r.decode_token_s.size()) != r.decode_tokens) {
    return invalid("decode_token_s", "does not have one duration for each decoded token.");
  }
  return validate_json_object(r.metrics_json, "metrics_json");
}

std::string new_uuid() {
  std::random_device random;
  std::string uuid = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
  constexpr std::string_view kHexadecimal = "0123456789abcdef";
  for (char& c : uuid) {
    const unsigned nibble = random() & 0xfu;
    if (c == 'x') c = kHexadecimal[nibble];
    if (c == 'y') c = kHexadecimal[8u | (nibble & 3u)];
  }
  return uuid;
}

std::string utc_now() {
  return utc_text(std::chrono::system_clock::now());
}

std::string utc_text(std::chrono::system_clock::time_point time) {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(time);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds = static_cast<int>(now.time_since_epoch().count() % 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  const std::string decimals = std::to_string(1000 + milliseconds).substr(1);
  return std::string(text, length) + "." + decimals + "Z";
}

}  // namespace krasis::results

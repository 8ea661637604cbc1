#include "engine/config/configuration_io.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/config/parameters.h"
#include "engine/config/toml_support.h"

namespace krasis {

Expected<toml::table> parse_toml(std::string_view text) {
  if (text.size() > (std::size_t{4} << 20)) {
    return fail(ErrorCode::Corrupt, "The TOML text is larger than 4 MiB.", "Choose a sweep or configuration file.");
  }
  // A parser that recurses would follow hostile nesting down the stack.
  int depth = 0;
  for (const char c : text) {
    depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    if (depth > 64) return fail(ErrorCode::Corrupt, "The TOML text is nested too deeply.", "Check the brackets.");
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::Corrupt, fmt::format("Line {}: {}.", error.source().begin.line, error.description()),
                "Correct the TOML text there.");
  }
}

Expected<ParameterValue> parameter_value(const Parameter& parameter, const toml::node& node) {
  if (const auto* integer = node.as_integer()) return ParameterValue(integer->get());
  if (const auto* real = node.as_floating_point()) return ParameterValue(real->get());
  if (const auto* text = node.as_string()) return ParameterValue(text->get());
  return fail(ErrorCode::InvalidArgument,
              fmt::format("Line {}: {} is neither a number nor a text.", node.source().begin.line, parameter.name),
              "Write a number, or a text in quotes.");
}

Expected<void> set_from_toml(RunConfiguration& configuration, std::string_view name, const toml::node& node) {
  const Parameter* parameter = parameter_of_key(name);
  if (parameter == nullptr) return tl::unexpected(unknown_parameter(name));
  KRASIS_TRY(const ParameterValue value, parameter_value(*parameter, node));
  return parameter->set_value(configuration, value);
}

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 32 || c == 127) {
      result += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string toml_text(const ParameterValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) {
    std::string text = fmt::format("{}", *real);
    return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;  // "1" would be an integer
  }
  return toml_string(std::get<std::string>(value));
}

std::string to_toml(const RunConfiguration& configuration) {
  std::string text;
  const Parameter* previous = nullptr;
  for (const Parameter& parameter : parameters()) {
    if (previous == nullptr || previous->group != parameter.group) {
      text += fmt::format("{}# {}\n", previous == nullptr ? "" : "\n", name_of(parameter.group));
    }
    previous = &parameter;
    text += fmt::format("{} = {}\n", parameter.name, toml_text(parameter.value(configuration)));
  }
  return text;
}

nlohmann::ordered_json to_json_value(const RunConfiguration& configuration) {
  auto object = nlohmann::ordered_json::object();
  for (const Parameter& parameter : parameters()) {
    std::visit([&](const auto& value) { object[std::string(parameter.name)] = value; }, parameter.value(configuration));
  }
  return object;
}

std::string to_json(const RunConfiguration& configuration) {
  return to_json_value(configuration).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Expected<RunConfiguration> configuration_from_toml(std::string_view text, const RunConfiguration& base) {
  KRASIS_TRY(const toml::table table, parse_toml(text));
  RunConfiguration configuration = base;
  for (const auto& [key, node] : table) KRASIS_CHECK(set_from_toml(configuration, key.str(), node));
  return configuration;
}

Expected<RunConfiguration> configuration_from_json(std::string_view text, const RunConfiguration& base) {
  if (text.size() > (std::size_t{4} << 20)) return fail(ErrorCode::Corrupt, "The configuration is larger than 4 MiB.");
  try {
    return configuration_from_json_value(nlohmann::ordered_json::parse(text), base);
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::Corrupt, fmt::format("The configuration is no JSON: {}.", error.what()));
  }
}

std::optional<ParameterValue> parameter_value(const nlohmann::ordered_json& json) {
  const bool large = json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  if (json.is_number_float() || large) return json.get<double>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_string()) return json.get<std::string>();
  return std::nullopt;
}

Expected<RunConfiguration> configuration_from_json_value(const nlohmann::ordered_json& object,
                                                         const RunConfiguration& base) {
  if (!object.is_object()) return fail(ErrorCode::InvalidArgument, "A configuration must be a JSON object.");
  RunConfiguration configuration = base;
  for (const auto& [key, value] : object.items()) {
    const Parameter* parameter = parameter_of_key(key);
    if (parameter == nullptr) return tl::unexpected(unknown_parameter(key));
    const auto wanted = parameter_value(value);
    if (!wanted) {
      return fail(ErrorCode::InvalidArgument, fmt::format("{} is neither a number nor a text.", key),
                  "Write a number, or a text in quotes.");
    }
    KRASIS_CHECK(parameter->set_value(configuration, *wanted));
  }
  return configuration;
}

}  // namespace krasis

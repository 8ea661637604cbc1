#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/config/parameters.h"

namespace krasis {

/// One line for each parameter, in table order, under comments that name the groups.
std::string to_toml(const RunConfiguration& configuration);
/// A JSON object in one line, every parameter in table order.
std::string to_json(const RunConfiguration& configuration);
nlohmann::ordered_json to_json_value(const RunConfiguration& configuration);

/// Reads what the functions above write, or a part of it: what is missing is as in `base`. InvalidArgument for unknown
/// names (with the nearest), values of a wrong type or out of range; Corrupt (with the line) for text that is no TOML
/// or JSON. Combinations are not checked: validate() does.
Expected<RunConfiguration> configuration_from_toml(std::string_view text, const RunConfiguration& base = {});
Expected<RunConfiguration> configuration_from_json(std::string_view text, const RunConfiguration& base = {});
Expected<RunConfiguration> configuration_from_json_value(const nlohmann::ordered_json& object,
                                                         const RunConfiguration& base = {});

/// A JSON number or text as a parameter's value; none for anything else. A number beyond 2^63 is a real.
std::optional<ParameterValue> parameter_value(const nlohmann::ordered_json& json);

}  // namespace krasis

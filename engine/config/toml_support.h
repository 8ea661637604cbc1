#pragma once

#include <toml++/toml.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/config/parameters.h"

namespace krasis {

/// Parses TOML; Corrupt with line and reason, or when the text is over 4 MiB.
Expected<toml::table> parse_toml(std::string_view text);
/// The value of a TOML node for a parameter; InvalidArgument naming it for tables, dates, booleans.
Expected<ParameterValue> parameter_value(const Parameter& parameter, const toml::node& node);
/// Sets a parameter of `configuration` by name from a TOML node.
Expected<void> set_from_toml(RunConfiguration& configuration, std::string_view name, const toml::node& node);
/// As TOML writes it: texts in quotes and escaped, reals with a point.
std::string toml_text(const ParameterValue& value);
std::string toml_string(std::string_view text);

}  // namespace krasis

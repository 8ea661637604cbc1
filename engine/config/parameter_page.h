#pragma once

#include <string>

namespace krasis {

/// docs/configuration.md, made from the table of parameters: an introduction, then one Markdown table for each group.
std::string parameter_page();

}  // namespace krasis

#pragma once

#include <string_view>

#include "engine/text/jinja/ast.h"

namespace krasis::jinja {

/// Errors: Unsupported or InvalidArgument (syntax), with line and column.
Expected<Template> parse_template(std::string_view source);

}  // namespace krasis::jinja

#pragma once

#include <string>

#include "engine/text/chat_template.h"
#include "engine/text/jinja/ast.h"

namespace krasis::jinja {

/// Renders a parsed template with `variables` (an object). Errors: see ChatTemplate::render.
Expected<std::string> render(const Template& parsed, const nlohmann::ordered_json& variables,
                             const ChatTemplateLimits& limits);

}  // namespace krasis::jinja

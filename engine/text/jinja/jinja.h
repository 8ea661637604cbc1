#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

/// The subset of Jinja that chat templates use. It knows templates and values, no chats; ChatTemplate lists what it
/// supports.
///
/// Why it is written here and not taken over: Debian 12 has no package for it. inja knows neither macros nor
/// namespaces. Jinja2Cpp needs Boost and differs from Jinja2; gpt4all left it for minja. llama.cpp left minja for code
/// of its own (common/jinja, MIT), which is the one that could be copied, and is as large as this.
namespace krasis::jinja {

/// A parsed template.
struct Template;

/// Bounds on the work of one rendering; beyond them it fails, so that any template ends.
struct Limits {
  std::int64_t steps = 5'000'000;  ///< evaluated nodes and copied values
  std::size_t output_bytes = std::size_t{16} << 20;
  std::size_t string_bytes = std::size_t{256} << 20;  ///< of all strings made on the way
  std::optional<std::time_t> now;                     ///< what strftime_now shows; the system's clock by default
};

/// Errors: Unsupported or InvalidArgument (syntax), with line and column.
Expected<std::shared_ptr<const Template>> parse(std::string_view source);

/// Renders with `variables` (an object). Errors: see ChatTemplate::render.
Expected<std::string> render(const Template& parsed, const nlohmann::ordered_json& variables, const Limits& limits);

}  // namespace krasis::jinja

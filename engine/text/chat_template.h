#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/text/jinja/jinja.h"

namespace krasis {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant", ...
  std::string content;
};

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  std::string bos_token;
  std::string eos_token;
  /// More variables, an object: e.g. {"enable_thinking": false, "tools": [...]}. They win over those above.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

using ChatTemplateLimits = jinja::Limits;

/// A chat template: the subset of Jinja that such templates use, rendered as Hugging Face's transformers does
/// (trim_blocks, lstrip_blocks, no autoescape, undefined variables print as nothing).
///
/// Statements: for (with if and else, unpacking, break, continue), if, set (also blocks and namespace attributes),
/// macro. Expressions: literals, attributes, subscripts, slices, + - * / // % ~, comparisons, in, and, or, not, inline
/// if, calls. Filters, tests, methods and functions stand in the tables of jinja/filters.cpp and
/// jinja/methods.cpp. Anything else fails in parse() with Unsupported and its line and column.
/// Differences from Python: integers have 64 bits; upper and lower map each character to one character.
class ChatTemplate {
 public:
  /// Unsupported, or InvalidArgument for a syntax error; both name line and column.
  static Expected<ChatTemplate> parse(std::string_view text);

  /// The prompt for a conversation. InvalidArgument with the template's own words when it refuses (raise_exception),
  /// or with line and column when it fails (undefined values, wrong types, limits).
  Expected<std::string> render(std::span<const ChatMessage> messages, const ChatTemplateOptions& options = {},
                               const ChatTemplateLimits& limits = {}) const;

  /// Renders with these variables (an object) alone: for messages that carry more than role and content.
  Expected<std::string> render_variables(const nlohmann::ordered_json& variables,
                                         const ChatTemplateLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Template> parsed) : template_(std::move(parsed)) {}
  std::shared_ptr<const jinja::Template> template_;
};

}  // namespace krasis

#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace krasis {

namespace jinja {
struct Template;
}

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

/// Bounds on the work of one rendering; beyond them it fails, so that any template ends.
struct ChatTemplateLimits {
  std::int64_t steps = 5'000'000;  ///< evaluated nodes and copied values
  std::size_t output_bytes = std::size_t{16} << 20;
  std::size_t string_bytes = std::size_t{256} << 20;  ///< of all strings made on the way
  std::optional<std::time_t> now;                     ///< what strftime_now shows; the system's clock by default
};

/// A chat template: the subset of Jinja that such templates use, rendered as Hugging Face's transformers does
/// (trim_blocks, lstrip_blocks, no autoescape, undefined variables print as nothing).
///
/// Statements: for (with if and else, unpacking, break, continue), if, set (also blocks and namespace attributes),
/// macro. Expressions: literals, attributes, subscripts, slices, + - * / // % ~, comparisons, in, and, or, not, inline
/// if, calls. Filters, tests and methods are listed in jinja/builtins.h; functions: namespace, range, dict,
/// raise_exception, strftime_now. Anything else fails in parse() with Unsupported and its line and column.
/// Differences from Python: integers have 64 bits; upper and lower map each character to one character.
class ChatTemplate {
 public:
  /// Unsupported, or InvalidArgument for a syntax error; both name line and column.
  static Expected<ChatTemplate> parse(std::string_view text);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// The prompt for a conversation. InvalidArgument with the template's own words when it refuses (raise_exception),
  /// or with line and column when it fails (undefined values, wrong types, limits).
  Expected<std::string> render(std::span<const ChatMessage> messages, const ChatTemplateOptions& options = {},
                               const ChatTemplateLimits& limits = {}) const;

  /// Renders with these variables (an object) alone: for messages that carry more than role and content.
  Expected<std::string> render_variables(const nlohmann::ordered_json& variables,
                                         const ChatTemplateLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::unique_ptr<const jinja::Template> parsed);
  std::unique_ptr<const jinja::Template> template_;
};

}  // namespace krasis

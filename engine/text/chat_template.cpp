#include "engine/text/chat_template.h"

namespace krasis {

Expected<ChatTemplate> ChatTemplate::parse(std::string_view text) {
  KRASIS_TRY(std::shared_ptr<const jinja::Template> parsed, jinja::parse(text));
  return ChatTemplate(std::move(parsed));
}

Expected<std::string> ChatTemplate::render(std::span<const ChatMessage> messages, const ChatTemplateOptions& options,
                                           const ChatTemplateLimits& limits) const {
  auto variables = nlohmann::ordered_json::object();
  variables["messages"] = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages)
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  // As transformers' apply_chat_template: both are defined, tokens only if the tokenizer has them.
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  if (!options.bos_token.empty()) variables["bos_token"] = options.bos_token;
  if (!options.eos_token.empty()) variables["eos_token"] = options.eos_token;
  if (options.variables.is_object())
    for (const auto& [name, value] : options.variables.items()) variables[name] = value;
  return render_variables(variables, limits);
}

Expected<std::string> ChatTemplate::render_variables(const nlohmann::ordered_json& variables,
                                                     const ChatTemplateLimits& limits) const {
  return jinja::render(*template_, variables, limits);
}

}  // namespace krasis

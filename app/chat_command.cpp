#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <memory>

#include "app/cli.h"
#include "engine/text/detokenizer.h"
#include "engine/worker/compute_turn.h"

namespace krasis::cli {
namespace {

std::stop_source& interrupted() {
  static std::stop_source source;
  return source;
}

struct ChatOptions {
  RunConfiguration configuration;
  std::string prompt, system;
  int max_tokens = 256;
};

/// Answers the conversation's last message: streams the text to standard output, the speeds to standard error.
Expected<std::string> answer(Session& session, const std::vector<ChatMessage>& messages, int max_tokens) {
  const Tokenizer& tokenizer = *session.tokenizer;
  const TokenizerConfig& c = tokenizer.config();
  KRASIS_TRY(const std::string text,
             session.chat_template->render(messages, {.add_generation_prompt = true, .bos_token = c.bos_token, .eos_token = c.eos_token}));
  KRASIS_TRY(const std::vector<std::int32_t> tokens, tokenizer.encode(text));
  const int room = session.configuration.max_context - static_cast<int>(tokens.size());
  Detokenizer detokenizer(tokenizer);
  std::string reply;
  const auto show = [&](const std::string& piece) {
    reply += piece;
    std::cout << piece << std::flush;
  };
  KRASIS_TRY(const Generation generation,
             session.engine->generate(tokens, {.max_new_tokens = std::max(1, std::min(max_tokens, room)), .stop = interrupted().get_token()},
                                      [&](std::int32_t token, int) { show(detokenizer.append(token).value_or("")); }));
  show(detokenizer.flush());
  double decode_s = 0;
  for (const double s : generation.token_s) decode_s += s;
  std::cout << "\n" << std::flush;
  std::cerr << fmt::format("[{} prompt tokens, TTFT {:.3f} s, prefill {:.1f} tok/s; {} tokens, decode {:.2f} tok/s; device {}]\n", tokens.size(),
                           generation.prefill_s, static_cast<double>(tokens.size()) / generation.prefill_s, generation.tokens.size(),
                           decode_s > 0 ? static_cast<double>(generation.token_s.size()) / decode_s : 0.0, session.configuration.device);
  return reply;
}

/// Returns when nobody else of this machine computes, and says for whom it waits.
Expected<void> wait_for_turn(ComputeTurns& turns) {
  KRASIS_CHECK(turns.wait("a chat", interrupted().get_token(),
                          [](const std::string& holder) { std::cerr << "Waiting for " << holder << ".\n"; }));
  if (const std::string& why = turns.lock_unusable_because(); !why.empty()) std::cerr << why << "\n";
  return {};
}

Expected<Session> load(const ChatOptions& options, ComputeTurns& turns) {
  const ComputeTurns::Turn turn(turns);
  KRASIS_CHECK(wait_for_turn(turns));
  return load_session(options.configuration, find_resources(), cache_directory(), {}, interrupted().get_token());
}

int chat(const ChatOptions& options) {
  std::signal(SIGINT, [](int) {
    if (!interrupted().request_stop()) ::_exit(kInterrupted);  // the second one ends at once
  });
  ComputeTurns turns(ComputeLock::default_path());
  auto session = load(options, turns);
  if (!session) return report(session.error());
  if (!session->tokenizer || !session->chat_template) {
    return report({ErrorCode::Unsupported, "This model has no tokenizer or no chat template.", "Choose a trained chat model."});
  }
  std::cerr << session->engine->model().spec.name << ": " << model_summary(session->engine->model().spec) << "\n";
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  for (std::string line = options.prompt; !interrupted().stop_requested();) {
    if (line.empty()) {
      if (::isatty(STDIN_FILENO)) std::cerr << "> " << std::flush;
      if (!std::getline(std::cin, line)) break;
      if (line.empty()) continue;
    }
    messages.push_back({"user", line});
    const ComputeTurns::Turn turn(turns);
    auto reply = wait_for_turn(turns).and_then([&] { return answer(*session, messages, options.max_tokens); });
    if (!reply && interrupted().stop_requested()) return kInterrupted;
    if (!reply) return report(reply.error());
    messages.push_back({"assistant", *reply});
    if (!options.prompt.empty()) break;
    line.clear();
  }
  return interrupted().stop_requested() ? kInterrupted : kDone;
}

}  // namespace

void add_chat(CLI::App& app, Run& run) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Chat with a model; text streams, speeds follow");
  command->add_option("--prompt", options->prompt, "One message: print the answer and end");
  command->add_option("--system", options->system, "The system prompt");
  command->add_option("--max-tokens", options->max_tokens, "Longest answer")->check(CLI::Range(1, 1 << 20));
  options->configuration.prompt_tokens = options->configuration.decode_tokens = 1;  // the workload of a benchmark is none of chat's
  add_parameters(*command, options->configuration);
  command->callback([&run, options] { run = [options] { return chat(*options); }; });
}

}  // namespace krasis::cli

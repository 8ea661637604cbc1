#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/runtime/engine.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "engine/protocol/protocol.h"

namespace krasis {

/// Where the program's own files lie: the folder that holds models/, prompts/ and presets/.
struct Resources {
  std::filesystem::path root;
  std::filesystem::path embedded_model() const { return root / "models" / "tiny-moe"; }
  std::filesystem::path held_out_text() const { return root / "prompts" / "heldout.txt"; }
};

/// A loaded model with what turns text into tokens. A synthetic model has neither tokenizer nor template.
struct Session {
  RunConfiguration configuration;
  std::unique_ptr<Engine> engine;
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::string text;  ///< the held-out text, for prompts and the heatmap

  protocol::ModelFacts model_facts() const;
  /// What is resident on the devices, planned and reached, as the JSON that protocol::Finished carries. With the host
  /// memory that the plan knows and the most that this process had since the session began to load (0: not known).
  std::string plan_json() const;
};

/// Loads model, tokenizer and text. `cache_directory` empty = no packed copies on disk; `packed` not null = these
/// weights, of a configuration for which same_weights() holds.
Expected<Session> load_session(const RunConfiguration& configuration, const Resources& resources,
                               const std::filesystem::path& cache_directory,
                               const std::function<void(const LoadProgress&)>& progress, std::stop_token stop,
                               std::shared_ptr<const PackedModel> packed = nullptr);

/// Whether a session that was loaded for `loaded` can serve `wanted`: they differ in workload and sampling alone.
bool same_engine(const RunConfiguration& loaded, const RunConfiguration& wanted);

}  // namespace krasis

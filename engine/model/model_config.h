#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace krasis {

/// What a Hugging Face config.json says about a mixture-of-experts model. Pure data: the plan, the form and the engine
/// all start from it. Shapes are in elements.
struct ModelConfig {
  std::string model_type;  ///< "qwen3_moe"
  std::string name;        ///< the folder's name, or what the user called it
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_position = 0;
  bool tied_embeddings = false;
  float rms_norm_epsilon = 1e-6f;
  double rope_theta = 10000.0;

  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;

  int experts = 0;
  int top_k = 0;
  std::int64_t expert_width = 0;  ///< moe_intermediate_size
  bool renormalize = true;        ///< norm_topk_prob
  std::int64_t dense_width = 0;   ///< intermediate_size of the layers without experts
  std::vector<bool> has_experts;  ///< [layers]

  std::vector<std::int32_t> eos_tokens;
  std::vector<std::string> unknown_keys;  ///< keys of config.json that nothing here reads: reported, not guessed

  bool synthetic = false;  ///< weights are drawn, not trained: figures are labelled so
  std::int64_t expert_layers() const;
  std::int64_t parameters() const;         ///< in all
  std::int64_t active_parameters() const;  ///< per token, LM head included, embedding lookup not
  std::string summary() const;             ///< "5 layers, hidden 256, 16 experts, top-4, 10.1 M parameters (3.9 M active)"
};

/// Reads config.json's text. Errors: Corrupt for JSON that is none, Unsupported for another architecture or for
/// features that this one does not have here (rope scaling, sliding window, attention bias), InvalidArgument for absurd
/// numbers. Every error names the key.
Expected<ModelConfig> parse_model_config(std::string_view json_text);
/// Reads `path`/config.json (and eos ids of generation_config.json if there is one); name = the directory's name. `path`
/// may also be a configuration file itself.
Expected<ModelConfig> load_model_config(const std::filesystem::path& path);

/// "synthetic:PATH": a model without a checkpoint, of which only the configuration PATH is on disk.
inline constexpr std::string_view kSyntheticPrefix = "synthetic:";
/// The configuration of a model as a run names it: a path, or a path behind kSyntheticPrefix, which makes it `synthetic`
/// and adds " (synthetic)" to its name.
Expected<ModelConfig> model_config_of(const std::string& model);

}  // namespace krasis

#pragma once

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

#include "tests/support/safetensors_writer.h"

namespace krasis::test {

/// A random qwen3_moe of 3 layers (layer 1 dense), 3 experts, hidden 64, expert width 96, tied or not, as a test wants
/// to change it before it is written.
struct TinyCheckpoint {
  std::string config;
  TensorMap tensors;

  explicit TinyCheckpoint(bool tied = false, unsigned seed = 1) {
    config = std::string(R"({"model_type": "qwen3_moe", "num_hidden_layers": 3, "hidden_size": 64, "vocab_size": 100,
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 3, "num_experts_per_tok": 2,
 "moe_intermediate_size": 96, "intermediate_size": 160, "mlp_only_layers": [1], "norm_topk_prob": true,
 "tie_word_embeddings": )") +
             (tied ? "true" : "false") + "}";
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      std::int64_t count = 1;
      for (const std::int64_t dimension : shape) count *= dimension;
      std::vector<float> values(static_cast<std::size_t>(count));
      for (float& value : values) value = normal(random);
      tensors[name] = bf16_tensor(std::move(shape), values);
    };
    add("model.embed_tokens.weight", {100, 64});
    add("model.norm.weight", {64});
    if (!tied) add("lm_head.weight", {100, 64});
    for (int n = 0; n < 3; ++n) {
      const std::string layer = "model.layers." + std::to_string(n) + ".";
      add(layer + "input_layernorm.weight", {64});
      add(layer + "post_attention_layernorm.weight", {64});
      add(layer + "self_attn.q_proj.weight", {128, 64});
      add(layer + "self_attn.k_proj.weight", {64, 64});
      add(layer + "self_attn.v_proj.weight", {64, 64});
      add(layer + "self_attn.o_proj.weight", {64, 128});
      add(layer + "self_attn.q_norm.weight", {32});
      add(layer + "self_attn.k_norm.weight", {32});
      if (n == 1) {
        add(layer + "mlp.gate_proj.weight", {160, 64});
        add(layer + "mlp.up_proj.weight", {160, 64});
        add(layer + "mlp.down_proj.weight", {64, 160});
        continue;
      }
      add(layer + "mlp.gate.weight", {3, 64});
      for (int e = 0; e < 3; ++e) {
        const std::string expert = layer + "mlp.experts." + std::to_string(e) + ".";
        add(expert + "gate_proj.weight", {96, 64});
        add(expert + "up_proj.weight", {96, 64});
        add(expert + "down_proj.weight", {64, 96});
      }
    }
  }

  void write(const std::filesystem::path& directory) const {
    std::filesystem::create_directories(directory);
    write_file(directory / "config.json", config);
    write_safetensors(directory / "model.safetensors", tensors);
  }
};

}  // namespace krasis::test

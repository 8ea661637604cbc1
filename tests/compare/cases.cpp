#include "tests/compare/cases.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>
#include <tuple>

#include "engine/config/parameters.h"

namespace krasis::compare {
namespace {

/// Dense layers among those with experts, tied, odd widths, one of the heads' counts no power of two.
constexpr const char* kMixed = R"({"model_type": "qwen3_moe", "num_hidden_layers": 6, "hidden_size": 160,
 "vocab_size": 515, "num_attention_heads": 10, "num_key_value_heads": 5, "head_dim": 24, "num_experts": 13,
 "num_experts_per_tok": 3, "moe_intermediate_size": 96, "intermediate_size": 352, "mlp_only_layers": [0, 3],
 "norm_topk_prob": true, "tie_word_embeddings": true, "max_position_embeddings": 1024, "rope_theta": 50000.0,
 "eos_token_id": 0})";
/// Every second layer dense, many experts, heads of 128 that share one key.
constexpr const char* kWide = R"({"model_type": "qwen3_moe", "num_hidden_layers": 5, "hidden_size": 256,
 "vocab_size": 1000, "num_attention_heads": 16, "num_key_value_heads": 1, "head_dim": 128, "num_experts": 64,
 "num_experts_per_tok": 8, "moe_intermediate_size": 128, "intermediate_size": 512, "decoder_sparse_step": 2,
 "norm_topk_prob": false, "tie_word_embeddings": false, "max_position_embeddings": 1024, "rope_theta": 1000000.0,
 "eos_token_id": 0})";

using Change = std::function<void(Case&)>;
struct Value {
  std::string name;
  Change apply;
};
using Choice = std::vector<Value>;

/// A format by its number of bits, which older trees know, too: this file is built in two of them.
void set_bits(Case& c, const char* parameter, int bits) {
  if (!find_parameter(parameter)->set(c.configuration, std::to_string(bits))) std::abort();
}
Value bits(int gpu, int cpu) {
  return {"gpu" + std::to_string(gpu) + " cpu" + std::to_string(cpu), [gpu, cpu](Case& c) {
            set_bits(c, "gpu_bits", gpu);
            set_bits(c, "cpu_bits", cpu);
          }};
}
Value dense_bits(int attention, int mlp, int head) {
  return {"dense" + std::to_string(attention) + "/" + std::to_string(mlp) + "/" + std::to_string(head), [=](Case& c) {
            set_bits(c, "attention_bits", attention);
            set_bits(c, "dense_mlp_bits", mlp);
            set_bits(c, "lm_head_bits", head);
          }};
}
Value place(int lgs, int devices, HotCache hcs = HotCache::Off, double share = 0.5, const char* policy = "static") {
  std::string name = "lgs" + std::to_string(lgs) + " x" + std::to_string(devices);
  if (hcs != HotCache::Off) {
    const std::string percent = std::to_string(static_cast<int>(share * 100)) + "% ";
    name += (hcs == HotCache::On ? " hcs on " : " hcs multi ") + percent + policy;
  }
  return {name, [=](Case& c) {
            c.configuration.lgs = lgs;
            c.configuration.device_count = devices;
            c.configuration.hcs = hcs;
            c.configuration.hcs_share = share;
            c.configuration.hcs_policy = policy;
          }};
}
Value prompt(const char* path, int tokens, int chunk) {
  return {std::string(path) + " " + std::to_string(tokens) + " by " + std::to_string(chunk), [=](Case& c) {
            c.configuration.prefill_path = path;
            c.configuration.chunk_tokens = chunk;
            c.prompt_tokens = tokens;
          }};
}
Value text(const char* name, std::string RunConfiguration::*field) {
  return {name, [=](Case& c) { c.configuration.*field = name; }};
}

std::vector<Choice> choices(const ModelCase& model) {
  const auto group = [&](int size) {
    return Value{"group" + std::to_string(size), [=](Case& c) { c.configuration.group_size = size; }};
  };
  return {{bits(4, 4), bits(8, 8), bits(16, 16), bits(4, 8), bits(8, 4), bits(16, 4), bits(4, 16)},
          {place(1, 1), place(2, 1), place(1, 2), place(2, 2), place(2, 1, HotCache::On),
           place(1, 2, HotCache::On, 0.3), place(2, 1, HotCache::On, 0.0), place(1, 2, HotCache::Multi),
           place(1, 1, HotCache::On, 0.25, "adaptive"), place(2, 2, HotCache::Multi, 0.25, "adaptive")},
          {prompt("stream", 150, 256), prompt("stream", 150, 24), prompt("stream", 40, 256), prompt("stream", 5, 24),
           prompt("picked", 150, 256), prompt("picked", 7, 24), prompt("cpu", 61, 24), prompt("cpu", 5, 256)},
          {dense_bits(16, 16, 16), dense_bits(8, 8, 8), dense_bits(4, 8, 16), dense_bits(8, 4, 4)},
          {group(model.group_sizes[0]), group(model.group_sizes[1])},
          {text("bf16", &RunConfiguration::kv_cache), text("fp8", &RunConfiguration::kv_cache)},
          {text("resident", &RunConfiguration::attention), text("streamed", &RunConfiguration::attention)}};
}

using Row = std::vector<std::size_t>;  ///< [choices] index of the value
using Pair = std::tuple<std::size_t, std::size_t, std::size_t, std::size_t>;  ///< choice, value, choice, value

std::size_t new_pairs(const Row& row, const std::set<Pair>& open, std::size_t upto) {
  std::size_t count = 0;
  for (std::size_t b = 0; b < upto; ++b) {
    for (std::size_t a = 0; a < b; ++a) count += open.count({a, row[a], b, row[b]});
  }
  return count;
}

/// Greedy: each row begins with a pair that is still open, and takes in each other choice what closes most.
std::vector<Row> all_pairs(const std::vector<Choice>& choices) {
  std::set<Pair> open;
  for (std::size_t b = 0; b < choices.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      for (std::size_t i = 0; i < choices[a].size(); ++i) {
        for (std::size_t j = 0; j < choices[b].size(); ++j) open.insert({a, i, b, j});
      }
    }
  }
  std::vector<Row> rows;
  while (!open.empty()) {
    const auto [a, i, b, j] = *open.begin();
    Row row(choices.size());
    row[a] = i;
    row[b] = j;
    for (std::size_t c = 0; c < choices.size(); ++c) {
      if (c == a || c == b) continue;
      std::size_t best = 0, most = 0;
      for (std::size_t k = 0; k < choices[c].size(); ++k) {
        row[c] = (k + rows.size()) % choices[c].size();
        const std::size_t closed = new_pairs(row, open, choices.size());
        if (k == 0 || closed > most) {
          best = row[c];
          most = closed;
        }
      }
      row[c] = best;
    }
    for (std::size_t y = 0; y < row.size(); ++y) {
      for (std::size_t x = 0; x < y; ++x) open.erase({x, row[x], y, row[y]});
    }
    rows.push_back(row);
  }
  return rows;
}

std::vector<Row> all_rows(const std::vector<Choice>& choices) {
  std::vector<Row> rows;
  Row row(choices.size());
  for (std::size_t c = 0; c < choices.size();) {
    if (c == 0) rows.push_back(row);
    if (++row[c] < choices[c].size()) {
      c = 0;
    } else {
      row[c++] = 0;
    }
  }
  return rows;
}

}  // namespace

std::vector<ModelCase> models(const std::filesystem::path& root, const std::filesystem::path& scratch) {
  const auto synthetic = [&](const char* name, const char* config) {
    std::filesystem::create_directories(scratch / name);
    std::ofstream(scratch / name / "config.json") << config;
    return "synthetic:" + (scratch / name / "config.json").string();
  };
  const auto golden = [&](const char* name) { return (root / "tests/goldens/models" / name).string(); };
  return {{"embedded", (root / "resources/models/tiny-moe").string(), 4000, {64, 128}},
          {"tiny-a", golden("tiny-a"), 384, {32, 128}},
          {"tiny-b", golden("tiny-b"), 512, {32, 64}},
          {"synthetic mixed", synthetic("mixed", kMixed), 515, {16, 32}, 1.0},
          {"synthetic wide", synthetic("wide", kWide), 1000, {64, 128}, 0.0}};
}

std::vector<Case> cases(const ModelCase& model, bool all) {
  const std::vector<Choice> of_model = choices(model);
  std::vector<Case> result;
  for (const Row& row : all ? all_rows(of_model) : all_pairs(of_model)) {
    Case c;
    c.configuration.model = model.source;
    c.configuration.max_context = 256;
    c.configuration.vram_budget_mib = 256;
    c.configuration.prompt_tokens = 150;
    c.configuration.decode_tokens = 64;
    c.configuration.threads = 2;
    c.configuration.synthetic_skew = model.synthetic_skew;
    for (std::size_t i = 0; i < row.size(); ++i) {
      of_model[i][row[i]].apply(c);
      c.name += (i == 0 ? "" : ", ") + of_model[i][row[i]].name;
    }
    result.push_back(std::move(c));
  }
  return result;
}

}  // namespace krasis::compare

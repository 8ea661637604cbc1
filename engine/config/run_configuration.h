#pragma once

#include <cstdint>
#include <string>

namespace krasis {

enum class HotCache : std::uint8_t { Off, On, Multi };

/// Everything that decides how one run proceeds. Each field is one row of the parameter table (parameters.h), with the
/// same name there, in TOML, on the command line, in the database and in Markdown.
struct RunConfiguration {
  // What
  std::string model = "embedded";   ///< "embedded", a folder in Hugging Face layout, or "synthetic:PATH/config.json"
  std::string device = "host";      ///< "host" or "cuda"
  std::string operations = "simd";  ///< host device only: "simd", "avx2", "avx512", "amx" or "scalar"

  // Placement
  int device_count = 1;
  std::string gpus = "all";  ///< cuda only: "0,2" = these GPUs in this order; "all" in CUDA's order
  int lgs = 2;  ///< layers with experts resident together while prefilling
  HotCache hcs = HotCache::Off;
  double hcs_share = 0.5;               ///< of all experts, 0..1, that are cached when hcs is not off; 0 = what fits VRAM
  std::string hcs_policy = "static";    ///< "static": the measured heatmap's experts; "adaptive": exchanged while decoding
  std::int64_t vram_budget_mib = 4096;  ///< of each device
  std::string prefill_path = "auto";    ///< "stream", "picked", "cpu", or "auto": the faster one for the prompt's length, as measured
  std::string attention = "resident";   ///< or "streamed": its weights pass through two buffers, too
  int threads = 0;                      ///< CPU threads of the experts; 0 = physical cores
  std::string numa = "interleave";      ///< or "shards": each NUMA node has the rows that its cores read

  // Quantization: formats by name, "int4", "int8" or "bf16"
  std::string gpu_format = "int4";  ///< of the experts that the device computes with
  std::string cpu_format = "int4";  ///< of those that the CPU computes with
  std::string attention_format = "int8";
  std::string dense_mlp_format = "int8";
  std::string lm_head_format = "int8";
  int group_size = 128;
  std::string kv_cache = "bf16";  ///< "bf16" or "fp8"

  // Context
  int max_context = 4096;  ///< tokens the KV cache holds
  int chunk_tokens = 512;  ///< prefill works on this many tokens at a time

  // Workload
  int prompt_tokens = 512;
  int decode_tokens = 64;  ///< decoded after the first token, which prefill gives
  int warmups = 1;
  int repetitions = 5;

  // Sampling (benchmarks are greedy)
  double temperature = 0.0;
  int top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  std::int64_t seed = 1;

  // Synthetic weights
  std::int64_t synthetic_seed = 1;
  double synthetic_skew = 0.0;  ///< Zipf exponent of the routing: 0 = uniform

  bool operator==(const RunConfiguration&) const = default;
};

}  // namespace krasis

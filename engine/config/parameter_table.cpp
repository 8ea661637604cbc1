// The table itself. Order is the order of the form; every text is shown as it stands.
#include <algorithm>
#include <array>

#include "base/format.h"
#include "engine/config/parameters.h"

namespace krasis {
namespace {

using R = RunConfiguration;
using G = ParameterGroup;
using T = ParameterType;

constexpr unsigned kMemory = Affects::kMemory, kPrefill = Affects::kPrefill, kDecode = Affects::kDecode,
                   kQuality = Affects::kQuality;
// Integers pass through JSON and forms as doubles somewhere; beyond 2^53 they would change there.
constexpr double kLargestInteger = 9007199254740991.0;

Applicability with_gpus(const R& r) {
  return {r.device == "cuda", "The device is not cuda, so no GPU is used."};
}
Applicability with_hot_cache(const R& r) {
  return {r.hcs != HotCache::Off, "The hot cache is off, so no experts are cached."};
}
Applicability with_integer_weights(const R& r) {
  const bool any = std::min({r.gpu_bits, r.cpu_bits, r.attention_bits, r.dense_mlp_bits, r.lm_head_bits}) < 16;
  return {any, "Everything is BF16, which has no groups."};
}
Applicability with_sampling(const R& r) {
  return {r.temperature > 0, "The temperature is 0: the most likely token is always taken."};
}
Applicability with_synthetic_weights(const R& r) {
  return {r.model.starts_with("synthetic:"), "The model's weights are not synthetic."};
}

std::vector<ParameterChoice> bits() {
  return {{"4", name_of(Element::Int4)}, {"8", name_of(Element::Int8)}, {"16", name_of(Element::Bf16)}};
}

std::vector<Parameter> make_table() {
  return {
      {"model",
       "Model",
       G::Model,
       T::Text,
       &R::model,
       0,
       0,
       {},
       "",
       "The model: \"embedded\", a folder in Hugging Face layout, or \"synthetic:PATH/config.json\" for weights that "
       "are "
       "drawn at the real shapes.",
       kMemory | kPrefill | kDecode | kQuality},
      {"device",
       "Device",
       G::Placement,
       T::Choice,
       &R::device,
       0,
       0,
       {{"host", "Host"}, {"cuda", "CUDA"}},
       "",
       "What prefills and caches experts: GPUs, or the host device, which runs the whole hybrid pipeline on the CPU.",
       kPrefill | kDecode},
      {"operations",
       "Operations",
       G::Placement,
       T::Choice,
       &R::operations,
       0,
       0,
       {{"simd", "SIMD"}, {"avx2", "AVX2"}, {"avx512", "AVX-512"}, {"amx", "AMX"}, {"scalar", "Scalar"}},
       "",
       "What the CPU computes with: the best instructions that it has, at most those named, or the scalar reference.",
       kPrefill | kDecode},
      {"device_count",
       "Devices",
       G::Placement,
       T::Int,
       &R::device_count,
       1,
       16,
       {},
       "",
       "How many devices share the layers; the host device pretends to be several, and more devices than GPUs share them.",
       kMemory | kPrefill | kDecode},
      {"gpus",
       "GPUs",
       G::Placement,
       T::Text,
       &R::gpus,
       0,
       0,
       {},
       "",
       "Which GPUs, as numbers in CUDA's order: \"0,2\"; or \"all\". Devices are given out to them in this order.",
       kPrefill | kDecode,
       true,
       with_gpus},
      {"lgs",
       "LGS",
       G::Placement,
       T::Int,
       &R::lgs,
       1,
       1024,
       {},
       "layers",
       "Layer group size: how many layers' experts are on the device together while prefilling; two groups are held, "
       "so "
       "memory grows with 2 x LGS, and copies get fewer and larger.",
       kMemory | kPrefill},
      {"hcs",
       "HCS",
       G::Placement,
       T::Choice,
       &R::hcs,
       0,
       0,
       {{"off", "Off"}, {"on", "On"}, {"multi", "Multi"}},
       "",
       "Hot-cache strategy: experts kept on the device for decode. Off: the CPU decodes all of them; On: a cache on "
       "one "
       "device; Multi: on every device.",
       kMemory | kDecode},
      {"hcs_share",
       "HCS share",
       G::Placement,
       T::Real,
       &R::hcs_share,
       0,
       1,
       {},
       "",
       "Share of all experts that the hot cache holds, the most used ones first; 0 takes as many as the VRAM budget leaves.",
       kMemory | kDecode,
       true,
       with_hot_cache},
      {"hcs_policy",
       "HCS policy",
       G::Placement,
       T::Choice,
       &R::hcs_policy,
       0,
       0,
       {{"static", "Static"}, {"adaptive", "Adaptive"}},
       "",
       "Which experts the hot cache holds. Static: those that a measured text used most; Adaptive: begins with them and "
       "exchanges them for those that the text being written uses, also in the group buffers while no prompt needs them.",
       kMemory | kDecode,
       true,
       with_hot_cache},
      {"vram_budget_mib",
       "VRAM budget",
       G::Placement,
       T::Int,
       &R::vram_budget_mib,
       1,
       16 * 1024 * 1024,
       {},
       "MiB",
       "Memory of each device that a run may use.",
       kMemory},
      {"prefill_path",
       "Prefill path",
       G::Placement,
       T::Choice,
       &R::prefill_path,
       0,
       0,
       {{"auto", "Auto"}, {"stream", "Stream"}, {"picked", "Picked experts"}, {"cpu", "CPU"}},
       "",
       "Where a prompt's experts are computed. Stream: on the device, layer group by layer group; Picked experts: there, too, "
       "but only those that its tokens picked are copied, for prompts of up to 512 tokens and one chunk; CPU: where they lie, "
       "for up to 64 tokens; longer ones are streamed. Auto: the one that was faster for such a length when the model was loaded.",
       kPrefill},
      {"attention",
       "Attention weights",
       G::Placement,
       T::Choice,
       &R::attention,
       0,
       0,
       {{"resident", "Resident"}, {"streamed", "Streamed"}},
       "",
       "Where the attention's weights are. Resident: on their device; Streamed: in host memory, and pass through two buffers of "
       "a layer group for each prompt and each token, for cards that cannot hold them. The KV cache stays on the device.",
       kMemory | kPrefill | kDecode},
      {"threads",
       "CPU threads",
       G::Placement,
       T::Int,
       &R::threads,
       0,
       4096,
       {},
       "",
       "Threads that compute experts on the CPU; 0 takes one for each physical core.",
       kDecode},
      {"numa",
       "NUMA",
       G::Placement,
       T::Choice,
       &R::numa,
       0,
       0,
       {{"interleave", "Interleave"}, {"shards", "Shards"}},
       "",
       "Where weights lie in a machine with several NUMA nodes. Interleave: page by page on all nodes, in huge pages; "
       "Shards: each node has the rows that its cores read, those of experts in small pages. With one node both are "
       "the same.",
       kPrefill | kDecode},
      {"gpu_bits", "GPU bits", G::Quantization, T::Choice, &R::gpu_bits, 0, 0, bits(), "",
       "Precision of the experts that the device computes with.", kMemory | kPrefill | kDecode | kQuality},
      {"cpu_bits", "CPU bits", G::Quantization, T::Choice, &R::cpu_bits, 0, 0, bits(), "",
       "Precision of the experts that the CPU computes with; when it differs from the GPU's, host memory holds two "
       "copies.",
       kMemory | kDecode | kQuality},
      {"attention_bits", "Attention bits", G::Quantization, T::Choice, &R::attention_bits, 0, 0, bits(), "",
       "Precision of the attention's projections.", kMemory | kPrefill | kDecode | kQuality},
      {"dense_mlp_bits", "Dense MLP bits", G::Quantization, T::Choice, &R::dense_mlp_bits, 0, 0, bits(), "",
       "Precision of the MLP in layers without experts.", kMemory | kPrefill | kDecode | kQuality},
      {"lm_head_bits", "LM head bits", G::Quantization, T::Choice, &R::lm_head_bits, 0, 0, bits(), "",
       "Precision of the product that gives the logits.", kMemory | kDecode | kQuality},
      {"group_size",
       "Group size",
       G::Quantization,
       T::Int,
       &R::group_size,
       2,
       4096,
       {},
       "elements",
       "How many weights along the input share one scale: a power of two, halved until it divides a row.",
       kMemory | kQuality,
       true,
       with_integer_weights},
      {"kv_cache",
       "KV cache",
       G::Quantization,
       T::Choice,
       &R::kv_cache,
       0,
       0,
       {{"bf16", "BF16"}, {"fp8", "FP8"}},
       "",
       "Precision of the cached keys and values.",
       kMemory | kPrefill | kDecode | kQuality},
      {"max_context",
       "Context",
       G::Context,
       T::Int,
       &R::max_context,
       1,
       16 * 1024 * 1024,
       {},
       "tokens",
       "How many tokens the KV cache holds.",
       kMemory},
      {"chunk_tokens",
       "Chunk",
       G::Context,
       T::Int,
       &R::chunk_tokens,
       1,
       1024 * 1024,
       {},
       "tokens",
       "Prefill works on this many tokens at a time: more use each copied weight longer and need more memory.",
       kMemory | kPrefill},
      {"prompt_tokens",
       "Prompt",
       G::Workload,
       T::Int,
       &R::prompt_tokens,
       1,
       16 * 1024 * 1024,
       {},
       "tokens",
       "Length of a benchmark's prompt: real text, cut.",
       kPrefill | kDecode},
      {"decode_tokens",
       "Decode",
       G::Workload,
       T::Int,
       &R::decode_tokens,
       1,
       1024 * 1024,
       {},
       "tokens",
       "How many tokens a benchmark decodes after the first one, which prefill gives.",
       kDecode},
      {"warmups",
       "Warm-ups",
       G::Workload,
       T::Int,
       &R::warmups,
       0,
       1000,
       {},
       "",
       "Runs before the first one that counts; stored and marked.",
       0,
       false},
      {"repetitions",
       "Repetitions",
       G::Workload,
       T::Int,
       &R::repetitions,
       1,
       1000,
       {},
       "",
       "Runs that count; three or more give a spread that means something.",
       0,
       false},
      {"temperature",
       "Temperature",
       G::Sampling,
       T::Real,
       &R::temperature,
       0,
       10,
       {},
       "",
       "Flattens (above 1) or sharpens the distribution that tokens are drawn from; 0 takes the most likely one. "
       "Benchmarks use 0.",
       kQuality,
       false},
      {"top_k",
       "Top-k",
       G::Sampling,
       T::Int,
       &R::top_k,
       0,
       1024 * 1024,
       {},
       "tokens",
       "Draws from this many most likely tokens; 0 from all.",
       kQuality,
       false,
       with_sampling},
      {"top_p",
       "Top-p",
       G::Sampling,
       T::Real,
       &R::top_p,
       0,
       1,
       {},
       "",
       "Draws from the fewest tokens whose probabilities sum to this.",
       kQuality,
       false,
       with_sampling},
      {"min_p",
       "Min-p",
       G::Sampling,
       T::Real,
       &R::min_p,
       0,
       1,
       {},
       "",
       "Leaves out tokens less likely than this share of the most likely one.",
       kQuality,
       false,
       with_sampling},
      {"repetition_penalty",
       "Repetition penalty",
       G::Sampling,
       T::Real,
       &R::repetition_penalty,
       0.01,
       10,
       {},
       "",
       "Makes tokens that occurred already less likely; 1 does nothing.",
       kQuality,
       false},
      {"seed",
       "Seed",
       G::Sampling,
       T::Int,
       &R::seed,
       0,
       kLargestInteger,
       {},
       "",
       "Of the random draws; the same seed gives the same text.",
       kQuality,
       false},
      {"synthetic_seed",
       "Weights' seed",
       G::Synthetic,
       T::Int,
       &R::synthetic_seed,
       0,
       kLargestInteger,
       {},
       "",
       "Of the drawn weights.",
       kQuality,
       true,
       with_synthetic_weights},
      {"synthetic_skew",
       "Routing skew",
       G::Synthetic,
       T::Real,
       &R::synthetic_skew,
       0,
       4,
       {},
       "",
       "Zipf exponent of the experts' use: 0 uses all of them alike, 1 a few of them mostly.",
       kDecode,
       true,
       with_synthetic_weights},
  };
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string with_underscores(std::string_view name) {
  std::string result(name);
  std::replace(result.begin(), result.end(), '-', '_');
  return result;
}

}  // namespace

std::span<const Parameter> parameters() {
  static const std::vector<Parameter> table = make_table();
  return table;
}

const Parameter* find_parameter(std::string_view name) {
  const std::string wanted = with_underscores(name);
  for (const Parameter& parameter : parameters()) {
    if (parameter.name == wanted) return &parameter;
  }
  return nullptr;
}

std::string_view nearest_parameter(std::string_view name) {
  if (name.size() > 64) return {};
  const std::string wanted = with_underscores(name);
  std::string_view best;
  std::size_t best_distance = wanted.size() / 3 + 2;
  for (const Parameter& parameter : parameters()) {
    const std::size_t distance = edit_distance(wanted, parameter.name);
    if (distance < best_distance && distance < parameter.name.size()) {
      best = parameter.name;
      best_distance = distance;
    }
  }
  return best;
}

std::string_view name_of(ParameterGroup group) {
  static constexpr std::array<std::string_view, 7> names{"Model",    "Placement", "Quantization", "Context",
                                                         "Workload", "Sampling",  "Synthetic"};
  return names[static_cast<std::size_t>(group)];
}

std::string_view name_of(HotCache hcs) {
  return hcs == HotCache::Off ? "off" : hcs == HotCache::On ? "on" : "multi";
}

}  // namespace krasis

// The table itself. Order is the order of the form; every text is shown as it stands.
#include <fmt/format.h>

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
  const auto formats = {r.gpu_format, r.cpu_format, r.attention_format, r.dense_mlp_format, r.lm_head_format};
  const bool any = std::any_of(formats.begin(), formats.end(), [](const auto& format) { return format != "bf16"; });
  return {any, "Everything is BF16, which has no groups."};
}
Applicability with_sampling(const R& r) {
  return {r.temperature > 0, "The temperature is 0: the most likely token is always taken."};
}
Applicability with_synthetic_weights(const R& r) {
  return {r.model.starts_with("synthetic:"), "The model's weights are not synthetic."};
}

/// The formats that weights can be computed in. MXFP4 weights are read, but nothing computes with them yet.
std::vector<ParameterChoice> formats() {
  return {{"int4", name_of(Element::Int4)}, {"int8", name_of(Element::Int8)}, {"bf16", name_of(Element::Bf16)}};
}

/// Formats were numbers of bits once, gpu_bits = 4, when there was one format of each size.
constexpr OldValue kFormatOfBits[] = {{"4", "int4"}, {"8", "int8"}, {"16", "bf16"}};

std::string shown_hcs(const R& r) {
  return r.hcs == HotCache::Off ? "OFF" : r.hcs == HotCache::On ? "ON" : "multi";
}
std::string shown_hcs_share(const R& r) {
  return r.hcs_share == 0 ? "auto" : fmt::format("{:.4g} %", 100 * r.hcs_share);
}

std::string shown_threads(const R& r) {
  return r.threads == 0 ? "-" : fmt::format("{}", r.threads);  // a run that did not come to compute
}

// A row of three to six lines is read at a glance; the formatter would make fifteen of it.
// clang-format off

std::vector<Parameter> model_parameters() {
  return {{.name = "model", .label = "Model", .group = G::Model, .type = T::Text, .field = &R::model,
           .affects = kMemory | kPrefill | kDecode | kQuality,
           .help = "The model: \"embedded\", a folder in Hugging Face layout, or \"synthetic:PATH/config.json\" for "
               "weights that are drawn at the real shapes."}};
}

std::vector<Parameter> placement_parameters() {
  return {
      {.name = "device", .label = "Device", .group = G::Placement, .type = T::Choice, .field = &R::device,
       .choices = {{"host", "Host"}, {"cuda", "CUDA"}},
       .affects = kPrefill | kDecode, .stored = {1}, .phrase = "device {}",
       .help = "What prefills and caches experts: GPUs, or the host device, which runs the whole hybrid pipeline on "
               "the CPU."},
      {.name = "operations", .label = "Operations", .group = G::Placement, .type = T::Choice, .field = &R::operations,
       .choices = {{"simd", "SIMD"}, {"avx2", "AVX2"}, {"avx512", "AVX-512"}, {"amx", "AMX"}, {"scalar", "Scalar"}},
       .affects = kPrefill | kDecode, .stored = {1},
       .help = "What the CPU computes with: the best instructions that it has, at most those named, or the scalar "
               "reference."},
      {.name = "device_count", .label = "Devices", .group = G::Placement, .type = T::Int, .field = &R::device_count,
       .minimum = 1, .maximum = 16,
       .affects = kMemory | kPrefill | kDecode, .stored = {1}, .heading = "GPUs",
       .help = "How many devices share the layers; the host device pretends to be several, and more devices than "
               "GPUs share them."},
      {.name = "gpus", .label = "GPUs", .group = G::Placement, .type = T::Text, .field = &R::gpus,
       .affects = kPrefill | kDecode, .applicability = with_gpus, .stored = {4, "all"}, .heading = "Which GPUs",
       .help = "Which GPUs, as numbers in CUDA's order: \"0,2\"; or \"all\". Devices are given out to them in this "
               "order."},
      {.name = "lgs", .label = "LGS", .group = G::Placement, .type = T::Int, .field = &R::lgs,
       .minimum = 1, .maximum = 1024, .unit = "layers",
       .affects = kMemory | kPrefill, .stored = {1},
       .help = "Layer group size: how many layers' experts are on the device together while prefilling; two groups "
               "are held, so memory grows with 2 x LGS, and copies get fewer and larger."},
      {.name = "hcs", .label = "HCS", .group = G::Placement, .type = T::Choice, .field = &R::hcs,
       .choices = {{"off", "Off"}, {"on", "On"}, {"multi", "Multi"}},
       .affects = kMemory | kDecode, .stored = {1}, .shown = shown_hcs,
       .help = "Hot-cache strategy: experts kept on the device for decode. Off: the CPU decodes all of them; On: a "
               "cache on one device; Multi: on every device."},
      {.name = "hcs_share", .label = "HCS share", .group = G::Placement, .type = T::Real, .field = &R::hcs_share,
       .minimum = 0, .maximum = 1,
       .affects = kMemory | kDecode, .applicability = with_hot_cache, .stored = {1}, .phrase = "HCS share {}",
       .shown = shown_hcs_share,
       .help = "Share of all experts that the hot cache holds, the most used ones first; 0 takes as many as the "
               "VRAM budget leaves."},
      {.name = "hcs_policy", .label = "HCS policy", .group = G::Placement, .type = T::Choice, .field = &R::hcs_policy,
       .choices = {{"static", "Static"}, {"adaptive", "Adaptive"}},
       .affects = kMemory | kDecode, .applicability = with_hot_cache, .stored = {5, "static"},
       .help = "Which experts the hot cache holds. Static: those that a measured text used most; Adaptive: begins "
               "with them and exchanges them for those that the text being written uses, also in the group buffers "
               "while no prompt needs them."},
      {.name = "vram_budget_mib", .label = "VRAM budget", .group = G::Placement, .type = T::Int,
       .field = &R::vram_budget_mib, .minimum = 1, .maximum = 16 * 1024 * 1024, .unit = "MiB",
       .affects = kMemory, .stored = {1}, .heading = "VRAM budget (MiB)", .phrase = "{} MiB VRAM budget",
       .help = "Memory of each device that a run may use."},
      {.name = "prefill_path", .label = "Prefill path", .group = G::Placement, .type = T::Choice,
       .field = &R::prefill_path,
       .choices = {{"auto", "Auto"}, {"stream", "Stream"}, {"picked", "Picked experts"}, {"cpu", "CPU"}},
       .affects = kPrefill, .stored = {3, "stream"},
       .help = "Where a prompt's experts are computed. Stream: on the device, layer group by layer group; Picked "
               "experts: there, too, but only those that its tokens picked are copied, for prompts of up to 512 "
               "tokens and one chunk; CPU: where they lie, for up to 64 tokens; longer ones are streamed. Auto: the "
               "one that was faster for such a length when the model was loaded."},
      {.name = "attention", .label = "Attention weights", .group = G::Placement, .type = T::Choice,
       .field = &R::attention, .choices = {{"resident", "Resident"}, {"streamed", "Streamed"}},
       .affects = kMemory | kPrefill | kDecode, .stored = {6, "resident"},
       .help = "Where the attention's weights are. Resident: on their device; Streamed: in host memory, and pass "
               "through two buffers of a layer group for each prompt and each token, for cards that cannot hold "
               "them. The KV cache stays on the device."},
      {.name = "threads", .label = "CPU threads", .group = G::Placement, .type = T::Int, .field = &R::threads,
       .minimum = 0, .maximum = 4096,
       .affects = kDecode, .stored = {1}, .phrase = "{} CPU thread(s)", .shown = shown_threads,
       .help = "Threads that compute experts on the CPU; 0 takes one for each physical core."},
      {.name = "numa", .label = "NUMA", .group = G::Placement, .type = T::Choice, .field = &R::numa,
       .choices = {{"interleave", "Interleave"}, {"shards", "Shards"}},
       .affects = kPrefill | kDecode, .stored = {7, "interleave"},
       .help = "Where weights lie in a machine with several NUMA nodes. Interleave: page by page on all nodes, in "
               "huge pages; Shards: each node has the rows that its cores read, those of experts in small pages. "
               "With one node both are the same."},
  };
}

std::vector<Parameter> quantization_parameters() {
  return {
      {.name = "gpu_format", .label = "GPU format", .group = G::Quantization, .type = T::Format,
       .field = &R::gpu_format, .choices = formats(), .old_name = "gpu_bits",
       .affects = kMemory | kPrefill | kDecode | kQuality, .stored = {1},
       .help = "Format of the experts that the device computes with."},
      {.name = "cpu_format", .label = "CPU format", .group = G::Quantization, .type = T::Format,
       .field = &R::cpu_format, .choices = formats(), .old_name = "cpu_bits",
       .affects = kMemory | kDecode | kQuality, .stored = {1},
       .help = "Format of the experts that the CPU computes with; when it differs from the GPU's, host memory holds "
               "two copies."},
      {.name = "attention_format", .label = "Attention format", .group = G::Quantization, .type = T::Format,
       .field = &R::attention_format, .choices = formats(), .old_name = "attention_bits",
       .affects = kMemory | kPrefill | kDecode | kQuality, .stored = {1}, .phrase = "{} attention",
       .help = "Format of the attention's projections."},
      {.name = "dense_mlp_format", .label = "Dense MLP format", .group = G::Quantization, .type = T::Format,
       .field = &R::dense_mlp_format, .choices = formats(), .old_name = "dense_mlp_bits",
       .affects = kMemory | kPrefill | kDecode | kQuality, .stored = {1}, .phrase = "{} dense_mlp",
       .help = "Format of the MLP in layers without experts."},
      {.name = "lm_head_format", .label = "LM head format", .group = G::Quantization, .type = T::Format,
       .field = &R::lm_head_format, .choices = formats(), .old_name = "lm_head_bits",
       .affects = kMemory | kDecode | kQuality, .stored = {1}, .phrase = "{} lm_head",
       .help = "Format of the product that gives the logits."},
      {.name = "group_size", .label = "Group size", .group = G::Quantization, .type = T::Int, .field = &R::group_size,
       .minimum = 2, .maximum = 4096, .unit = "elements",
       .affects = kMemory | kQuality, .applicability = with_integer_weights, .stored = {1}, .phrase = "group size {}",
       .help = "How many weights along the input share one scale: a power of two, halved until it divides a row."},
      {.name = "kv_cache", .label = "KV cache", .group = G::Quantization, .type = T::Format, .field = &R::kv_cache,
       .choices = {{"bf16", "BF16"}, {"fp8", "FP8"}},
       .affects = kMemory | kPrefill | kDecode | kQuality, .stored = {1}, .phrase = "{} KV cache",
       .help = "Format of the cached keys and values."},
  };
}

std::vector<Parameter> run_parameters() {
  return {
      {.name = "max_context", .label = "Context", .group = G::Context, .type = T::Int, .field = &R::max_context,
       .minimum = 1, .maximum = 16 * 1024 * 1024, .unit = "tokens",
       .affects = kMemory,
       .help = "How many tokens the KV cache holds."},
      {.name = "chunk_tokens", .label = "Chunk", .group = G::Context, .type = T::Int, .field = &R::chunk_tokens,
       .minimum = 1, .maximum = 1024 * 1024, .unit = "tokens",
       .affects = kMemory | kPrefill, .stored = {1}, .heading = "Chunk (tokens)", .phrase = "{} token chunks",
       .help = "Prefill works on this many tokens at a time: more use each copied weight longer and need more "
               "memory."},
      {.name = "prompt_tokens", .label = "Prompt", .group = G::Workload, .type = T::Int, .field = &R::prompt_tokens,
       .minimum = 1, .maximum = 16 * 1024 * 1024, .unit = "tokens",
       .affects = kPrefill | kDecode, .stored = {1}, .heading = "Prompt (tokens)", .phrase = "{} token prompt",
       .help = "Length of a benchmark's prompt: real text, cut."},
      {.name = "decode_tokens", .label = "Decode", .group = G::Workload, .type = T::Int, .field = &R::decode_tokens,
       .minimum = 1, .maximum = 1024 * 1024, .unit = "tokens",
       .affects = kDecode, .stored = {1}, .heading = "Decoded (tokens)", .phrase = "{} decoded",
       .help = "How many tokens a benchmark decodes after the first one, which prefill gives."},
      {.name = "warmups", .label = "Warm-ups", .group = G::Workload, .type = T::Int, .field = &R::warmups,
       .minimum = 0, .maximum = 1000,
       .sweepable = false, .stored = {1}, .phrase = "{} warm-up(s)",
       .help = "Runs before the first one that counts; stored and marked."},
      {.name = "repetitions", .label = "Repetitions", .group = G::Workload, .type = T::Int, .field = &R::repetitions,
       .minimum = 1, .maximum = 1000,
       .sweepable = false, .stored = {1}, .phrase = "{} repetition(s)",
       .help = "Runs that count; three or more give a spread that means something."},
  };
}

std::vector<Parameter> sampling_parameters() {
  return {
      {.name = "temperature", .label = "Temperature", .group = G::Sampling, .type = T::Real, .field = &R::temperature,
       .minimum = 0, .maximum = 10,
       .affects = kQuality, .sweepable = false,
       .help = "Flattens (above 1) or sharpens the distribution that tokens are drawn from; 0 takes the most likely "
               "one. Benchmarks use 0."},
      {.name = "top_k", .label = "Top-k", .group = G::Sampling, .type = T::Int, .field = &R::top_k,
       .minimum = 0, .maximum = 1024 * 1024, .unit = "tokens",
       .affects = kQuality, .sweepable = false, .applicability = with_sampling,
       .help = "Draws from this many most likely tokens; 0 from all."},
      {.name = "top_p", .label = "Top-p", .group = G::Sampling, .type = T::Real, .field = &R::top_p,
       .minimum = 0, .maximum = 1,
       .affects = kQuality, .sweepable = false, .applicability = with_sampling,
       .help = "Draws from the fewest tokens whose probabilities sum to this."},
      {.name = "min_p", .label = "Min-p", .group = G::Sampling, .type = T::Real, .field = &R::min_p,
       .minimum = 0, .maximum = 1,
       .affects = kQuality, .sweepable = false, .applicability = with_sampling,
       .help = "Leaves out tokens less likely than this share of the most likely one."},
      {.name = "repetition_penalty", .label = "Repetition penalty", .group = G::Sampling, .type = T::Real,
       .field = &R::repetition_penalty, .minimum = 0.01, .maximum = 10,
       .affects = kQuality, .sweepable = false,
       .help = "Makes tokens that occurred already less likely; 1 does nothing."},
      {.name = "seed", .label = "Seed", .group = G::Sampling, .type = T::Int, .field = &R::seed,
       .minimum = 0, .maximum = kLargestInteger,
       .affects = kQuality, .sweepable = false, .stored = {1}, .phrase = "seed {}",
       .help = "Of the random draws; the same seed gives the same text."},
      {.name = "synthetic_seed", .label = "Weights' seed", .group = G::Synthetic, .type = T::Int,
       .field = &R::synthetic_seed, .minimum = 0, .maximum = kLargestInteger,
       .affects = kQuality, .applicability = with_synthetic_weights,
       .help = "Of the drawn weights."},
      {.name = "synthetic_skew", .label = "Routing skew", .group = G::Synthetic, .type = T::Real,
       .field = &R::synthetic_skew, .minimum = 0, .maximum = 4,
       .affects = kDecode, .applicability = with_synthetic_weights,
       .help = "Zipf exponent of the experts' use: 0 uses all of them alike, 1 a few of them mostly."},
  };
}

// clang-format on

std::vector<Parameter> make_table() {
  std::vector<Parameter> table;
  for (auto part : {model_parameters(), placement_parameters(), quantization_parameters(), run_parameters(),
                    sampling_parameters()}) {
    table.insert(table.end(), part.begin(), part.end());
  }
  return table;
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

std::span<const Parameter> renamed_parameters() {
  static const std::vector<Parameter> renamed = [] {
    std::vector<Parameter> rows;
    for (Parameter parameter : parameters()) {
      if (parameter.old_name.empty()) continue;
      parameter.old_values = kFormatOfBits;
      rows.push_back(std::move(parameter));
    }
    return rows;
  }();
  return renamed;
}

std::span<const Parameter* const> stored_parameters() {
  static const std::vector<const Parameter*> stored = [] {
    std::vector<const Parameter*> rows;
    for (const Parameter& parameter : parameters()) {
      if (parameter.stored.since > 0) rows.push_back(&parameter);
    }
    return rows;
  }();
  return stored;
}

const Parameter* find_parameter(std::string_view name) {
  const std::string wanted = with_underscores(name);
  for (const Parameter& parameter : parameters()) {
    if (parameter.name == wanted) return &parameter;
  }
  for (const Parameter& parameter : renamed_parameters()) {
    if (parameter.old_name == wanted) return &parameter;
  }
  return nullptr;
}

const Parameter* parameter_of_key(std::string_view key) {
  return key.find('-') == std::string_view::npos ? find_parameter(key) : nullptr;
}

std::string_view nearest_parameter(std::string_view name) {
  if (name.size() > 64) return {};
  const std::string wanted = with_underscores(name);
  std::string_view best;
  std::size_t best_distance = wanted.size() / 3 + 2;
  const auto compare = [&](std::string_view known, std::string_view answer) {
    const std::size_t distance = edit_distance(wanted, known);
    if (distance >= best_distance || distance >= known.size()) return;
    best = answer;
    best_distance = distance;
  };
  for (const Parameter& parameter : parameters()) compare(parameter.name, parameter.name);
  for (const Parameter& parameter : renamed_parameters()) compare(parameter.old_name, parameter.name);
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

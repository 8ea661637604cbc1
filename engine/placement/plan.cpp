#include "engine/placement/plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "base/format_parameter.h"
#include "kernels/tensor.h"

namespace krasis {
namespace {

Element element_of(int bits) { return element_of_bits(bits).value_or(Element::Bf16); }

std::size_t matrix_bytes(int bits, int group_size, std::int64_t rows, std::int64_t columns) {
  return MatrixLayout{fit_format(element_of(bits), group_size, columns), rows, columns}.bytes();
}

std::size_t vector_bytes(std::int64_t elements, std::size_t each) {
  return round_up(static_cast<std::size_t>(elements) * each, 64);
}

/// The sizes of one configuration of one model, in bytes.
class Sizes {
 public:
  Sizes(const ModelConfig& model, const RunConfiguration& run)
      : m_(model),
        r_(run),
        gpu_expert_(expert_layout(element_of(run.gpu_bits), run.group_size, model.hidden, model.expert_width)),
        cpu_expert_(expert_layout(element_of(run.cpu_bits), run.group_size, model.hidden, model.expert_width)) {}

  std::size_t gpu_expert() const { return gpu_expert_.bytes(); }
  std::size_t cpu_expert() const { return cpu_expert_.bytes(); }
  std::int64_t chunk() const { return std::min(r_.chunk_tokens, r_.max_context); }
  std::int64_t together() const { return std::min<std::int64_t>(chunk(), 64); }  ///< tokens of a prompt for the CPU's experts

  /// q, k, v and o of one layer.
  std::size_t attention_layer() const {
    const std::int64_t q = std::int64_t{m_.heads} * m_.head_dim;
    const std::int64_t kv = std::int64_t{m_.kv_heads} * m_.head_dim;
    const auto attention = [&](std::int64_t rows, std::int64_t columns) {
      return matrix_bytes(r_.attention_bits, r_.group_size, rows, columns);
    };
    return attention(q, m_.hidden) + 2 * attention(kv, m_.hidden) + attention(m_.hidden, q);
  }
  /// The same as it is copied: in one piece with the heads' norms; 0 if attention is resident.
  std::size_t streamed_layer() const {
    return r_.attention == "streamed" ? attention_layer() + 2 * matrix_bytes(16, 0, 1, m_.head_dim) : 0;
  }

  /// Attention, norms and router or dense MLP of one layer.
  std::size_t layer(std::int64_t layer) const {
    std::size_t bytes = 2 * vector_bytes(m_.hidden, 2) + 2 * vector_bytes(m_.head_dim, 2) + attention_layer();
    if (m_.has_experts[static_cast<std::size_t>(layer)]) {
      bytes += matrix_bytes(16, 0, m_.experts, m_.hidden);
    } else {
      bytes += 2 * matrix_bytes(r_.dense_mlp_bits, r_.group_size, m_.dense_width, m_.hidden) +
               matrix_bytes(r_.dense_mlp_bits, r_.group_size, m_.hidden, m_.dense_width);
    }
    return bytes;
  }

  /// What of it stays on the device.
  std::size_t resident_layer(std::int64_t index) const { return layer(index) - (streamed_layer() > 0 ? attention_layer() : 0); }

  std::size_t embedding() const { return matrix_bytes(16, 0, m_.vocabulary, m_.hidden); }
  std::size_t lm_head() const {
    if (m_.tied_embeddings && r_.lm_head_bits == 16) return 0;  // the embedding itself
    return matrix_bytes(r_.lm_head_bits, r_.group_size, m_.vocabulary, m_.hidden);
  }
  std::size_t final_norm() const { return vector_bytes(m_.hidden, 2); }

  /// Keys and values of a token in a layer.
  std::size_t kv_token() const {
    const auto dim = static_cast<std::size_t>(m_.head_dim);
    return 2 * static_cast<std::size_t>(m_.kv_heads) * (r_.kv_cache == "fp8" ? dim + sizeof(float) : dim * 2);
  }
  std::size_t kv_layer() const { return static_cast<std::size_t>(kv_capacity(r_.max_context)) * kv_token(); }

  std::size_t activations(int device) const {
    const std::int64_t c = chunk(), t = r_.max_context, h = m_.hidden;
    const std::int64_t q = std::int64_t{m_.heads} * m_.head_dim, kv = std::int64_t{m_.kv_heads} * m_.head_dim;
    std::size_t bytes = vector_bytes(t * h, 4);                                               // residual of the whole prompt
    bytes += vector_bytes(c * h, 2) + 2 * vector_bytes(c * q, 2) + 2 * vector_bytes(c * kv, 2);  // normed, q, attended, k, v
    std::size_t attention = vector_bytes(std::int64_t{128} * m_.heads * (m_.head_dim + 2), 4);  // attention_workspace_bytes of a token
    if (r_.kv_cache == "fp8") attention = std::max(attention, vector_bytes(t * kv, 4));        // widened_cache_bytes
    bytes += std::max(attention, m_.expert_layers() > 0 ? experts_workspace(c) : 0);           // in turn
    bytes += vector_bytes(c * m_.experts, 4) + 2 * vector_bytes(c * m_.top_k, 4);             // router logits, ids, weights
    if (m_.expert_layers() < m_.layers) bytes += 2 * vector_bytes(c * m_.dense_width, 4) + vector_bytes(c * m_.dense_width, 2);
    bytes += vector_bytes(t, 4) + 2 * vector_bytes(together() * h, 4) + 5 * 64;  // positions; experts' sums; batch
    if (device == 0) bytes += 2 * vector_bytes(t, 4) + vector_bytes(m_.vocabulary, 4) + 64;  // prompt, history, logits, sampling
    return bytes;
  }

  /// Of the operation `experts` (kernels/operations.h) for so many tokens.
  std::size_t experts_workspace(std::int64_t tokens) const {
    const std::int64_t pairs = tokens * m_.top_k;
    return vector_bytes(pairs * m_.expert_width, 10) + vector_bytes(pairs * m_.hidden, 4) + vector_bytes(pairs * 16 + 4096, 1);
  }

  std::size_t staging() const {
    const std::int64_t n = together();
    return vector_bytes(r_.max_context, 4) + vector_bytes(m_.vocabulary, 4) + vector_bytes(n * m_.hidden, 2) +
           vector_bytes(n * m_.hidden, 4) + 2 * vector_bytes(n * m_.top_k, 4) + experts_workspace(n) + 5 * 64 + vector_bytes(2 * r_.device_count, 8) +
           (r_.hcs == HotCache::Off ? 0 : vector_bytes(r_.device_count * m_.expert_layers() * m_.experts, 8));  // cache tables
  }

 private:
  const ModelConfig& m_;
  const RunConfiguration& r_;
  ExpertLayout gpu_expert_, cpu_expert_;
};

/// Experts of the layers that `device` caches: its own with hcs = multi, all of them on device 0 with hcs = on.
std::int64_t cacheable_experts(const ModelConfig& m, const RunConfiguration& r, int device) {
  if (r.hcs == HotCache::Off || (r.hcs == HotCache::On && device != 0)) return 0;
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < m.layers; ++layer) {
    const bool here = r.hcs == HotCache::On || owner_of_layer(layer, r) == device;
    if (here && m.has_experts[static_cast<std::size_t>(layer)]) count += m.experts;
  }
  return count;
}

/// What a device needs beside its expert cache.
std::vector<PlanItem> device_items(const ModelConfig& m, const RunConfiguration& r, const Sizes& sizes, int device) {
  std::size_t resident = static_cast<std::size_t>(m.head_dim) * 2;  // rotary frequencies
  std::size_t largest_group = 0;
  std::int64_t layers = 0, groups = 0, own_groups = 0, most_layers = 0;
  for (std::int64_t first = 0; first < m.layers; first += r.lgs) {
    if (owner_of_layer(first, r) != device) continue;
    std::size_t group = 0;
    for (std::int64_t layer = first; layer < std::min(first + r.lgs, m.layers); ++layer, ++layers) {
      resident += sizes.resident_layer(layer);
      if (m.has_experts[static_cast<std::size_t>(layer)]) group += static_cast<std::size_t>(m.experts) * sizes.gpu_expert();
    }
    largest_group = std::max(largest_group, group);
    groups += group > 0;
    ++own_groups;
    most_layers = std::max(most_layers, std::min<std::int64_t>(r.lgs, m.layers - first));
  }
  const auto buffers = static_cast<std::size_t>(std::min<std::int64_t>(groups, 2));
  std::vector<PlanItem> items;
  const auto item = [&](const char* place, std::size_t bytes, std::string meaning) {
    if (bytes > 0) items.push_back({device, place, bytes, std::move(meaning)});
  };
  const bool streamed = sizes.streamed_layer() > 0;
  item("resident weights", resident,
       streamed ? fmt::format("norms and routers of {} layers", layers)
                : fmt::format("attention, norms and routers of {} layers, {} bits", layers, r.attention_bits));
  const std::int64_t halves = std::min<std::int64_t>(own_groups, 2);
  item("attention buffers", static_cast<std::size_t>(halves * most_layers) * sizes.streamed_layer(),
       fmt::format("{} x attention of {} layers, {} bits", halves, most_layers, r.attention_bits));
  if (device == 0) {
    item("embedding and head", sizes.embedding() + sizes.lm_head() + sizes.final_norm(),
         fmt::format("{} tokens x {}, head {} bits", m.vocabulary, m.hidden, r.lm_head_bits));
  }
  item("group buffers", buffers * largest_group,
       fmt::format("{} x {} layers of {} experts, {} bits", buffers, r.lgs, m.experts, r.gpu_bits));
  item("kv cache", static_cast<std::size_t>(layers) * sizes.kv_layer(),
       fmt::format("{} layers x {} tokens, {}", layers, r.max_context, r.kv_cache));
  item("activations", sizes.activations(device), fmt::format("chunks of {} tokens", sizes.chunk()));
  const std::size_t table = vector_bytes(m.expert_layers() * m.experts, sizeof(std::int64_t));
  item("expert tables", (r.hcs == HotCache::Off ? 2 : 3) * table + 64,
       "where each expert lies; how often it was picked");
  return items;
}

void add_device(Plan& plan, const ModelConfig& m, const RunConfiguration& r, const Sizes& sizes, int device) {
  for (PlanItem& item : device_items(m, r, sizes, device)) plan.items.push_back(std::move(item));
  const CacheSize cache = cache_size(m, r, device);
  plan.cached_experts += static_cast<int>(cache.experts);
  if (cache.experts + cache.spare == 0) return;
  std::string meaning = fmt::format("{} hot experts, {} bits", cache.experts, r.gpu_bits);
  if (cache.spare > 0) meaning += fmt::format("; {} spare places", cache.spare);
  plan.items.push_back({device, "expert cache", static_cast<std::size_t>(cache.experts + cache.spare) * sizes.gpu_expert(),
                        std::move(meaning)});
}

/// What a token reads on devices, experts aside: the layers' weights, the head, keys and values behind half of the text.
double dense_bytes_of_token(const ModelConfig& m, const RunConfiguration& r, const Sizes& sizes) {
  auto bytes = static_cast<double>(sizes.lm_head() > 0 ? sizes.lm_head() : sizes.embedding());
  for (std::int64_t layer = 0; layer < m.layers; ++layer) bytes += static_cast<double>(sizes.layer(layer));
  const double context = r.prompt_tokens + r.decode_tokens / 2.0;
  return bytes + static_cast<double>(m.layers) * static_cast<double>(sizes.kv_token()) * context;
}

void predict_times(Plan& plan, const ModelConfig& m, const RunConfiguration& r, const Hardware& hw, const Sizes& sizes) {
  // Experts that their own layer's device caches are not copied; with hcs = on that is device 0's share of the layers.
  const std::int64_t spared = plan.cached_experts / (r.hcs == HotCache::On ? r.device_count : 1);
  plan.prefill_copy_bytes = static_cast<std::size_t>(m.expert_layers() * m.experts - spared) * sizes.gpu_expert();
  plan.decode_copy_bytes_per_token = static_cast<std::size_t>(m.layers) * sizes.streamed_layer();
  plan.prefill_copy_bytes += plan.decode_copy_bytes_per_token;
  const double picks = static_cast<double>(m.expert_layers()) * m.top_k;
  const double all = static_cast<double>(m.expert_layers() * m.experts);
  const double hit = all > 0 ? plan.cached_experts / all : 0.0;  // uniform routing: real routing hits more
  const double cpu_bytes = picks * (1.0 - hit) * static_cast<double>(sizes.cpu_expert());
  const double cached_bytes = picks * hit * static_cast<double>(sizes.gpu_expert());
  plan.decode_bytes_per_token = static_cast<std::size_t>(cpu_bytes + cached_bytes + dense_bytes_of_token(m, r, sizes));

  if (hw.h2d_gb_per_s > 0 && hw.device_tflop_per_s > 0) {
    const double copy_s = static_cast<double>(plan.prefill_copy_bytes) / (hw.h2d_gb_per_s * 1e9 * r.device_count);
    const double compute_s = 2.0 * static_cast<double>(m.active_parameters()) * r.prompt_tokens / (hw.device_tflop_per_s * 1e12);
    plan.predicted_prefill_s = std::max(copy_s, compute_s);
  }
  const std::vector<double> hits(static_cast<std::size_t>(m.expert_layers()), hit);
  plan.predicted_decode_s_per_token = predict_decode_s(m, r, hw, hits);
}

Plan plan_without_advice(const ModelConfig& m, const RunConfiguration& r, const Hardware& hw) {
  Plan plan;
  const Sizes sizes(m, r);
  std::size_t dense = sizes.embedding() + sizes.lm_head() + sizes.final_norm();
  for (std::int64_t layer = 0; layer < m.layers; ++layer) dense += sizes.layer(layer);
  const auto experts = static_cast<std::size_t>(m.expert_layers() * m.experts);
  plan.items.push_back({-1, "dense weights", dense, "attention, norms, routers, embedding and head"});
  plan.items.push_back({-1, "experts (GPU)", experts * sizes.gpu_expert(),
                        r.gpu_bits == r.cpu_bits ? fmt::format("all experts, {} bits, for GPU and CPU", r.gpu_bits)
                                                 : fmt::format("all experts, {} bits", r.gpu_bits)});
  if (r.gpu_bits != r.cpu_bits) {
    plan.items.push_back({-1, "experts (CPU)", experts * sizes.cpu_expert(), fmt::format("all experts once more, {} bits", r.cpu_bits)});
  }
  plan.items.push_back({-1, "staging", sizes.staging(), "page-locked: tokens, activations, logits"});
  for (int device = 0; device < r.device_count; ++device) add_device(plan, m, r, sizes, device);

  for (int device = -1; device < r.device_count; ++device) {
    PlanPlace place{device, 0, device < 0 ? hw.host_memory_bytes : static_cast<std::size_t>(r.vram_budget_mib) << 20};
    for (const auto& item : plan.items) place.needed_bytes += item.device == device ? item.bytes : 0;
    plan.places.push_back(place);
  }
  predict_times(plan, m, r, hw, sizes);
  return plan;
}

std::size_t excess(const Plan& plan) {
  std::size_t bytes = 0;
  for (const auto& place : plan.places) bytes += place.fits() ? 0 : place.needed_bytes - place.budget_bytes;
  return bytes;
}

/// Tries each single change that a user could make and keeps those that help, best first.
std::vector<std::string> advise(const ModelConfig& m, const RunConfiguration& r, const Hardware& hw, const Plan& plan) {
  struct Change {
    std::string text;
    RunConfiguration configuration;
  };
  std::vector<Change> changes;
  const auto change = [&](std::string text, auto&& edit) {
    RunConfiguration c = r;
    edit(c);
    if (!(c == r)) changes.push_back({std::move(text), c});
  };
  change(fmt::format("LGS {}", std::max(1, r.lgs / 2)), [](auto& c) { c.lgs = std::max(1, c.lgs / 2); });
  change("LGS 1", [](auto& c) { c.lgs = 1; });
  change("HCS off", [](auto& c) { c.hcs = HotCache::Off; });
  change(fmt::format("hcs_share {:.2f}", r.hcs_share / 2), [](auto& c) {
    if (c.hcs != HotCache::Off) c.hcs_share /= 2;
  });
  change("GPU bits 4", [](auto& c) { c.gpu_bits = 4; });
  change("attention bits 8", [](auto& c) { c.attention_bits = std::min(c.attention_bits, 8); });
  change("streamed attention", [](auto& c) { c.attention = "streamed"; });
  change("LM head bits 8", [](auto& c) { c.lm_head_bits = std::min(c.lm_head_bits, 8); });
  change("KV cache fp8", [](auto& c) { c.kv_cache = "fp8"; });
  const int needed_context = r.prompt_tokens + r.decode_tokens + 1;
  change(fmt::format("max_context {}", needed_context), [&](auto& c) { c.max_context = std::min(c.max_context, needed_context); });
  change(fmt::format("chunk_tokens {}", std::max(1, r.chunk_tokens / 4)), [](auto& c) { c.chunk_tokens = std::max(1, c.chunk_tokens / 4); });

  std::vector<std::pair<std::size_t, std::string>> helpful;
  const std::size_t now = excess(plan);
  for (const auto& [text, configuration] : changes) {
    const std::size_t then = excess(plan_without_advice(m, configuration, hw));
    if (then >= now) continue;
    helpful.emplace_back(now - then, fmt::format("{} frees {:.1f} MiB{}", text, static_cast<double>(now - then) / 1048576.0,
                                                 then == 0 ? " and then it fits" : ""));
  }
  std::stable_sort(helpful.begin(), helpful.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> texts;
  for (auto& [bytes, text] : helpful) {
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace

bool Plan::fits() const {
  return std::all_of(places.begin(), places.end(), [](const PlanPlace& place) { return place.fits(); });
}

std::size_t Plan::bytes(int device, const std::string& place) const {
  for (const auto& item : items) {
    if (item.device == device && item.place == place) return item.bytes;
  }
  return 0;
}

int owner_of_layer(std::int64_t layer, const RunConfiguration& configuration) {
  return static_cast<int>(layer / configuration.lgs % configuration.device_count);
}

CacheSize cache_size(const ModelConfig& model, const RunConfiguration& configuration, int device) {
  const std::int64_t cacheable = cacheable_experts(model, configuration, device);
  const std::int64_t layers = model.experts > 0 ? cacheable / model.experts : 0;
  const bool adaptive = configuration.hcs_policy == "adaptive";
  const std::int64_t exchanged = adaptive ? std::max<std::int64_t>(2, kTokensPerAdmission * layers * model.top_k / 64) : 0;
  std::int64_t experts = 0;
  if (configuration.hcs_share > 0) {
    experts = static_cast<std::int64_t>(std::floor(configuration.hcs_share * static_cast<double>(cacheable) + 1e-9));
  } else if (cacheable > 0) {
    const Sizes sizes(model, configuration);
    const std::size_t budget = static_cast<std::size_t>(configuration.vram_budget_mib) << 20;
    std::size_t needed = budget / 256;  // what allocations are rounded up by
    for (const PlanItem& item : device_items(model, configuration, sizes, device)) needed += item.bytes;
    const auto slots = static_cast<std::int64_t>((budget - std::min(budget, needed)) / sizes.gpu_expert());
    experts = slots >= cacheable ? cacheable : std::max<std::int64_t>(0, slots - exchanged);
  }
  return {experts, std::min(exchanged, cacheable - experts)};
}

std::int64_t hot_experts(const ModelConfig& model, const RunConfiguration& configuration, int device) {
  return cache_size(model, configuration, device).experts;
}

double predict_decode_s(const ModelConfig& model, const RunConfiguration& configuration, const Hardware& hardware,
                        std::span<const double> hit_shares) {
  if (!(hardware.host_read_gb_per_s > 0 && hardware.device_read_gb_per_s > 0)) return 0;
  const Sizes sizes(model, configuration);
  const double on_cpu_s = static_cast<double>(sizes.cpu_expert()) / (hardware.host_read_gb_per_s * 1e9);
  const double on_device_s = static_cast<double>(sizes.gpu_expert()) / (hardware.device_read_gb_per_s * 1e9);
  double seconds = dense_bytes_of_token(model, configuration, sizes) / (hardware.device_read_gb_per_s * 1e9);
  for (const double hit : hit_shares) seconds += model.top_k * std::max((1 - hit) * on_cpu_s, hit * on_device_s);
  if (!(hardware.h2d_gb_per_s > 0)) return seconds;
  const double copied = static_cast<double>(model.layers) * static_cast<double>(sizes.streamed_layer());  // beside all that
  return std::max(seconds, copied / (hardware.h2d_gb_per_s * 1e9 * configuration.device_count));
}

std::vector<Problem> validate(const ModelConfig& m, const RunConfiguration& r, const Hardware& hardware) {
  std::vector<Problem> problems;
  const auto refuse = [&problems](std::string_view parameter, std::string cause, std::string remedy) {
    problems.push_back({parameter, Error{ErrorCode::InvalidArgument, std::move(cause), std::move(remedy)}});
  };
  if (r.lgs < 1 || r.lgs > m.layers) {
    refuse("lgs", fmt::format("LGS is {}, but {} has {} layers.", r.lgs, m.name, m.layers),
           fmt::format("Choose an LGS from 1 to {}.", m.layers));
  }
  if (r.device_count < 1 || r.device_count > hardware.devices) {
    refuse("device_count", fmt::format("{} devices were asked for, but {} exist.", r.device_count, hardware.devices),
           fmt::format("Choose a device count from 1 to {}.", hardware.devices));
  }
  for (const auto& [name, bits] : {std::pair{"gpu_bits", r.gpu_bits}, std::pair{"cpu_bits", r.cpu_bits},
                                   std::pair{"attention_bits", r.attention_bits},
                                   std::pair{"dense_mlp_bits", r.dense_mlp_bits}, std::pair{"lm_head_bits", r.lm_head_bits}}) {
    if (bits != 4 && bits != 8 && bits != 16) refuse(name, fmt::format("{} is {}.", name, bits), "Choose 4, 8 or 16 bits.");
  }
  if (r.group_size < 2 || r.group_size > 4096 || (r.group_size & (r.group_size - 1)) != 0) {
    refuse("group_size", fmt::format("group_size is {}.", r.group_size), "Choose a power of two from 2 to 4096; 128 is usual.");
  }
  if (!(r.hcs_share >= 0.0 && r.hcs_share <= 1.0)) {
    refuse("hcs_share", fmt::format("hcs_share is {}.", r.hcs_share), "Choose a share from 0 to 1.");
  }
  if (r.hcs_policy != "static" && r.hcs_policy != "adaptive") {
    refuse("hcs_policy", fmt::format("hcs_policy is \"{}\".", r.hcs_policy), "Choose static or adaptive.");
  }
  if (r.max_context < 1 || r.max_context > m.max_position) {
    refuse("max_context",
           fmt::format("max_context is {} tokens, but {} was made for at most {}.", r.max_context, m.name, m.max_position),
           fmt::format("Choose a max_context from 1 to {}.", m.max_position));
  }
  if (r.chunk_tokens < 1) refuse("chunk_tokens", fmt::format("chunk_tokens is {}.", r.chunk_tokens), "Choose 1 or more.");
  if (r.prompt_tokens < 1 || r.decode_tokens < 1 ||
      std::int64_t{r.prompt_tokens} + r.decode_tokens + 1 > std::int64_t{r.max_context}) {  // the first token, too
    refuse(r.prompt_tokens < 1 ? "prompt_tokens" : r.decode_tokens < 1 ? "decode_tokens" : "max_context",
           fmt::format("A prompt of {} tokens, the first one and {} decoded ones do not fit into a context of {} tokens.",
                       r.prompt_tokens, r.decode_tokens, r.max_context),
           "Raise max_context or shorten the prompt; both counts must be at least 1.");
  }
  if (r.kv_cache != "bf16" && r.kv_cache != "fp8") {
    refuse("kv_cache", fmt::format("kv_cache is \"{}\".", r.kv_cache), "Choose bf16 or fp8.");
  }
  if (r.attention != "resident" && r.attention != "streamed") {
    refuse("attention", fmt::format("attention is \"{}\".", r.attention), "Choose resident or streamed.");
  }
  if (r.vram_budget_mib < 1) refuse("vram_budget_mib", fmt::format("vram_budget_mib is {}.", r.vram_budget_mib), "Choose 1 or more.");
  return problems;
}

Expected<Plan> make_plan(const ModelConfig& model, const RunConfiguration& configuration, const Hardware& hardware) {
  if (auto problems = validate(model, configuration, hardware); !problems.empty()) {
    return tl::unexpected(std::move(problems.front().error));
  }
  Plan plan = plan_without_advice(model, configuration, hardware);
  if (!plan.fits()) plan.advice = advise(model, configuration, hardware, plan);
  return plan;
}

}  // namespace krasis

#include "engine/placement/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/placement/engine_memory.h"

namespace krasis {
namespace {

/// What the plan's predictions count, in bytes.
class Sizes {
 public:
  Sizes(const ModelSpec& model, const RunConfiguration& run)
      : model_(model), run_(run), precision_(precision_of(run)) {}

  std::size_t gpu_expert() const { return expert_layout(model_, precision_.gpu_experts, run_.group_size).bytes(); }
  std::size_t cpu_expert() const { return expert_layout(model_, precision_.cpu_experts, run_.group_size).bytes(); }
  /// Streamed attention's copies for a pass through the layers; 0 if attention is resident.
  std::size_t streamed() const {
    std::size_t bytes = 0;
    if (run_.attention != "streamed") return bytes;
    for (const LayerSpec& layer : model_.layers) bytes += streamed_range(layer, model_.hidden, precision_).bytes();
    return bytes;
  }
  /// What a token reads on devices, experts aside: the layers' weights, the head, state behind half of the text.
  double dense_of_token() const {
    const double context = run_.prompt_tokens + run_.decode_tokens / 2.0;
    auto bytes = static_cast<double>(precision_.layout(lm_head_slot(model_)).bytes());
    for (const LayerSpec& layer : model_.layers) {
      bytes += static_cast<double>(layer_bytes(layer, model_.hidden, precision_));
    }
    double position = 0;
    for (const LayerSpec& layer : model_.layers) {
      position += static_cast<double>(position_bytes(state_parts(layer, kv_element_of(run_))));
    }
    return bytes + position * context;
  }

 private:
  const ModelSpec& model_;
  const RunConfiguration& run_;
  Precision precision_;
};

/// What the places of a device hold, for tooltips.
class Meanings {
 public:
  Meanings(const ModelSpec& model, const RunConfiguration& run, int device, const CacheSize& cache)
      : model_(model), run_(run), precision_(precision_of(run)), cache_(cache) {
    for (const LayerGroup& group : layer_groups(model, run)) {
      if (group.owner != device) continue;
      layers_ += group.count;
      ++groups_;
      loaded_ += group.bytes > 0;
      most_layers_ = std::max(most_layers_, group.count);
    }
  }

  std::string of(std::string_view place) const {
    const RunConfiguration& r = run_;
    if (place == place::kResident && r.attention == "streamed") {
      return fmt::format("norms and routers of {} layers", layers_);
    }
    if (place == place::kResident) {
      return fmt::format("attention, norms and routers of {} layers, {}", layers_, name_of(precision_.attention));
    }
    if (place == place::kStreamed) {
      const auto halves = std::min<std::int64_t>(groups_, 2);
      return fmt::format("{} x attention of {} layers, {}", halves, most_layers_, name_of(precision_.attention));
    }
    if (place == place::kHead) {
      return fmt::format("{} tokens x {}, head {}", model_.vocabulary, model_.hidden, name_of(precision_.lm_head));
    }
    if (place == place::kGroups) {
      const auto buffers = std::min<std::int64_t>(loaded_, 2);
      return fmt::format("{} x {} layers of {} experts, {}", buffers, r.lgs, model_.experts(),
                         name_of(precision_.gpu_experts));
    }
    if (place == place::kState) return fmt::format("{} layers x {} tokens, {}", layers_, r.max_context, r.kv_cache);
    if (place == place::kActivations) return fmt::format("chunks of {} tokens", chunk_of(r));
    if (place == place::kTables) return "where each expert lies; how often it was picked";
    std::string meaning = fmt::format("{} hot experts, {}", cache_.experts, name_of(precision_.gpu_experts));
    if (cache_.spare > 0) meaning += fmt::format("; {} spare places", cache_.spare);
    return meaning;
  }

 private:
  const ModelSpec& model_;
  const RunConfiguration& run_;
  Precision precision_;
  const CacheSize& cache_;
  std::int64_t layers_ = 0, groups_ = 0, loaded_ = 0, most_layers_ = 0;
};

void add_device(Plan& plan, const ModelSpec& m, const RunConfiguration& r, int device) {
  MeasuringCarver measured;
  DeviceMemory memory;
  memory.carve(measured, m, r, device);
  const CacheSize cache = cache_size(m, r, device, measured.bytes());
  memory.carve_cache(measured, m, r, cache);
  const Meanings meanings(m, r, device, cache);
  for (const auto& [place, bytes] : measured.places()) {
    plan.items.push_back({device, place, bytes, meanings.of(place)});
  }
  if (const std::size_t bytes = driver_bytes(r); bytes > 0) {
    plan.items.push_back(
        {device, std::string(place::kDriver), bytes, "at most, beside the budget: what CUDA itself takes"});
  }
  plan.cached_experts += static_cast<int>(cache.experts);
}

void predict_times(Plan& plan, const ModelSpec& m, const RunConfiguration& r, const Hardware& hw, const Sizes& sizes) {
  // Experts that their own layer's device caches are not copied; with hcs = on that is device 0's share of the layers.
  const std::int64_t spared = plan.cached_experts / (r.hcs == HotCache::On ? r.device_count : 1);
  plan.prefill_copy_bytes = static_cast<std::size_t>(m.expert_layers() * m.experts() - spared) * sizes.gpu_expert();
  plan.decode_copy_bytes_per_token = sizes.streamed();
  plan.prefill_copy_bytes += plan.decode_copy_bytes_per_token;
  const double picks = static_cast<double>(m.expert_layers()) * m.top_k();
  const double all = static_cast<double>(m.expert_layers() * m.experts());
  const double hit = all > 0 ? plan.cached_experts / all : 0.0;  // uniform routing: real routing hits more
  const double cpu_bytes = picks * (1.0 - hit) * static_cast<double>(sizes.cpu_expert());
  const double cached_bytes = picks * hit * static_cast<double>(sizes.gpu_expert());
  plan.decode_bytes_per_token = static_cast<std::size_t>(cpu_bytes + cached_bytes + sizes.dense_of_token());

  if (hw.h2d_gb_per_s > 0 && hw.device_tflop_per_s > 0) {
    const double copy_s = static_cast<double>(plan.prefill_copy_bytes) / (hw.h2d_gb_per_s * 1e9 * r.device_count);
    const double compute_s =
        2.0 * static_cast<double>(active_parameter_count(m)) * r.prompt_tokens / (hw.device_tflop_per_s * 1e12);
    plan.predicted_prefill_s = std::max(copy_s, compute_s);
  }
  const std::vector<double> hits(static_cast<std::size_t>(m.expert_layers()), hit);
  plan.predicted_decode_s_per_token = predict_decode_s(m, r, hw, hits);
}

Plan plan_without_advice(const ModelSpec& m, const RunConfiguration& r, const Hardware& hw) {
  Plan plan;
  const Sizes sizes(m, r);
  const Precision precision = precision_of(r);
  const PackedBytes packed = packed_bytes(m, precision);
  plan.items.push_back({-1, "dense weights", packed.dense, "attention, norms, routers, embedding and head"});
  plan.items.push_back({-1, "experts (GPU)", packed.gpu_experts,
                        fmt::format("all experts, {}{}", name_of(precision.gpu_experts),
                                    precision.gpu_experts == precision.cpu_experts ? ", for GPU and CPU" : "")});
  if (packed.cpu_experts > 0) {
    plan.items.push_back({-1, "experts (CPU)", packed.cpu_experts,
                          fmt::format("all experts once more, {}", name_of(precision.cpu_experts))});
  }
  MeasuringCarver staging;
  StagingMemory().carve(staging, m, r);
  plan.items.push_back({-1, std::string(place::kStaging), staging.bytes(), "page-locked: tokens, activations, logits"});
  for (int device = 0; device < r.device_count; ++device) add_device(plan, m, r, device);

  for (int device = -1; device < r.device_count; ++device) {
    PlanPlace place{device, 0, device < 0 ? hw.host_memory_bytes : static_cast<std::size_t>(r.vram_budget_mib) << 20};
    for (const auto& item : plan.items) {
      if (item.device == device && item.place != place::kDriver) place.needed_bytes += item.bytes;
    }
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
std::vector<std::string> advise(const ModelSpec& m, const RunConfiguration& r, const Hardware& hw, const Plan& plan) {
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
  const auto smaller = [](std::string& format) { format = format == "bf16" ? "int8" : format; };
  change("GPU format INT4", [](auto& c) { c.gpu_format = "int4"; });
  change("attention format INT8", [&](auto& c) { smaller(c.attention_format); });
  change("streamed attention", [](auto& c) { c.attention = "streamed"; });
  change("LM head format INT8", [&](auto& c) { smaller(c.lm_head_format); });
  change("KV cache fp8", [](auto& c) { c.kv_cache = "fp8"; });
  const int needed_context = r.prompt_tokens + r.decode_tokens + 1;
  change(fmt::format("max_context {}", needed_context),
         [&](auto& c) { c.max_context = std::min(c.max_context, needed_context); });
  change(fmt::format("chunk_tokens {}", std::max(1, r.chunk_tokens / 4)),
         [](auto& c) { c.chunk_tokens = std::max(1, c.chunk_tokens / 4); });

  std::vector<std::pair<std::size_t, std::string>> helpful;
  const std::size_t now = excess(plan);
  for (const auto& [text, configuration] : changes) {
    const std::size_t then = excess(plan_without_advice(m, configuration, hw));
    if (then >= now) continue;
    helpful.emplace_back(now - then,
                         fmt::format("{} frees {:.1f} MiB{}", text, static_cast<double>(now - then) / 1048576.0,
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

double predict_decode_s(const ModelSpec& model, const RunConfiguration& configuration, const Hardware& hardware,
                        std::span<const double> hit_shares) {
  if (!(hardware.host_read_gb_per_s > 0 && hardware.device_read_gb_per_s > 0)) return 0;
  const Sizes sizes(model, configuration);
  const double on_cpu_s = static_cast<double>(sizes.cpu_expert()) / (hardware.host_read_gb_per_s * 1e9);
  const double on_device_s = static_cast<double>(sizes.gpu_expert()) / (hardware.device_read_gb_per_s * 1e9);
  double seconds = sizes.dense_of_token() / (hardware.device_read_gb_per_s * 1e9);
  for (const double hit : hit_shares) seconds += model.top_k() * std::max((1 - hit) * on_cpu_s, hit * on_device_s);
  if (!(hardware.h2d_gb_per_s > 0)) return seconds;
  const double copied = static_cast<double>(sizes.streamed());  // beside all that
  return std::max(seconds, copied / (hardware.h2d_gb_per_s * 1e9 * configuration.device_count));
}

std::vector<Problem> validate(const ModelSpec& m, const RunConfiguration& r, const Hardware& hardware) {
  std::vector<Problem> problems;
  const auto refuse = [&problems](std::string_view parameter, std::string cause, std::string remedy) {
    problems.push_back({parameter, Error{ErrorCode::InvalidArgument, std::move(cause), std::move(remedy)}});
  };
  if (r.lgs < 1 || r.lgs > m.layer_count()) {
    refuse("lgs", fmt::format("LGS is {}, but {} has {} layers.", r.lgs, m.name, m.layer_count()),
           fmt::format("Choose an LGS from 1 to {}.", m.layer_count()));
  }
  if (r.device_count < 1 || r.device_count > hardware.devices) {
    refuse("device_count", fmt::format("{} devices were asked for, but {} exist.", r.device_count, hardware.devices),
           fmt::format("Choose a device count from 1 to {}.", hardware.devices));
  }
  for (const Parameter& parameter : parameters()) {
    if (parameter.type != ParameterType::Format) continue;
    RunConfiguration scratch;
    if (auto set = parameter.set(scratch, parameter.text(r)); !set) problems.push_back({parameter.name, set.error()});
  }
  if (r.group_size < 2 || r.group_size > 4096 || (r.group_size & (r.group_size - 1)) != 0) {
    refuse("group_size", fmt::format("group_size is {}.", r.group_size),
           "Choose a power of two from 2 to 4096; 128 is usual.");
  }
  if (!(r.hcs_share >= 0.0 && r.hcs_share <= 1.0)) {
    refuse("hcs_share", fmt::format("hcs_share is {}.", r.hcs_share), "Choose a share from 0 to 1.");
  }
  if (r.hcs_policy != "static" && r.hcs_policy != "adaptive") {
    refuse("hcs_policy", fmt::format("hcs_policy is \"{}\".", r.hcs_policy), "Choose static or adaptive.");
  }
  if (r.max_context < 1 || r.max_context > m.max_position) {
    refuse(
        "max_context",
        fmt::format("max_context is {} tokens, but {} was made for at most {}.", r.max_context, m.name, m.max_position),
        fmt::format("Choose a max_context from 1 to {}.", m.max_position));
  }
  if (r.chunk_tokens < 1)
    refuse("chunk_tokens", fmt::format("chunk_tokens is {}.", r.chunk_tokens), "Choose 1 or more.");
  if (r.prompt_tokens < 1 || r.decode_tokens < 1 ||
      std::int64_t{r.prompt_tokens} + r.decode_tokens + 1 > std::int64_t{r.max_context}) {  // the first token, too
    refuse(
        r.prompt_tokens < 1   ? "prompt_tokens"
        : r.decode_tokens < 1 ? "decode_tokens"
                              : "max_context",
        fmt::format("A prompt of {} tokens, the first one and {} decoded ones do not fit into a context of {} tokens.",
                    r.prompt_tokens, r.decode_tokens, r.max_context),
        "Raise max_context or shorten the prompt; both counts must be at least 1.");
  }
  if (r.attention != "resident" && r.attention != "streamed") {
    refuse("attention", fmt::format("attention is \"{}\".", r.attention), "Choose resident or streamed.");
  }
  if (r.vram_budget_mib < 1)
    refuse("vram_budget_mib", fmt::format("vram_budget_mib is {}.", r.vram_budget_mib), "Choose 1 or more.");
  return problems;
}

Expected<Plan> make_plan(const ModelSpec& model, const RunConfiguration& configuration, const Hardware& hardware) {
  if (auto problems = validate(model, configuration, hardware); !problems.empty()) {
    return tl::unexpected(std::move(problems.front().error));
  }
  Plan plan = plan_without_advice(model, configuration, hardware);
  if (!plan.fits()) plan.advice = advise(model, configuration, hardware, plan);
  return plan;
}

}  // namespace krasis

#include "engine/runtime/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/layers/layer_state.h"
#include "engine/layers/layer_step.h"
#include "kernels/host/host_platform.h"

namespace krasis {
namespace {

/// Ordinary memory.
class HeapCarver final : public Carver {
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::byte* take(std::string_view, std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    pieces_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(64, round_up(bytes, 64))));
    if (!pieces_.back()) throw std::bad_alloc();
    return pieces_.back().get();
  }
  std::vector<std::unique_ptr<std::byte, Free>> pieces_;
};

/// One token's activations, and the state of all layers.
class ReferencePass {
 public:
  ReferencePass(const PackedModel& model, HostPlatform& platform, KvElement kv_element, int tokens)
      : model_(model),
        device_(platform.device()),
        stream_(device_.create_stream("reference", Lane::Compute)),
        tokens_(tokens) {
    const ModelSpec& spec = model.spec;
    scratch_.carve(carver_, "", spec, 1, tokens, kv_element, model.gpu_expert_layout);
    carver_("", residual_, spec.hidden);
    for (const LayerSpec& layer : spec.layers) {
      states_.push_back(carve_state(carver_, "", state_parts(layer, kv_element), tokens));
    }
    scratch_.attention.workspace = {};  // keys are read in order
  }

  void step(std::int32_t id, std::int32_t position, const std::function<bool(int, int, int)>& on_gpu) {
    const SequenceSpan span{0, 1, 0};
    device_.run(stream_, EmbeddingArgs{model_.head.embedding, {&id, 1}, residual_});
    int expert_layer = 0;
    for (std::size_t l = 0; l < model_.layers.size(); ++l) {
      const PackedLayer& packed = model_.layers[l];
      const LayerSpec& layer = model_.spec.layers[l];
      const Rotary* const rotary = rotary_of(layer);
      View<const float> frequencies;
      if (rotary != nullptr) frequencies = {rotary->inverse_frequencies.data(), rotary->inverse_frequencies.size()};
      const LayerStep step{model_.spec, layer,    packed, frequencies, states_[l], {1, {&position, 1}, {&span, 1}},
                           residual_,   scratch_, tokens_};
      mix(device_, stream_, step);
      feed_forward(device_, stream_, step);
      if (!packed.gpu_experts.empty()) experts(packed, expert_layer++, position, on_gpu);
    }
  }

  void logits(float* out) {
    head(device_, stream_, model_.spec, model_.head, residual_, scratch_.normed,
         {out, static_cast<std::size_t>(model_.spec.vocabulary)});
  }

  Expected<void> outcome() { return device_.synchronize(device_.record(stream_), "the reference is done"); }

 private:
  void experts(const PackedLayer& layer, int expert_layer, int position,
               const std::function<bool(int, int, int)>& on_gpu) {
    const RoutedExperts& routed = model_.spec.routed();
    for (const bool gpu : {true, false}) {
      const ExpertLayout& layout = gpu ? model_.gpu_expert_layout : model_.cpu_expert_layout;
      std::vector<std::int64_t> offsets(static_cast<std::size_t>(routed.router.experts), -1);
      for (int e = 0; e < routed.router.experts; ++e) {
        if (on_gpu(expert_layer, e, position) != gpu) continue;
        offsets[static_cast<std::size_t>(e)] = static_cast<std::int64_t>(static_cast<std::size_t>(e) * layout.bytes());
      }
      ExpertsArgs args = experts_args(routed, layout);
      args.x = scratch_.normed;
      args.ids = scratch_.experts.ids;
      args.weights = scratch_.experts.weights;
      args.pool = gpu ? layer.gpu_experts : layer.cpu_experts;
      args.offsets = {offsets.data(), offsets.size()};
      args.out = residual_;
      args.workspace = scratch_.experts.workspace;
      device_.run(stream_, args);
    }
  }

  const PackedModel& model_;
  Device& device_;
  Stream stream_;
  int tokens_;
  HeapCarver carver_;
  LayerScratch scratch_;
  View<float> residual_;
  std::vector<LayerState> states_;
};

}  // namespace

Expected<std::vector<float>> reference_logits(const PackedModel& model, KvElement kv_element,
                                              std::span<const std::int32_t> tokens,
                                              std::span<const std::int32_t> positions,
                                              const std::function<bool(int, int, int)>& on_gpu,
                                              const std::function<bool(std::size_t, std::size_t)>& go_on) {
  const bool rising = std::is_sorted(positions.begin(), positions.end(), std::less_equal<>());
  if (tokens.empty() || !rising ||
      (!positions.empty() && (positions.front() < 0 || static_cast<std::size_t>(positions.back()) >= tokens.size()))) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("{} positions do not fit {} tokens.", positions.size(), tokens.size()),
                "Give rising positions below the number of tokens.");
  }
  KRASIS_TRY(const auto platform, HostPlatform::create({.schedule = Schedule::Immediate}));
  ReferencePass pass(model, *platform, kv_element, static_cast<int>(tokens.size()));
  const auto vocabulary = static_cast<std::size_t>(model.spec.vocabulary);
  std::vector<float> logits(positions.size() * vocabulary);
  std::size_t next = 0;
  const std::size_t needed = positions.empty() ? 0 : static_cast<std::size_t>(positions.back()) + 1;
  for (std::size_t t = 0; t < needed; ++t) {
    pass.step(tokens[t], static_cast<std::int32_t>(t), on_gpu);
    if (positions[next] == static_cast<std::int32_t>(t)) pass.logits(logits.data() + vocabulary * next++);
    if (go_on && !go_on(t + 1, needed)) return fail(ErrorCode::Cancelled, "The reference was stopped.");
  }
  KRASIS_CHECK(pass.outcome());
  return logits;
}

}  // namespace krasis

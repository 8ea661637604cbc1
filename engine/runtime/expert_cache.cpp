#include "engine/runtime/expert_cache.h"

#include <algorithm>

namespace krasis {

std::vector<int> choose_cached_experts(const ModelConfig& model, const RunConfiguration& configuration,
                                       const std::vector<std::int64_t>& heatmap) {
  const auto experts = static_cast<std::size_t>(model.experts);
  std::vector<int> cached_on(static_cast<std::size_t>(model.expert_layers()) * experts, -1);
  if (configuration.hcs == HotCache::Off) return cached_on;
  for (int device = 0; device < configuration.device_count; ++device) {
    std::vector<std::size_t> candidates;
    std::size_t first = 0;
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
      if (!model.has_experts[static_cast<std::size_t>(layer)]) continue;
      const bool here = configuration.hcs == HotCache::On ? device == 0 : owner_of_layer(layer, configuration) == device;
      for (std::size_t e = 0; here && e < experts; ++e) candidates.push_back(first + e);
      first += experts;
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [&](std::size_t a, std::size_t b) { return heatmap[a] > heatmap[b]; });
    candidates.resize(static_cast<std::size_t>(hot_experts(model, configuration, device)));
    for (const std::size_t index : candidates) cached_on[index] = device;
  }
  return cached_on;
}

View<const std::byte> experts_of_layer(const PackedModel& model, std::size_t expert_layer) {
  for (const PackedLayer& layer : model.layers) {
    if (layer.gpu_experts.empty()) continue;
    if (expert_layer-- == 0) return layer.gpu_experts;
  }
  return {};
}

}  // namespace krasis

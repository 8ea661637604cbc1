#include "engine/model/model_spec.h"

#include <algorithm>

namespace krasis {
namespace {

bool is_routed(const LayerSpec& layer) {
  return std::holds_alternative<RoutedExperts>(layer.feed_forward);
}

}  // namespace

const Rotary* rotary_of(const LayerSpec& layer) {
  return std::visit(
      [](const auto& mixer) -> const Rotary* {
        if constexpr (requires { mixer.rotary; }) return &mixer.rotary;
        return nullptr;
      },
      layer.mixer);
}

bool ModelSpec::has_experts(std::int64_t index) const {
  return is_routed(layer(index));
}

std::int64_t ModelSpec::expert_layers() const {
  return std::count_if(layers.begin(), layers.end(), is_routed);
}

const RoutedExperts& ModelSpec::routed() const {
  return std::get<RoutedExperts>(std::find_if(layers.begin(), layers.end(), is_routed)->feed_forward);
}

}  // namespace krasis

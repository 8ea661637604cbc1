#include "engine/layers/layer_state.h"

#include "engine/layers/grouped_attention.h"

namespace krasis {

std::vector<StatePart> state_parts(const LayerSpec& layer, KvElement element) {
  return std::visit([&](const auto& part) { return state_parts(part, element); }, layer.mixer);
}

LayerState carve_state(Carver& carver, std::string_view place, const std::vector<StatePart>& parts,
                       std::int64_t max_context) {
  LayerState state(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    KvPlane& plane = state[i].plane;
    if (const auto* fixed = std::get_if<FixedState>(&parts[i])) {
      carver(place, plane.values, fixed->elements * static_cast<std::int64_t>(sizeof(float)));
      continue;
    }
    const auto& rows = std::get<PositionState>(parts[i]);
    state[i].element = rows.element;
    carver(place, plane.values, static_cast<std::int64_t>(rows.value_bytes(max_context)));
    carver(place, plane.scales, static_cast<std::int64_t>(rows.scales(max_context)));
  }
  return state;
}

std::size_t position_bytes(const std::vector<StatePart>& parts) {
  std::size_t bytes = 0;
  for (const StatePart& part : parts) {
    const auto* rows = std::get_if<PositionState>(&part);
    if (rows == nullptr) continue;
    const auto dim = static_cast<std::size_t>(rows->head_dim);
    bytes += static_cast<std::size_t>(rows->heads) * (rows->element == KvElement::Fp8 ? dim + sizeof(float) : dim * 2);
  }
  return bytes;
}

}  // namespace krasis

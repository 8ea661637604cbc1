#pragma once

#include <vector>

#include "engine/layers/carver.h"
#include "engine/layers/state_part.h"
#include "engine/model/model_spec.h"

namespace krasis {

/// What the layer's mixer keeps of a sequence.
std::vector<StatePart> state_parts(const LayerSpec& layer, KvElement element);

/// Asks `carver` for the memory of each part, as `place`; planes lie in rows.
LayerState carve_state(Carver& carver, std::string_view place, const std::vector<StatePart>& parts,
                       std::int64_t max_context);

/// Bytes of one position in a layer.
std::size_t position_bytes(const std::vector<StatePart>& parts);

}  // namespace krasis

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/weights/packed_model.h"

namespace krasis {

/// The plain forward pass: one token after another by the scalar reference operations, each at once; no groups, no
/// cache of experts. What every verdict is measured against. It runs the same steps (layer_step.h) as prefill and
/// decode, so it does not prove how operations are put together: the goldens against transformers prove that for each
/// family (tests/goldens, tests/engine/runtime/golden_test.cpp).
///
/// @param tokens     the whole sequence
/// @param positions  whose logits are wanted, rising
/// @param on_gpu     (expert layer index, expert, position) -> computed with the GPU's precision? (prefill: always)
/// @param go_on      if given, asked behind each token with how many of the needed ones are done; false ends the pass
/// @return [positions, vocabulary]; Cancelled if go_on said so
Expected<std::vector<float>> reference_logits(const PackedModel& model, KvElement kv_element,
                                              std::span<const std::int32_t> tokens,
                                              std::span<const std::int32_t> positions,
                                              const std::function<bool(int, int, int)>& on_gpu,
                                              const std::function<bool(std::size_t, std::size_t)>& go_on = {});

}  // namespace krasis

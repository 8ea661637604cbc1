#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/runtime/engine.h"
#include "engine/weights/packed_model.h"

namespace krasis {

/// What the reference's judgement of a text depends on. Runs that differ in placement alone agree in it.
struct ReferenceInputs {
  std::string_view fingerprint;  ///< of the weights' content
  Precision precision;
  std::string_view kv_cache;                ///< "bf16" or "fp8"
  std::span<const std::int32_t> prompt;     ///< token ids
  std::span<const std::int32_t> generated;  ///< token ids that were written after the prompt
  // Who computed an expert. It matters only where the GPU's and the CPU's experts have different formats.
  PrefillPath path = PrefillPath::Stream;
  std::span<const int> cached;           ///< Engine::cached_experts()
  std::span<const CacheChange> changes;  ///< Engine::cache_changes()
};

/// A text that is equal for equal inputs and, up to a hash of 128 bits over the tokens, for no others. Formats stand in
/// it by their names: two formats may have the same number of bits.
std::string reference_key(const ReferenceInputs& inputs);

}  // namespace krasis

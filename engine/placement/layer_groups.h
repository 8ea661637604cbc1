#pragma once

#include <cstdint>
#include <vector>

#include "engine/config/run_configuration.h"
#include "engine/layers/precision.h"
#include "engine/model/model_spec.h"

namespace krasis {

/// A run of `lgs` layers whose experts are on a device together while prefilling.
struct LayerGroup {
  std::int64_t first = 0;
  std::int64_t count = 0;
  int owner = 0;          ///< device
  int buffer = 0;         ///< of the owner's group buffers
  std::size_t bytes = 0;  ///< of all its experts; 0 = only dense layers, nothing to load
};
std::vector<LayerGroup> layer_groups(const ModelSpec& spec, const RunConfiguration& configuration);

/// The device that owns a layer: its mixer, state and group buffer. Groups of LGS layers alternate.
int owner_of_layer(std::int64_t layer, const RunConfiguration& configuration);

/// The precision of each class of weights that a configuration asks for.
Precision precision_of(const RunConfiguration& configuration);
KvElement kv_element_of(const RunConfiguration& configuration);

/// The most tokens of a prompt that the CPU's experts compute, and of one that takes its picked experts alone.
inline constexpr int kMostCpuPrompt = 64;
inline constexpr int kMostPickedPrompt = 512;  ///< and a chunk
/// Tokens that pass through a layer group together while prefilling.
std::int64_t chunk_of(const RunConfiguration& configuration);
/// Up to how many tokens a prompt may take its picked experts alone.
std::int64_t most_picked(const RunConfiguration& configuration);
/// How many tokens may pass between devices and CPU experts together: a short prompt's.
std::int64_t most_together(const RunConfiguration& configuration);

}  // namespace krasis

#pragma once

#include <vector>

#include "engine/config/run_configuration.h"
#include "engine/model/model_config.h"
#include "kernels/device.h"

namespace krasis {

/// What one sequence has left behind in the layers of one device: a full KV cache for each layer. Positions beyond
/// `length` hold nothing of meaning, so truncating is setting the length.
class SequenceState {
 public:
  /// Allocates "kv cache" for `layers` on `device`: kv_capacity(max_context) rows of kv_heads x head_dim, keys and
  /// values, as the device wants them to lie.
  static Expected<SequenceState> create(Device& device, const ModelConfig& model, const RunConfiguration& configuration,
                                        const std::vector<std::int64_t>& layers);

  const KvCache& layer(std::int64_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }

 private:
  std::vector<Buffer> buffers_;
  std::vector<KvCache> layers_;  ///< [layers of the model]; no rows for other devices' layers
};

}  // namespace krasis

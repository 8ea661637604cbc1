#pragma once

#include <vector>

#include "engine/config/run_configuration.h"
#include "engine/weights/packed_model.h"
#include "kernels/device.h"

namespace krasis {

/// The weights that stay on one device: those of its layers, and on device 0 embedding and LM head.
class ResidentWeights {
 public:
  /// Allocates "resident weights" (and "embedding and head") on `device` and enqueues their copies on `stream`. Where
  /// `attention_places` (DeviceState) are given, q, k, v and o are there: somebody else copies them.
  /// `frequencies` are the rotary embedding's [head_dim / 2]; they must live until the stream is done.
  static Expected<ResidentWeights> upload(Device& device, Stream stream, const PackedModel& model,
                                          const std::vector<std::int64_t>& layers,
                                          const std::vector<View<std::byte>>& attention_places, View<const float> frequencies,
                                          bool with_head);

  const LayerWeights& layer(std::int64_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  View<const float> inverse_frequency() const { return inverse_frequency_; }
  const Matrix& embedding() const { return embedding_; }
  const Matrix& lm_head() const { return lm_head_; }
  View<const bf16> final_norm() const { return final_norm_; }

 private:
  std::vector<Buffer> buffers_;
  std::vector<LayerWeights> layers_;  ///< [layers of the model]; empty entries for other devices' layers
  View<const float> inverse_frequency_;
  Matrix embedding_, lm_head_;
  View<const bf16> final_norm_;
};

}  // namespace krasis

#include "engine/runtime/resident_weights.h"

namespace krasis {
namespace {

/// Allocates one buffer for each tensor and enqueues its copy.
class Uploader {
 public:
  Uploader(Device& device, Stream stream, std::string place, std::vector<Buffer>& buffers)
      : device_(device), stream_(stream), place_(std::move(place)), buffers_(buffers) {}

  template <class T>
  Expected<void> operator()(View<const T> from, View<const T>& to) {
    to = {};
    if (from.empty()) return {};
    KRASIS_TRY(Buffer buffer, device_.allocate(place_, from.bytes(), MemorySpace::Device));
    const View<T> target = buffer.view<T>(0, from.size);
    copy(device_, stream_, target, from, "upload weights");
    to = target;
    buffers_.push_back(std::move(buffer));
    return {};
  }

  Expected<void> operator()(const Matrix& from, Matrix& to) {
    to = from;
    if (from.layout.rows == 0) return {};
    View<const std::byte> range;
    KRASIS_CHECK((*this)(from.range(), range));
    to.data = range.data;
    return {};
  }

 private:
  Device& device_;
  Stream stream_;
  std::string place_;
  std::vector<Buffer>& buffers_;
};

}  // namespace

Expected<ResidentWeights> ResidentWeights::upload(Device& device, Stream stream, const PackedModel& model,
                                                  const std::vector<std::int64_t>& layers,
                                                  const std::vector<View<std::byte>>& attention_places, View<const float> frequencies,
                                                  bool with_head) {
  ResidentWeights weights;
  weights.layers_.resize(model.layers.size());
  Uploader upload(device, stream, "resident weights", weights.buffers_);
  for (const std::int64_t index : layers) {
    const LayerWeights& from = model.layers[static_cast<std::size_t>(index)];
    LayerWeights& to = weights.layers_[static_cast<std::size_t>(index)];
    for (const auto field : {&LayerWeights::input_norm, &LayerWeights::post_attention_norm, &LayerWeights::q_norm,
                             &LayerWeights::k_norm}) {
      KRASIS_CHECK(upload(from.*field, to.*field));
    }
    for (const auto field : {&LayerWeights::q_proj, &LayerWeights::k_proj, &LayerWeights::v_proj, &LayerWeights::o_proj}) {
      if (attention_places.empty()) {
        KRASIS_CHECK(upload(from.*field, to.*field));
      } else {
        to.*field = from.*field;
        (to.*field).data = attention_places[static_cast<std::size_t>(index)].data + ((from.*field).data - from.q_proj.data);
      }
    }
    for (const auto field : {&LayerWeights::router, &LayerWeights::gate_proj, &LayerWeights::up_proj, &LayerWeights::down_proj}) {
      KRASIS_CHECK(upload(from.*field, to.*field));
    }
  }
  KRASIS_CHECK(upload(frequencies, weights.inverse_frequency_));
  if (!with_head) return weights;

  Uploader upload_head(device, stream, "embedding and head", weights.buffers_);
  KRASIS_CHECK(upload_head(model.embedding, weights.embedding_));
  if (model.lm_head.data == model.embedding.data) {
    weights.lm_head_ = weights.embedding_;
  } else {
    KRASIS_CHECK(upload_head(model.lm_head, weights.lm_head_));
  }
  KRASIS_CHECK(upload_head(model.final_norm, weights.final_norm_));
  return weights;
}

}  // namespace krasis

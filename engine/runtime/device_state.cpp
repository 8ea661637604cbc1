#include "engine/runtime/device_state.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/runtime/device_carver.h"

namespace krasis {
namespace {

/// Enqueues the copy of each weight to its place on a device, but for the mixers' matrices where StreamedAttention
/// copies them.
class Uploader {
 public:
  Uploader(Device& device, Stream stream, bool streamed) : device_(device), stream_(stream), streamed_(streamed) {}

  template <class Field>
  void operator()(const WeightSlot& slot, const Field& from, const Field& to) const {
    if (streamed_ && slot.weight_class == WeightClass::Attention) return;
    copy(device_, stream_, bytes_of(to), bytes_of(from), "upload weights");
  }

 private:
  // A weight is constant for all but this.
  static View<std::byte> bytes_of(const View<const bf16>& vector) {
    return {reinterpret_cast<std::byte*>(const_cast<bf16*>(vector.data)), vector.bytes()};
  }
  static View<std::byte> bytes_of(const Matrix& matrix) {
    return {const_cast<std::byte*>(matrix.data), matrix.layout.bytes()};
  }

  Device& device_;
  Stream stream_;
  bool streamed_;
};

/// The state of the device's layers; planes of a KV cache lie as its attention wants them.
SequenceState sequence_of(DeviceState& s, const ModelSpec& spec, const RunConfiguration& configuration) {
  std::vector<std::vector<StatePart>> parts(spec.layers.size());
  for (const std::int64_t layer : s.layers) {
    const auto l = static_cast<std::size_t>(layer);
    parts[l] = state_parts(spec.layers[l], kv_element_of(configuration));
    for (std::size_t i = 0; i < parts[l].size(); ++i) {
      const auto* rows = std::get_if<PositionState>(&parts[l][i]);
      if (rows == nullptr) continue;
      s.states[l][i].layout = s.device->kv_layout(rows->query_heads, rows->heads, rows->head_dim);
    }
  }
  return {std::move(parts), s.states};
}

}  // namespace

HostConstants::HostConstants(const PackedModel& model, const RunConfiguration& configuration)
    : positions(static_cast<std::size_t>(configuration.max_context)), decode_span{{0, 1, 0}} {
  std::iota(positions.begin(), positions.end(), 0);
  const auto experts = static_cast<std::size_t>(model.spec.experts());
  stream_offsets.resize(static_cast<std::size_t>(model.spec.expert_layers()) * experts);
  for (std::size_t i = 0; i < stream_offsets.size(); ++i) {
    stream_offsets[i] = static_cast<std::int64_t>(i % experts * model.gpu_expert_layout.bytes());
  }
}

Expected<DeviceState> DeviceState::create(Device& device, int index, const PackedModel& model,
                                          const RunConfiguration& configuration, const HostConstants& constants) {
  DeviceState s;
  s.device = &device;
  s.index = index;
  s.compute = device.create_stream("compute " + std::to_string(index), Lane::Compute);
  s.loader = device.create_stream("copy " + std::to_string(index), Lane::Copy);
  for (std::int64_t layer = 0; layer < model.spec.layer_count(); ++layer) {
    if (owner_of_layer(layer, configuration) == index) s.layers.push_back(layer);
  }
  DeviceCarver carver(device, MemorySpace::Device, s.buffers);
  s.carve(carver, model.spec, configuration, index);
  s.carve_cache(carver, model.spec, configuration, cache_size(model.spec, configuration, index));
  KRASIS_CHECK(carver.outcome());
  s.cached_blocks.resize(static_cast<std::size_t>(model.spec.expert_layers()));
  s.sequence = sequence_of(s, model.spec, configuration);
  s.max_context = configuration.max_context;
  s.enqueue_uploads(model, constants);
  return s;
}

void DeviceState::enqueue_uploads(const PackedModel& model, const HostConstants& constants) {
  const ModelSpec& spec = model.spec;
  const Uploader upload_layer(*device, compute, !streamed_places.empty());
  const auto upload = [&](auto view, const auto& host) {
    copy(*device, compute, view, View{host.data(), host.size()}, "upload constants");
  };
  std::vector<const float*> tables;  // that are copied already
  for (const std::int64_t layer : layers) {
    const auto l = static_cast<std::size_t>(layer);
    const LayerWeights& from = model.layers[l];
    visit_layer(spec.layers[l], spec.hidden, upload_layer, from, std::as_const(weights[l]));
    const View<float> frequencies = inverse_frequencies[l];
    if (frequencies.empty() || std::find(tables.begin(), tables.end(), frequencies.data) != tables.end()) continue;
    tables.push_back(frequencies.data);
    upload(frequencies, rotary_of(spec.layers[l])->inverse_frequencies);
  }
  if (index == 0) {
    const Uploader upload_head(*device, compute, false);
    visit_head(spec, upload_head, model.head, std::as_const(head));
    if (spec.tied_embeddings && head.lm_head.data != head.embedding.data) {
      upload_head(lm_head_slot(spec), model.head.lm_head, std::as_const(head.lm_head));
    }
  }
  upload(prompt_positions, constants.positions);
  upload(stream_offsets, constants.stream_offsets);
  upload(decode_span, constants.decode_span);
  upload(gathered, constants.zero);
}

}  // namespace krasis

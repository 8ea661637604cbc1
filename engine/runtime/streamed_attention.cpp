#include "engine/runtime/streamed_attention.h"

namespace krasis {

View<const std::byte> streamed_weights(const PackedModel& model, std::int64_t layer) {
  const LayerSpec& spec = model.spec.layer(layer);
  const StreamedRange range = streamed_range(spec, model.spec.hidden, model.precision);
  const std::byte* first = nullptr;  // of the layer's weights, which lie one after another
  visit_layer(
      spec, model.spec.hidden,
      [&](const WeightSlot& slot, const auto& field) {
        if (first == nullptr && slot.weight_class == WeightClass::Attention) {
          first = reinterpret_cast<const std::byte*>(field.data);
        }
      },
      model.layers[static_cast<std::size_t>(layer)]);
  return {first, range.bytes()};
}

StreamedAttention::StreamedAttention(const PackedModel& model, std::span<DeviceState> devices) : layers_(model.layers.size()) {
  for (DeviceState& state : devices) {
    if (state.streamed_places.empty()) continue;
    for (const std::int64_t l : state.layers) {
      const auto index = static_cast<std::size_t>(l);
      layers_[index] = {&state, state.streamed_places[index], streamed_weights(model, l), true, -1, {}};
      for (std::size_t before = index; before-- > 0;) {
        Layer& last = layers_[before];
        if (last.owner != &state || last.place.data != layers_[index].place.data) continue;
        last.next = l;
        layers_[index].first = false;
        break;
      }
    }
  }
}

std::size_t StreamedAttention::bytes() const {
  std::size_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.weights.bytes();
  return bytes;
}

void StreamedAttention::load(Layer& layer) {
  Device& device = *layer.owner->device;
  device.copy(layer.owner->loader, layer.place, layer.weights, "load attention");
  layer.loaded = device.record(layer.owner->loader);
}

void StreamedAttention::begin() {
  if (paused_) return;
  const DeviceState* waiting = nullptr;
  for (Layer& layer : layers_) {
    if (!layer.first) continue;
    DeviceState& owner = *layer.owner;
    if (waiting != &owner) owner.device->wait(owner.loader, owner.device->record(owner.compute), "last attention is done");
    waiting = &owner;
    load(layer);
  }
}

void StreamedAttention::acquire(std::int64_t index) {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  if (layer.owner != nullptr && !paused_) layer.owner->device->wait(layer.owner->compute, layer.loaded, "attention is loaded");
}

void StreamedAttention::release(std::int64_t index) {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  if (layer.next < 0 || paused_) return;
  DeviceState& owner = *layer.owner;
  owner.device->wait(owner.loader, owner.device->record(owner.compute), "attention buffer is free");
  load(layers_[static_cast<std::size_t>(layer.next)]);
}

}  // namespace krasis

#include "engine/runtime/sequence_state.h"

namespace krasis {

SequenceState::SequenceState(std::vector<std::vector<StatePart>> parts, std::vector<LayerState> memory)
    : memory_(std::move(memory)) {
  for (std::size_t layer = 0; layer < memory_.size(); ++layer) {
    for (std::size_t i = 0; i < memory_[layer].size(); ++i) {
      if (std::holds_alternative<FixedState>(parts[layer][i])) fixed_.push_back(memory_[layer][i].plane.values);
    }
  }
}

void SequenceState::begin(Device& device, Stream stream) const {
  for (const View<std::byte>& part : fixed_) {
    device.run(stream, FillArgs{View<float>{reinterpret_cast<float*>(part.data), part.size / sizeof(float)}, 0.0f});
  }
}

std::size_t SequenceState::snapshot_bytes() const {
  std::size_t bytes = 0;
  for (const View<std::byte>& part : fixed_) bytes += part.size;
  return bytes;
}

void SequenceState::save(Device& device, Stream stream, View<std::byte> snapshot) const {
  std::size_t offset = 0;
  for (const View<std::byte>& part : fixed_) {
    device.copy(stream, snapshot.sub(offset, part.size), part, "save state");
    offset += part.size;
  }
}

void SequenceState::restore(Device& device, Stream stream, View<const std::byte> snapshot) const {
  std::size_t offset = 0;
  for (const View<std::byte>& part : fixed_) {
    device.copy(stream, part, snapshot.sub(offset, part.size), "restore state");
    offset += part.size;
  }
}

}  // namespace krasis

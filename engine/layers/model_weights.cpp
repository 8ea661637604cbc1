#include "engine/layers/model_weights.h"

#include <fmt/format.h>

namespace krasis {
namespace {

/// Parameters of all layers, counting `experts_counted` experts in each layer that has some.
std::int64_t layer_parameters(const ModelSpec& spec, std::int64_t experts_counted) {
  std::int64_t sum = 0;
  const auto add = [&](const WeightSlot& slot, auto&&...) { sum += slot.elements(); };
  for (const LayerSpec& layer : spec.layers) visit_layer(layer, spec.hidden, add);
  std::int64_t expert = 0;
  visit_expert(spec.routed(), spec.hidden, [&](const WeightSlot& slot, auto...) { expert += slot.elements(); });
  return sum + spec.expert_layers() * experts_counted * expert;
}

std::string with_unit(std::int64_t count) {
  const char* unit = count >= 1000000000 ? "B" : count >= 1000000 ? "M" : "K";
  const double divisor = count >= 1000000000 ? 1e9 : count >= 1000000 ? 1e6 : 1e3;
  return fmt::format("{:.1f} {}", static_cast<double>(count) / divisor, unit);
}

}  // namespace

StreamedRange streamed_range(const LayerSpec& layer, std::int64_t hidden, const Precision& precision) {
  StreamedRange range;
  std::size_t offset = 0;
  visit_layer(layer, hidden, [&](const WeightSlot& slot) {
    const std::size_t end = offset + precision.layout(slot).bytes();
    if (slot.weight_class == WeightClass::Attention) {
      if (range.end == 0) range.begin = offset;
      range.end = end;
    }
    offset = end;
  });
  return range;
}

std::size_t layer_bytes(const LayerSpec& layer, std::int64_t hidden, const Precision& precision) {
  std::size_t bytes = 0;
  visit_layer(layer, hidden, [&](const WeightSlot& slot) { bytes += precision.layout(slot).bytes(); });
  return bytes;
}

std::size_t head_bytes(const ModelSpec& spec, const Precision& precision) {
  std::size_t bytes = 0;
  visit_head(spec, [&](const WeightSlot& slot) { bytes += precision.layout(slot).bytes(); });
  const bool copied = spec.tied_embeddings && !head_is_embedding(spec, precision);
  return bytes + (copied ? precision.layout(lm_head_slot(spec)).bytes() : 0);
}

ExpertLayout expert_layout(const ModelSpec& spec, Element element, int group_size) {
  return expert_layout(element, group_size, spec.hidden, spec.routed().width);
}

PackedBytes packed_bytes(const ModelSpec& spec, const Precision& precision) {
  const ExpertLayout gpu = expert_layout(spec, precision.gpu_experts, precision.group_size);
  const ExpertLayout cpu = expert_layout(spec, precision.cpu_experts, precision.group_size);
  const auto experts = static_cast<std::size_t>(spec.expert_layers() * spec.experts());
  PackedBytes bytes;
  bytes.dense = head_bytes(spec, precision);
  for (const LayerSpec& layer : spec.layers) bytes.dense += layer_bytes(layer, spec.hidden, precision);
  bytes.gpu_experts = experts * gpu.bytes();
  bytes.cpu_experts = precision.gpu_experts == precision.cpu_experts ? 0 : experts * cpu.bytes();
  return bytes;
}

std::int64_t parameter_count(const ModelSpec& spec) {
  std::int64_t head = 0;
  visit_head(spec, [&](const WeightSlot& slot) { head += slot.elements(); });
  return layer_parameters(spec, spec.experts()) + head;
}

std::int64_t active_parameter_count(const ModelSpec& spec) {
  return layer_parameters(spec, spec.top_k()) + spec.hidden + lm_head_slot(spec).elements();
}

std::string model_summary(const ModelSpec& spec) {
  return std::to_string(spec.layer_count()) + " layers, hidden " + std::to_string(spec.hidden) + ", " +
         std::to_string(spec.experts()) + " experts, top-" + std::to_string(spec.top_k()) + ", " +
         with_unit(parameter_count(spec)) + " parameters (" + with_unit(active_parameter_count(spec)) + " active)";
}

}  // namespace krasis

#include "engine/weights/packed_layout.h"

namespace krasis {
namespace {

/// Lays weights one after another into the dense region and tells `done(slot, layer, target, fields...)` of each.
template <class Done>
class DensePlacer {
 public:
  DensePlacer(const Precision& precision, const Done& done) : precision_(precision), done_(done) {}

  template <class... Fields>
  void operator()(const WeightSlot& slot, Fields&... fields) {
    const PackedTarget target{Region::Dense, bytes_, precision_.layout(slot)};
    bytes_ += target.layout.bytes();
    done_(slot, layer, target, fields...);
  }

  int layer = -1;

 private:
  const Precision& precision_;
  const Done& done_;
  std::size_t bytes_ = 0;
};

/// Every weight of the dense region, in the order of their places. A tied LM head of another precision than BF16 comes
/// behind its embedding. `model` is nothing, or the PackedModel whose fields `done` gets.
template <class Done, class... Weights>
void place_dense(const ModelSpec& spec, const Precision& precision, const Done& done, Weights&... model) {
  DensePlacer placer(precision, done);
  const auto place_head = [&](const WeightSlot& slot, auto&... field) {
    placer(slot, field...);
    const bool behind_embedding = slot.name == "embedding" && spec.tied_embeddings;
    if (behind_embedding && !head_is_embedding(spec, precision)) placer(lm_head_slot(spec), model.head.lm_head...);
  };
  visit_head(spec, place_head, model.head...);
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    placer.layer = static_cast<int>(layer);
    visit_layer(spec.layers[layer], spec.hidden, placer, model.layers[layer]...);
  }
}

/// gate, up and down of one expert, whose blocks begin at these offsets.
void place_expert(std::vector<PackedPart>& parts, const ModelSpec& spec, int layer, int expert, const ExpertLayout& gpu,
                  std::size_t gpu_offset, const ExpertLayout* cpu, std::size_t cpu_offset) {
  visit_expert(spec.routed(), spec.hidden, [&](const WeightSlot& slot, auto matrix, auto offset) {
    PackedPart part{slot, layer, expert, {}, 1};
    part.targets[0] = {Region::GpuExperts, gpu_offset + (gpu.*offset)(), gpu.*matrix};
    if (cpu != nullptr) {
      part.targets[1] = {Region::CpuExperts, cpu_offset + (cpu->*offset)(), cpu->*matrix};
      part.target_count = 2;
    }
    parts.push_back(part);
  });
}

void bind_experts(PackedModel& model) {
  const auto experts = static_cast<std::size_t>(model.spec.experts());
  const std::size_t gpu_bytes = experts * model.gpu_expert_layout.bytes();
  const std::size_t cpu_bytes = experts * model.cpu_expert_layout.bytes();
  const bool shared = model.precision.gpu_experts == model.precision.cpu_experts;
  std::size_t nth = 0;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    if (!model.spec.has_experts(static_cast<std::int64_t>(layer))) continue;
    PackedLayer& packed = model.layers[layer];
    packed.gpu_experts = {model.gpu_experts.data() + nth * gpu_bytes, gpu_bytes};
    packed.cpu_experts =
        shared ? packed.gpu_experts : View<const std::byte>{model.cpu_experts.data() + nth * cpu_bytes, cpu_bytes};
    ++nth;
  }
}

}  // namespace

std::vector<PackedPart> packed_parts(const ModelSpec& spec, const Precision& precision) {
  std::vector<PackedPart> parts;
  place_dense(spec, precision, [&](const WeightSlot& slot, int layer, const PackedTarget& target) {
    if (slot.name == "lm_head" && spec.tied_embeddings) {
      parts.back().targets[1] = target;
      parts.back().target_count = 2;
    } else {
      parts.push_back({slot, layer, -1, {target, {}}, 1});
    }
  });
  const ExpertLayout gpu = expert_layout(spec, precision.gpu_experts, precision.group_size);
  const ExpertLayout cpu = expert_layout(spec, precision.cpu_experts, precision.group_size);
  const bool two_copies = precision.gpu_experts != precision.cpu_experts;
  std::size_t nth = 0;
  for (int layer = 0; layer < static_cast<int>(spec.layer_count()); ++layer) {
    if (!spec.has_experts(layer)) continue;
    for (int expert = 0; expert < spec.experts(); ++expert, ++nth) {
      place_expert(parts, spec, layer, expert, gpu, nth * gpu.bytes(), two_copies ? &cpu : nullptr, nth * cpu.bytes());
    }
  }
  return parts;
}

std::byte* region_data(const PackedModel& model, Region region) {
  return region == Region::Dense        ? model.dense.data()
         : region == Region::GpuExperts ? model.gpu_experts.data()
                                        : model.cpu_experts.data();
}

void bind_packed_model(PackedModel& model) {
  const Precision& p = model.precision;
  model.gpu_expert_layout = expert_layout(model.spec, p.gpu_experts, p.group_size);
  model.cpu_expert_layout = expert_layout(model.spec, p.cpu_experts, p.group_size);
  model.layers.clear();
  for (const LayerSpec& layer : model.spec.layers) model.layers.emplace_back(layer);
  const auto bind = [&](const WeightSlot&, int, const PackedTarget& target, auto& field) {
    const std::byte* data = model.dense.data() + target.offset;
    if constexpr (std::is_same_v<decltype(field), Matrix&>) {
      field = {target.layout, data};
    } else {
      field = {reinterpret_cast<const bf16*>(data), static_cast<std::size_t>(target.layout.columns)};
    }
  };
  place_dense(model.spec, p, bind, model);
  if (head_is_embedding(model.spec, p)) model.head.lm_head = model.head.embedding;
  bind_experts(model);
}

}  // namespace krasis

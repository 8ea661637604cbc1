#include "engine/weights/packed_layout.h"

namespace krasis {
namespace {

/// Lays tensors one after another into the dense region.
class DensePlacer {
 public:
  DensePlacer(std::vector<PackedPart>* parts, int group_size) : parts_(parts), group_size_(group_size) {}

  void add(TensorId id, Element element, std::int64_t rows, std::int64_t columns) {
    const PackedTarget target = place(element, rows, columns);
    if (parts_ != nullptr) parts_->push_back({id, rows, columns, {target, {}}, 1});
  }
  /// A second place for the tensor that was added last.
  void add_again(Element element, std::int64_t rows, std::int64_t columns) {
    const PackedTarget target = place(element, rows, columns);
    if (parts_ == nullptr) return;
    parts_->back().targets[1] = target;
    parts_->back().target_count = 2;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  PackedTarget place(Element element, std::int64_t rows, std::int64_t columns) {
    const PackedTarget target{Region::Dense, bytes_, {fit_format(element, group_size_, columns), rows, columns}};
    bytes_ += target.layout.bytes();
    return target;
  }

  std::vector<PackedPart>* parts_;
  int group_size_;
  std::size_t bytes_ = 0;
};

void place_layer(DensePlacer& placer, const ModelConfig& c, const Precision& precision, int layer) {
  const std::int64_t q_rows = std::int64_t{c.heads} * c.head_dim;
  const std::int64_t kv_rows = std::int64_t{c.kv_heads} * c.head_dim;
  const auto id = [layer](TensorKind kind) { return TensorId{kind, layer, -1}; };
  placer.add(id(TensorKind::InputNorm), Element::Bf16, 1, c.hidden);
  placer.add(id(TensorKind::QProj), precision.attention, q_rows, c.hidden);
  placer.add(id(TensorKind::KProj), precision.attention, kv_rows, c.hidden);
  placer.add(id(TensorKind::VProj), precision.attention, kv_rows, c.hidden);
  placer.add(id(TensorKind::QNorm), Element::Bf16, 1, c.head_dim);
  placer.add(id(TensorKind::KNorm), Element::Bf16, 1, c.head_dim);
  placer.add(id(TensorKind::OProj), precision.attention, c.hidden, q_rows);
  placer.add(id(TensorKind::PostAttentionNorm), Element::Bf16, 1, c.hidden);
  if (c.has_experts[static_cast<std::size_t>(layer)]) {
    placer.add(id(TensorKind::Router), Element::Bf16, c.experts, c.hidden);
  } else {
    placer.add(id(TensorKind::DenseGate), precision.dense_mlp, c.dense_width, c.hidden);
    placer.add(id(TensorKind::DenseUp), precision.dense_mlp, c.dense_width, c.hidden);
    placer.add(id(TensorKind::DenseDown), precision.dense_mlp, c.hidden, c.dense_width);
  }
}

/// Bytes of the dense region; its parts go to `parts` unless that is null.
std::size_t place_dense(const ModelConfig& c, const Precision& precision, std::vector<PackedPart>* parts) {
  DensePlacer placer(parts, precision.group_size);
  placer.add({TensorKind::Embedding}, Element::Bf16, c.vocabulary, c.hidden);
  if (!c.tied_embeddings) {
    placer.add({TensorKind::LmHead}, precision.lm_head, c.vocabulary, c.hidden);
  } else if (precision.lm_head != Element::Bf16) {
    placer.add_again(precision.lm_head, c.vocabulary, c.hidden);
  }
  placer.add({TensorKind::FinalNorm}, Element::Bf16, 1, c.hidden);
  for (int layer = 0; layer < static_cast<int>(c.layers); ++layer) place_layer(placer, c, precision, layer);
  return placer.bytes();
}

/// gate, up and down of one expert, whose blocks begin at these offsets.
void place_expert(std::vector<PackedPart>& parts, TensorId id, const ExpertLayout& gpu, std::size_t gpu_offset,
                  const ExpertLayout* cpu, std::size_t cpu_offset) {
  struct Third {
    TensorKind kind;
    MatrixLayout ExpertLayout::*layout;
    std::size_t (ExpertLayout::*offset)() const;
  };
  for (const Third& third : {Third{TensorKind::ExpertGate, &ExpertLayout::gate, &ExpertLayout::gate_offset},
                             Third{TensorKind::ExpertUp, &ExpertLayout::up, &ExpertLayout::up_offset},
                             Third{TensorKind::ExpertDown, &ExpertLayout::down, &ExpertLayout::down_offset}}) {
    const MatrixLayout& layout = gpu.*third.layout;
    PackedPart part{{third.kind, id.layer, id.expert}, layout.rows, layout.columns, {}, 1};
    part.targets[0] = {Region::GpuExperts, gpu_offset + (gpu.*third.offset)(), layout};
    if (cpu != nullptr) {
      part.targets[1] = {Region::CpuExperts, cpu_offset + (cpu->*third.offset)(), cpu->*third.layout};
      part.target_count = 2;
    }
    parts.push_back(part);
  }
}

Matrix* matrix_of(PackedModel& model, const TensorId& id) {
  if (id.kind == TensorKind::Embedding) return &model.embedding;
  if (id.kind == TensorKind::LmHead) return &model.lm_head;
  if (id.layer < 0) return nullptr;
  PackedLayer& layer = model.layers[static_cast<std::size_t>(id.layer)];
  switch (id.kind) {
    case TensorKind::QProj:
      return &layer.q_proj;
    case TensorKind::KProj:
      return &layer.k_proj;
    case TensorKind::VProj:
      return &layer.v_proj;
    case TensorKind::OProj:
      return &layer.o_proj;
    case TensorKind::Router:
      return &layer.router;
    case TensorKind::DenseGate:
      return &layer.gate_proj;
    case TensorKind::DenseUp:
      return &layer.up_proj;
    case TensorKind::DenseDown:
      return &layer.down_proj;
    default:
      return nullptr;
  }
}

View<const bf16>* vector_of(PackedModel& model, const TensorId& id) {
  if (id.kind == TensorKind::FinalNorm) return &model.final_norm;
  PackedLayer& layer = model.layers[static_cast<std::size_t>(id.layer)];
  switch (id.kind) {
    case TensorKind::InputNorm:
      return &layer.input_norm;
    case TensorKind::PostAttentionNorm:
      return &layer.post_attention_norm;
    case TensorKind::QNorm:
      return &layer.q_norm;
    default:
      return &layer.k_norm;
  }
}

void bind_experts(PackedModel& model) {
  const auto experts = static_cast<std::size_t>(model.config.experts);
  const std::size_t gpu_bytes = experts * model.gpu_expert_layout.bytes();
  const std::size_t cpu_bytes = experts * model.cpu_expert_layout.bytes();
  const bool shared = model.precision.gpu_experts == model.precision.cpu_experts;
  std::size_t nth = 0;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    if (!model.config.has_experts[layer]) continue;
    PackedLayer& packed = model.layers[layer];
    packed.gpu_experts = {model.gpu_experts.data() + nth * gpu_bytes, gpu_bytes};
    packed.cpu_experts =
        shared ? packed.gpu_experts : View<const std::byte>{model.cpu_experts.data() + nth * cpu_bytes, cpu_bytes};
    ++nth;
  }
}

}  // namespace

std::string TensorId::hub_name() const {
  static constexpr std::array<const char*, 18> kNames{"model.embed_tokens.weight",
                                                      "lm_head.weight",
                                                      "model.norm.weight",
                                                      "input_layernorm.weight",
                                                      "post_attention_layernorm.weight",
                                                      "self_attn.q_norm.weight",
                                                      "self_attn.k_norm.weight",
                                                      "self_attn.q_proj.weight",
                                                      "self_attn.k_proj.weight",
                                                      "self_attn.v_proj.weight",
                                                      "self_attn.o_proj.weight",
                                                      "mlp.gate.weight",
                                                      "mlp.gate_proj.weight",
                                                      "mlp.up_proj.weight",
                                                      "mlp.down_proj.weight",
                                                      "gate_proj.weight",
                                                      "up_proj.weight",
                                                      "down_proj.weight"};
  std::string name;
  if (layer >= 0) name = "model.layers." + std::to_string(layer) + ".";
  if (expert >= 0) name += "mlp.experts." + std::to_string(expert) + ".";
  return name + kNames[static_cast<std::size_t>(kind)];
}

bool TensorId::is_vector() const {
  return kind == TensorKind::FinalNorm || kind == TensorKind::InputNorm || kind == TensorKind::PostAttentionNorm ||
         kind == TensorKind::QNorm || kind == TensorKind::KNorm;
}

std::vector<PackedPart> packed_parts(const ModelConfig& config, const Precision& precision) {
  std::vector<PackedPart> parts;
  place_dense(config, precision, &parts);
  const auto gpu = expert_layout(precision.gpu_experts, precision.group_size, config.hidden, config.expert_width);
  const auto cpu = expert_layout(precision.cpu_experts, precision.group_size, config.hidden, config.expert_width);
  const bool two_copies = precision.gpu_experts != precision.cpu_experts;
  std::size_t nth = 0;
  for (int layer = 0; layer < static_cast<int>(config.layers); ++layer) {
    if (!config.has_experts[static_cast<std::size_t>(layer)]) continue;
    for (int expert = 0; expert < config.experts; ++expert, ++nth) {
      place_expert(parts, {TensorKind::ExpertGate, layer, expert}, gpu, nth * gpu.bytes(), two_copies ? &cpu : nullptr,
                   nth * cpu.bytes());
    }
  }
  return parts;
}

PackedBytes packed_bytes(const ModelConfig& config, const Precision& precision) {
  const auto gpu = expert_layout(precision.gpu_experts, precision.group_size, config.hidden, config.expert_width);
  const auto cpu = expert_layout(precision.cpu_experts, precision.group_size, config.hidden, config.expert_width);
  const auto experts = static_cast<std::size_t>(config.expert_layers()) * static_cast<std::size_t>(config.experts);
  PackedBytes bytes;
  bytes.dense = place_dense(config, precision, nullptr);
  bytes.gpu_experts = experts * gpu.bytes();
  bytes.cpu_experts = precision.gpu_experts == precision.cpu_experts ? 0 : experts * cpu.bytes();
  return bytes;
}

std::byte* region_data(const PackedModel& model, Region region) {
  return region == Region::Dense        ? model.dense.data()
         : region == Region::GpuExperts ? model.gpu_experts.data()
                                        : model.cpu_experts.data();
}

void bind_packed_model(PackedModel& model, const std::vector<PackedPart>& parts) {
  const ModelConfig& c = model.config;
  const Precision& p = model.precision;
  model.gpu_expert_layout = expert_layout(p.gpu_experts, p.group_size, c.hidden, c.expert_width);
  model.cpu_expert_layout = expert_layout(p.cpu_experts, p.group_size, c.hidden, c.expert_width);
  model.layers.assign(static_cast<std::size_t>(c.layers), {});
  for (const PackedPart& part : parts) {
    if (part.id.expert >= 0) continue;
    const PackedTarget& target = part.targets[0];
    const std::byte* data = model.dense.data() + target.offset;
    if (part.id.is_vector()) {
      *vector_of(model, part.id) = {reinterpret_cast<const bf16*>(data), static_cast<std::size_t>(part.columns)};
    } else {
      *matrix_of(model, part.id) = {target.layout, data};
    }
    if (part.id.kind == TensorKind::Embedding && c.tied_embeddings) {
      const PackedTarget& head = part.targets[part.target_count == 2 ? 1 : 0];
      model.lm_head = {head.layout, model.dense.data() + head.offset};
    }
  }
  bind_experts(model);
}

}  // namespace krasis

#include "engine/runtime/sequence_state.h"

namespace krasis {

Expected<SequenceState> SequenceState::create(Device& device, const ModelConfig& model, const RunConfiguration& configuration,
                                              const std::vector<std::int64_t>& layers) {
  SequenceState state;
  state.layers_.resize(static_cast<std::size_t>(model.layers));
  const bool fp8 = configuration.kv_cache == "fp8";
  const KvLayout layout = device.kv_layout(model.heads, model.kv_heads, model.head_dim);
  const auto heads = static_cast<std::size_t>(kv_capacity(configuration.max_context) * model.kv_heads);
  const std::size_t value_bytes = heads * static_cast<std::size_t>(model.head_dim) * (fp8 ? 1 : 2);
  for (const std::int64_t index : layers) {
    KvCache& cache = state.layers_[static_cast<std::size_t>(index)];
    cache = {.element = fp8 ? KvElement::Fp8 : KvElement::Bf16, .rows = configuration.max_context,
             .heads = model.kv_heads, .head_dim = model.head_dim, .layout = layout};
    for (KvPlane* plane : {&cache.keys, &cache.values}) {
      KRASIS_TRY(Buffer values, device.allocate("kv cache", value_bytes, MemorySpace::Device));
      plane->values = values.view();
      state.buffers_.push_back(std::move(values));
      if (!fp8) continue;
      KRASIS_TRY(Buffer scales, device.allocate("kv cache", heads * sizeof(float), MemorySpace::Device));
      plane->scales = scales.view<float>(0, heads);
      state.buffers_.push_back(std::move(scales));
    }
  }
  return state;
}

}  // namespace krasis

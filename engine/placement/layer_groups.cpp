#include "engine/placement/layer_groups.h"

#include <algorithm>

#include "base/format_parameter.h"
#include "engine/layers/model_weights.h"

namespace krasis {

std::vector<LayerGroup> layer_groups(const ModelSpec& spec, const RunConfiguration& configuration) {
  const std::size_t expert =
      expert_layout(spec, precision_of(configuration).gpu_experts, configuration.group_size).bytes();
  const std::size_t layer_bytes = static_cast<std::size_t>(spec.experts()) * expert;
  std::vector<LayerGroup> groups;
  std::vector<int> loaded(static_cast<std::size_t>(configuration.device_count), 0);
  for (std::int64_t first = 0; first < spec.layer_count(); first += configuration.lgs) {
    LayerGroup group{first, std::min<std::int64_t>(configuration.lgs, spec.layer_count() - first),
                     owner_of_layer(first, configuration), 0, 0};
    for (std::int64_t layer = first; layer < first + group.count; ++layer) {
      if (spec.has_experts(layer)) group.bytes += layer_bytes;
    }
    if (group.bytes > 0) group.buffer = loaded[static_cast<std::size_t>(group.owner)]++ % 2;
    groups.push_back(group);
  }
  return groups;
}

int owner_of_layer(std::int64_t layer, const RunConfiguration& configuration) {
  return static_cast<int>(layer / configuration.lgs % configuration.device_count);
}

Precision precision_of(const RunConfiguration& configuration) {
  const auto element = [](std::string_view format) { return element_named(format).value_or(Element::Bf16); };
  return {element(configuration.gpu_format),       element(configuration.cpu_format),
          element(configuration.attention_format), element(configuration.dense_mlp_format),
          element(configuration.lm_head_format),   configuration.group_size};
}

KvElement kv_element_of(const RunConfiguration& configuration) {
  return configuration.kv_cache == "fp8" ? KvElement::Fp8 : KvElement::Bf16;
}

std::int64_t chunk_of(const RunConfiguration& configuration) {
  return std::min(configuration.chunk_tokens, configuration.max_context);
}

std::int64_t most_picked(const RunConfiguration& configuration) {
  return std::min<std::int64_t>(kMostPickedPrompt, chunk_of(configuration));
}

std::int64_t most_together(const RunConfiguration& configuration) {
  return std::min<std::int64_t>(kMostCpuPrompt, chunk_of(configuration));
}

}  // namespace krasis

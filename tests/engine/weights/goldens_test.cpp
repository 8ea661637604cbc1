// The two random checkpoints of tests/goldens/models, loaded in every precision.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/weights/checkpoint.h"
#include "engine/weights/packed_layout.h"
#include "kernels/host/operations/packing/pack.h"

namespace krasis {
namespace {

const std::filesystem::path kModels = KRASIS_SOURCE_DIR "/tests/goldens/models";

/// Largest |value - unpacked| that the format allows in a group whose largest magnitude is `largest`: half a step, and
/// a whole one where INT4's code 8, of the sign opposite to the group's largest value, is clipped to 7. 2^-7 covers the
/// rounding of the scale to BF16.
float allowed_error(Element element, float largest, float value) {
  if (element == Element::Bf16) return 0.0f;
  if (element == Element::Mxfp4) {  // in units of 2^e the largest is in [4, 8), the numbers end at 6
    const float unit = std::exp2(std::floor(std::log2(largest)) - 2);
    const float magnitude = std::fabs(value) / unit;
    return unit * (magnitude <= 2 ? 0.25f : magnitude <= 4 ? 0.5f : magnitude <= 6 ? 1.0f : magnitude - 6);
  }
  const float step = (element == Element::Int4 ? largest / 8.0f : largest / 127.0f) * (1 + 0x1p-7f);
  return element == Element::Int4 && std::fabs(value) > 7.4f * step ? step : step / 2;
}

void expect_unpacks_to(const Matrix& matrix, std::span<const bf16> source, const std::string& name) {
  const auto columns = matrix.layout.columns;
  ASSERT_EQ(source.size(), static_cast<std::size_t>(matrix.layout.rows * columns)) << name;
  std::vector<float> unpacked(source.size());
  unpack_rows(matrix, 0, matrix.layout.rows, unpacked.data());
  const auto group =
      static_cast<std::size_t>(matrix.layout.format.group_size > 0 ? matrix.layout.format.group_size : 1);
  for (std::size_t begin = 0; begin < source.size(); begin += group) {
    float largest = 0;
    for (std::size_t i = begin; i < begin + group; ++i) {
      largest = std::max(largest, std::fabs(static_cast<float>(source[i])));
    }
    for (std::size_t i = begin; i < begin + group; ++i) {
      const auto value = static_cast<float>(source[i]);
      ASSERT_NEAR(unpacked[i], value, allowed_error(matrix.layout.format.element, largest, value))
          << name << " element " << i;
    }
  }
}

Matrix expert_matrix(View<const std::byte> experts, const ExpertLayout& layout, int expert,
                     MatrixLayout ExpertLayout::*matrix, std::size_t (ExpertLayout::*offset)() const) {
  return {layout.*matrix, experts.data + static_cast<std::size_t>(expert) * layout.bytes() + (layout.*offset)()};
}

struct Case {
  const char* model;
  Precision precision;
};

class GoldenModels : public testing::TestWithParam<Case> {};

TEST_P(GoldenModels, UnpackToTheCheckpoint) {
  const auto directory = kModels / GetParam().model;
  const auto checkpoint = Checkpoint::open(directory);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  const auto loaded = load_packed_model(directory.string(), GetParam().precision, {});
  ASSERT_TRUE(loaded) << loaded.error().message();
  const PackedModel& model = *loaded;
  const ModelSpec& spec = model.spec;
  const auto source = [&](std::string_view slot, int layer = -1, int expert = -1) {
    const auto* entry = checkpoint->find(spec.architecture->hub(spec, {slot, layer, expert}).tensor);
    return entry->file->values<bf16>(entry->tensor->name).value();
  };
  int layer = -1;
  int compared = 0;
  const auto compare = [&](const WeightSlot& slot, const auto& field) {
    const auto expected = source(slot.name, layer);
    ++compared;
    if constexpr (std::is_same_v<decltype(field), const Matrix&>) {
      expect_unpacks_to(field, expected, std::string(slot.name));
      EXPECT_EQ(field.layout.format.element, GetParam().precision.of(slot.weight_class)) << slot.name;
    } else {
      ASSERT_EQ(field.size, expected.size());
      for (std::size_t i = 0; i < field.size; ++i) ASSERT_EQ(field.data[i].bits, expected[i].bits);
    }
  };
  visit_head(spec, compare, model.head);
  expect_unpacks_to(model.head.lm_head, source(spec.tied_embeddings ? "embedding" : "lm_head"), "lm_head");
  EXPECT_EQ(model.head.lm_head.layout.format.element, GetParam().precision.lm_head);
  for (layer = 0; layer < static_cast<int>(spec.layer_count()); ++layer) {
    const PackedLayer& packed = model.layers[static_cast<std::size_t>(layer)];
    visit_layer(spec.layer(layer), spec.hidden, compare, packed);
    EXPECT_EQ(packed.gpu_experts.empty(), !spec.has_experts(layer));
    if (!spec.has_experts(layer)) continue;
    for (int e = 0; e < spec.experts(); ++e) {
      visit_expert(spec.routed(), spec.hidden, [&](const WeightSlot& slot, auto matrix, auto offset) {
        const auto expected = source(slot.name, layer, e);
        const Matrix gpu = expert_matrix(packed.gpu_experts, model.gpu_expert_layout, e, matrix, offset);
        const Matrix cpu = expert_matrix(packed.cpu_experts, model.cpu_expert_layout, e, matrix, offset);
        expect_unpacks_to(gpu, expected, "GPU expert");
        expect_unpacks_to(cpu, expected, "CPU expert");
      });
    }
  }
  const std::int64_t dense = spec.layer_count() - spec.expert_layers();
  EXPECT_EQ(compared, (spec.tied_embeddings ? 2 : 3) + spec.layer_count() * 7 + spec.expert_layers() * 2 + dense * 4);
}

TEST_P(GoldenModels, OccupyWhatWasPromised) {
  const auto loaded = load_packed_model((kModels / GetParam().model).string(), GetParam().precision, {});
  ASSERT_TRUE(loaded) << loaded.error().message();
  const PackedBytes bytes = packed_bytes(loaded->spec, GetParam().precision);
  EXPECT_EQ(loaded->dense.bytes(), bytes.dense);
  EXPECT_EQ(loaded->gpu_experts.bytes(), bytes.gpu_experts);
  EXPECT_EQ(loaded->cpu_experts.bytes(), bytes.cpu_experts);
  const bool one_copy = GetParam().precision.gpu_experts == GetParam().precision.cpu_experts;
  EXPECT_EQ(bytes.cpu_experts == 0, one_copy);
  for (const PackedLayer& layer : loaded->layers) {
    if (!layer.gpu_experts.empty()) {
      EXPECT_EQ(layer.gpu_experts.data == layer.cpu_experts.data, one_copy);
    }
  }
  // Every part lies inside its region and no two share a byte.
  std::vector<std::pair<std::size_t, std::size_t>> ranges[3];
  for (const auto& part : packed_parts(loaded->spec, GetParam().precision)) {
    for (int t = 0; t < part.target_count; ++t) {
      const auto& target = part.targets[static_cast<std::size_t>(t)];
      ranges[static_cast<int>(target.region)].emplace_back(target.offset, target.layout.bytes());
    }
  }
  const std::size_t sizes[3] = {bytes.dense, bytes.gpu_experts, bytes.cpu_experts};
  for (int region = 0; region < 3; ++region) {
    std::sort(ranges[region].begin(), ranges[region].end());
    std::size_t end = 0;
    for (const auto& [offset, size] : ranges[region]) {
      EXPECT_EQ(offset, end);
      end = offset + size;
    }
    EXPECT_EQ(end, sizes[region]);
  }
}

constexpr Precision all(Element element) {
  return {element, element, element, element, element, 128};
}

INSTANTIATE_TEST_SUITE_P(
    Precisions, GoldenModels,
    testing::Values(Case{"tiny-a", all(Element::Bf16)}, Case{"tiny-a", all(Element::Int8)},
                    Case{"tiny-a", all(Element::Int4)}, Case{"tiny-a", all(Element::Mxfp4)},
                    Case{"tiny-b", all(Element::Bf16)}, Case{"tiny-b", all(Element::Int8)},
                    Case{"tiny-b", all(Element::Int4)}, Case{"tiny-b", all(Element::Mxfp4)},
                    Case{"tiny-b", {Element::Int4, Element::Bf16, Element::Int8, Element::Int4, Element::Bf16, 32}},
                    Case{"tiny-a", {Element::Int8, Element::Int4, Element::Bf16, Element::Int8, Element::Bf16, 64}}));

}  // namespace
}  // namespace krasis

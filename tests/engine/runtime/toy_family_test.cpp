// A family of models that only the tests know: what is declared in one file runs everywhere.
#include "tests/support/toy_family.h"

#include "engine/bench/verdict.h"
#include "engine/runtime/reference.h"
#include "engine/runtime/setup.h"
#include "kernels/host/operations/packing/pack.h"
#include "tests/engine/runtime/test_engine.h"
#include "tests/support/temporary_directory.h"

namespace krasis {
namespace {

using Values = std::vector<float>;

/// A random toy checkpoint, and what each weight of it is.
class ToyFamily : public testing::Test {
 protected:
  void SetUp() override {
    test::write_file(directory_.path() / "config.json", test::kToyConfig);
    auto spec = load_model_spec(directory_.path(), test::kToyAlone);
    ASSERT_TRUE(spec) << spec.error().message();
    spec_ = std::move(*spec);
    visit_head(spec_, [&](const WeightSlot& slot) { put(std::string(slot.name), slot, draw(slot, -1, -1)); });
    for (int layer = 0; layer < static_cast<int>(spec_.layer_count()); ++layer) add_layer(layer);
    test::write_safetensors(directory_.path() / "model.safetensors", tensors_);
  }

  void add_layer(int layer) {
    const std::string name = "layers." + std::to_string(layer) + ".";
    Values qkv;
    visit_layer(spec_.layer(layer), spec_.hidden, [&](const WeightSlot& slot) {
      const Values& values = draw(slot, layer, -1);
      if (slot.name == "attention.q_proj" || slot.name == "attention.k_proj" || slot.name == "attention.v_proj") {
        qkv.insert(qkv.end(), values.begin(), values.end());
      } else if (slot.name == "attention.o_proj") {
        tensors_[name + "out"] = test::bf16_tensor({slot.columns, slot.rows}, transposed(values, slot));
      } else {
        put(name + std::string(slot.name), slot, values);
      }
    });
    const std::int64_t rows = static_cast<std::int64_t>(qkv.size()) / spec_.hidden;
    tensors_[name + "qkv"] = test::bf16_tensor({rows, spec_.hidden}, qkv);
    if (spec_.has_experts(layer)) add_experts(layer, name);
  }

  void add_experts(int layer, const std::string& name) {
    const std::int64_t experts = spec_.experts(), width = spec_.routed().width, hidden = spec_.hidden;
    Values gate_up(static_cast<std::size_t>(experts * 2 * width * hidden)), down;
    for (int e = 0; e < experts; ++e) {
      visit_expert(spec_.routed(), hidden, [&](const WeightSlot& slot, auto, auto) {
        const Values& values = draw(slot, layer, e);
        if (slot.name == "expert.down_proj") {
          const Values turned = transposed(values, slot);
          down.insert(down.end(), turned.begin(), turned.end());
          return;
        }
        const std::int64_t second = slot.name == "expert.up_proj";
        for (std::int64_t r = 0; r < width; ++r) {
          std::copy_n(values.begin() + r * hidden, hidden, gate_up.begin() + ((e * width + r) * 2 + second) * hidden);
        }
      });
    }
    tensors_[name + "gate_up"] = test::bf16_tensor({experts, 2 * width, hidden}, gate_up);
    tensors_[name + "down"] = test::bf16_tensor({experts, width, hidden}, down);
  }

  const Values& draw(const WeightSlot& slot, int layer, int expert) {
    Values& values = values_[{std::string(slot.name), layer, expert}];
    std::normal_distribution<float> normal(slot.vector ? 1.0f : 0.0f, 0.1f);
    for (std::int64_t i = 0; i < slot.elements(); ++i) values.push_back(static_cast<float>(bf16(normal(random_))));
    return values;
  }
  void put(const std::string& name, const WeightSlot& slot, const Values& values) {
    std::vector<std::int64_t> shape{slot.rows, slot.columns};
    if (slot.vector) shape.erase(shape.begin());
    tensors_[name] = test::bf16_tensor(std::move(shape), values);
  }
  static Values transposed(const Values& values, const WeightSlot& slot) {
    Values turned;
    for (std::int64_t c = 0; c < slot.columns; ++c) {
      for (std::int64_t r = 0; r < slot.rows; ++r)
        turned.push_back(values[static_cast<std::size_t>(r * slot.columns + c)]);
    }
    return turned;
  }

  RunConfiguration configuration(const std::string& model) const {
    RunConfiguration c = test::exact_configuration();
    c.model = model;
    return c;
  }
  static EngineOptions options() {
    EngineOptions options;
    options.architectures = test::kToyAlone;
    options.check_order = true;
    options.heatmap_tokens = test::random_tokens(64, 100, 7);
    return options;
  }

  test::TemporaryDirectory directory_;
  ModelSpec spec_;
  std::mt19937 random_{11};
  std::map<std::tuple<std::string, int, int>, Values> values_;
  test::TensorMap tensors_;
};

TEST_F(ToyFamily, EveryWeightIsFoundInItsFusedOrTransposedTensor) {
  constexpr Element kExact = Element::Bf16;
  const auto model = load_packed_model(directory_.path().string(), {kExact, kExact, kExact, kExact, kExact, 128},
                                       {.architectures = test::kToyAlone});
  ASSERT_TRUE(model) << model.error().message();
  int layer = -1;
  std::size_t compared = 0;
  const auto compare = [&](const Matrix& matrix, std::string_view slot, int expert) {
    Values unpacked(static_cast<std::size_t>(matrix.layout.rows * matrix.layout.columns));
    unpack_rows(matrix, 0, matrix.layout.rows, unpacked.data());
    EXPECT_EQ(unpacked, values_.at({std::string(slot), layer, expert})) << slot << " of layer " << layer;
    compared += unpacked.size();
  };
  const auto visit = [&](const WeightSlot& slot, const auto& field) {
    if constexpr (std::is_same_v<decltype(field), const Matrix&>) {
      compare(field, slot.name, -1);
    } else {
      Values widened;
      for (std::size_t i = 0; i < field.size; ++i) widened.push_back(static_cast<float>(field.data[i]));
      EXPECT_EQ(widened, values_.at({std::string(slot.name), layer, -1})) << slot.name;
      compared += widened.size();
    }
  };
  visit_head(model->spec, visit, model->head);
  for (layer = 0; layer < static_cast<int>(spec_.layer_count()); ++layer) {
    const PackedLayer& packed = model->layers[static_cast<std::size_t>(layer)];
    visit_layer(spec_.layer(layer), spec_.hidden, visit, packed);
    for (int e = 0; e < (spec_.has_experts(layer) ? spec_.experts() : 0); ++e) {
      const ExpertLayout& layout = model->gpu_expert_layout;
      const std::byte* block = packed.gpu_experts.data + static_cast<std::size_t>(e) * layout.bytes();
      visit_expert(spec_.routed(), spec_.hidden, [&](const WeightSlot& slot, auto matrix, auto offset) {
        compare({layout.*matrix, block + (layout.*offset)()}, slot.name, e);
      });
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(compared), parameter_count(spec_));
}

TEST_F(ToyFamily, AMissingOrMisshapenTensorIsNamedAsTheFileHasIt) {
  tensors_["layers.0.gate_up"].shape = {4, 96, 128};
  test::write_safetensors(directory_.path() / "model.safetensors", tensors_);
  const auto misshapen = load_packed_model(directory_.path().string(), {}, {.architectures = test::kToyAlone});
  ASSERT_FALSE(misshapen);
  EXPECT_EQ(misshapen.error().code, ErrorCode::InvalidShape);
  EXPECT_THAT(misshapen.error().message(), testing::HasSubstr("layers.0.gate_up has shape [4, 96, 128]"));
  EXPECT_THAT(misshapen.error().message(), testing::HasSubstr("asks for [4, 192, 64]"));
  tensors_.erase("layers.0.gate_up");
  test::write_safetensors(directory_.path() / "model.safetensors", tensors_);
  const auto missing = load_packed_model(directory_.path().string(), {}, {.architectures = test::kToyAlone});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::NotFound);
  EXPECT_THAT(missing.error().message(), testing::HasSubstr("layers.0.gate_up"));
}

TEST_F(ToyFamily, AFamilyThatNamesRowsBeyondItsTensorIsRefused) {
  static const Architecture kWrong{"toy", test::parse_toy, [](const ModelSpec& spec, const WeightName& name) {
                                     TensorSource source = test::toy_tensor(spec, name);
                                     if (name.slot == "attention.v_proj") ++source.rows.offset;
                                     return source;
                                   }};
  static constexpr const Architecture* kWrongAlone[] = {&kWrong};
  const auto model = load_packed_model(directory_.path().string(), {}, {.architectures = kWrongAlone});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::Internal);
  EXPECT_THAT(model.error().message(), testing::HasSubstr("attention.v_proj"));
}

TEST_F(ToyFamily, IsUnknownToTheProgramItself) {
  const auto spec = load_model_spec(directory_.path());
  ASSERT_FALSE(spec);
  EXPECT_THAT(spec.error().message(), testing::HasSubstr("model_type \"toy\" is not supported"));
}

struct Placement {
  int lgs = 1, devices = 1;
  HotCache hcs = HotCache::Off;
  std::string attention = "resident", kv_cache = "bf16", prefill_path = "stream";
};

TEST_F(ToyFamily, RunsThroughPrefillDecodePlanAndVerdictWhereverItLies) {
  const auto prompt = test::random_tokens(150, spec_.vocabulary, 3);
  for (const Placement& p :
       {Placement{}, Placement{2, 2, HotCache::Multi}, Placement{1, 2, HotCache::On, "streamed"},
        Placement{2, 1, HotCache::Off, "streamed"}, Placement{3, 1, HotCache::Off, "streamed", "fp8"},
        Placement{2, 1, HotCache::On, "resident", "fp8"}}) {
    RunConfiguration c = configuration(directory_.path().string());
    c.lgs = p.lgs, c.device_count = p.devices, c.hcs = p.hcs, c.attention = p.attention, c.kv_cache = p.kv_cache;
    auto engine = Engine::load(c, options());
    ASSERT_TRUE(engine) << engine.error().message();
    const auto made = (*engine)->generate(prompt, {.max_new_tokens = 12, .ignore_end_of_text = true}, {});
    ASSERT_TRUE(made) << made.error().message();
    for (const PlaceReport& row : (*engine)->memory_report()) {
      EXPECT_EQ(row.planned_bytes, row.high_water_bytes) << row.place << " on device " << row.device;
    }
    const std::vector<std::vector<std::int32_t>> repetitions{made->tokens};
    const auto verdict = Judge().judge(**engine, prompt, repetitions);
    ASSERT_TRUE(verdict) << verdict.error().message();
    EXPECT_EQ(verdict->verdict, "pass") << verdict->explanation;
  }
}

TEST_F(ToyFamily, RunsWithSyntheticWeights) {
  RunConfiguration c = configuration("synthetic:" + (directory_.path() / "config.json").string());
  auto engine = Engine::load(c, options());
  ASSERT_TRUE(engine) << engine.error().message();
  EXPECT_TRUE((*engine)->model().spec.synthetic);
  const auto prompt = test::random_tokens(60, spec_.vocabulary, 3);
  const auto made = (*engine)->generate(prompt, {.max_new_tokens = 8, .ignore_end_of_text = true}, {});
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->tokens.size(), 8u);
}

}  // namespace
}  // namespace krasis

// Loading of checkpoints: what is read, what is refused and how it is said.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <limits>

#include "engine/weights/checkpoint_source.h"
#include "engine/weights/packed_model.h"
#include "kernels/host/operations/packing/pack.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace krasis {
namespace {

using test::TinyCheckpoint;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr Precision kExact{Element::Bf16, Element::Bf16, Element::Bf16, Element::Bf16, Element::Bf16, 128};

class Load : public testing::Test {
 protected:
  Expected<PackedModel> load(const TinyCheckpoint& checkpoint, const Precision& precision = kExact,
                             const LoadOptions& options = {}) {
    checkpoint.write(directory_.path());
    return load_packed_model(directory_.path().string(), precision, options);
  }
  void expect_error(const TinyCheckpoint& checkpoint, ErrorCode code, const std::string& part) {
    const auto model = load(checkpoint);
    ASSERT_FALSE(model) << "accepted: " << part;
    EXPECT_EQ(model.error().code, code) << model.error().message();
    EXPECT_THAT(model.error().message(), HasSubstr(part));
    EXPECT_FALSE(model.error().remedy.empty());
  }
  test::TemporaryDirectory directory_;
};

TEST_F(Load, ConvertsF16AndF32ExactlyWhereBf16Can) {
  // Powers of two and their sums of few bits are the same in all three.
  TinyCheckpoint checkpoint;
  std::vector<float> floats;
  std::vector<std::uint16_t> halves;
  std::vector<float> of_halves;
  for (int i = 0; i < 64; ++i) {
    floats.push_back(std::ldexp(i % 2 == 0 ? 1.5f : -1.25f, i - 32));
    halves.push_back(static_cast<std::uint16_t>((i % 2) << 15 | (i % 31) << 10 | 0x200));
    // binary16: exponent 0 is mantissa * 2^-24, others (1 + mantissa / 1024) * 2^(exponent - 15)
    const float magnitude = i % 31 == 0 ? std::ldexp(512.0f, -24) : std::ldexp(1.5f, i % 31 - 15);
    of_halves.push_back(i % 2 == 0 ? magnitude : -magnitude);
  }
  checkpoint.tensors["model.norm.weight"] = test::tensor_of<float>("F32", {64}, floats);
  checkpoint.tensors["model.layers.2.input_layernorm.weight"] = test::tensor_of<std::uint16_t>("F16", {64}, halves);
  const auto model = load(checkpoint);
  ASSERT_TRUE(model) << model.error().message();
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(static_cast<float>(model->head.final_norm.data[i]), floats[i]);
    EXPECT_EQ(static_cast<float>(std::get<GroupedAttentionWeights>(model->layers[2].mixer).norm.data[i]), of_halves[i]);
  }
}

TEST_F(Load, HalvesOfEveryKindBecomeFloats) {
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0xc000), -2.0f);
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0x8000), 0.0f);
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
  EXPECT_EQ(half_to_float(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(half_to_float(0x7e00)));
}

TEST_F(Load, BlocksOfRowsGiveWhatTheWholeMatrixGives) {
  // 5000 x 64 needs more than one block; the packed bytes must be those of packing it at once.
  TinyCheckpoint checkpoint;
  std::vector<float> values(5000 * 64);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (float& value : values) value = static_cast<float>(bf16(normal(random)));
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    checkpoint.tensors[name] = test::bf16_tensor({5000, 64}, values);
  }
  checkpoint.config.replace(checkpoint.config.find("\"vocab_size\": 100"), 17, "\"vocab_size\": 5000");
  for (const Element element : {Element::Int4, Element::Int8, Element::Bf16}) {
    Precision precision = kExact;
    precision.lm_head = element;
    precision.group_size = 32;
    const auto model = load(checkpoint, precision);
    ASSERT_TRUE(model) << model.error().message();
    const MatrixLayout layout{fit_format(element, 32, 64), 5000, 64};
    ASSERT_EQ(model->head.lm_head.layout, layout);
    std::vector<std::byte> at_once(layout.bytes());
    pack_rows(std::span<const float>(values), layout, at_once.data());
    EXPECT_EQ(std::memcmp(model->head.lm_head.data, at_once.data(), at_once.size()), 0);
  }
}

TEST_F(Load, ATiedHeadIsTheEmbedding) {
  const TinyCheckpoint tied(true);
  const auto exact = load(tied);
  ASSERT_TRUE(exact) << exact.error().message();
  EXPECT_EQ(exact->head.lm_head.data, exact->head.embedding.data);
  Precision quantized = kExact;
  quantized.lm_head = Element::Int8;
  const auto other = load(tied, quantized);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->head.lm_head.layout.format.element, Element::Int8);
  EXPECT_EQ(other->head.embedding.layout.format.element, Element::Bf16);
}

TEST_F(Load, MissingTensorsAreListedAndCounted) {
  TinyCheckpoint checkpoint;
  checkpoint.tensors.erase("model.norm.weight");
  expect_error(checkpoint, ErrorCode::NotFound, "1 tensor is missing from the checkpoint: model.norm.weight.");
  for (int e = 0; e < 3; ++e) {
    for (const char* third : {"gate", "up", "down"}) {
      checkpoint.tensors.erase("model.layers.2.mlp.experts." + std::to_string(e) + "." + third + "_proj.weight");
    }
  }
  expect_error(checkpoint, ErrorCode::NotFound,
               "10 tensors are missing from the checkpoint: model.norm.weight, "
               "model.layers.2.mlp.experts.0.gate_proj.weight, ");
  checkpoint.tensors["model.layers.2.mlp.experts.gate_up_proj"] = test::bf16_tensor({1}, {1});
  expect_error(checkpoint, ErrorCode::NotFound, "Its experts are stored fused");
}

TEST_F(Load, WrongShapesSayWhatIsExpected) {
  TinyCheckpoint checkpoint;
  checkpoint.tensors["model.layers.0.self_attn.k_proj.weight"].shape = {32, 128};
  expect_error(checkpoint, ErrorCode::InvalidShape,
               "tensor model.layers.0.self_attn.k_proj.weight has shape [32, 128], but config.json asks for [64, 64]");
  TinyCheckpoint vector;
  vector.tensors["model.norm.weight"].shape = {1, 64};
  expect_error(vector, ErrorCode::InvalidShape,
               "tensor model.norm.weight has shape [1, 64], but config.json asks for [64]");
}

TEST_F(Load, OtherDtypesAreRefusedWhereTheyAreNeeded) {
  TinyCheckpoint checkpoint;
  checkpoint.tensors["model.norm.weight"] = {"F8_E4M3", {64}, std::vector<std::byte>(64)};
  expect_error(checkpoint, ErrorCode::Unsupported, "tensor model.norm.weight has dtype F8_E4M3");
}

TEST_F(Load, NumbersThatAreNoneNameTheirPlace) {
  const std::string name = "model.layers.2.mlp.experts.1.down_proj.weight";
  for (const std::uint16_t bits : std::initializer_list<std::uint16_t>{0x7fc0, 0xffff, 0x7f81}) {
    TinyCheckpoint checkpoint;
    std::memcpy(checkpoint.tensors[name].bytes.data() + (5 * 96 + 17) * 2, &bits, 2);
    expect_error(checkpoint, ErrorCode::Corrupt, "tensor " + name + " holds NaN in row 5, column 17");
  }
  for (const std::uint16_t bits : std::initializer_list<std::uint16_t>{0x7f80, 0xff80}) {
    TinyCheckpoint checkpoint;
    std::memcpy(checkpoint.tensors[name].bytes.data() + (5 * 96 + 17) * 2, &bits, 2);
    expect_error(checkpoint, ErrorCode::Corrupt,
                 "tensor " + name + " holds a number beyond BF16's range in row 5, column 17");
  }
  TinyCheckpoint wide;  // finite in F32, infinite in BF16
  std::vector<float> values(64, 1.0f);
  values[9] = std::numeric_limits<float>::max();
  wide.tensors["model.norm.weight"] = test::tensor_of<float>("F32", {64}, values);
  expect_error(wide, ErrorCode::Corrupt,
               "tensor model.norm.weight holds a number beyond BF16's range in row 0, column 9");
}

TEST_F(Load, EveryPlaceOfABf16TensorIsChecked) {
  for (const std::size_t place : {0, 1, 2, 3, 30, 31}) {
    TinyCheckpoint checkpoint;
    const std::uint16_t bits = 0x7f80;
    std::memcpy(checkpoint.tensors["model.layers.0.self_attn.q_norm.weight"].bytes.data() + place * 2, &bits, 2);
    expect_error(checkpoint, ErrorCode::Corrupt, "range in row 0, column " + std::to_string(place));
  }
}

TEST_F(Load, Bf16RowsAreReadWhereTheyLie) {
  TinyCheckpoint data;
  data.tensors["model.norm.weight"] = test::tensor_of<float>("F32", {64}, std::vector<float>(64, 1.0f));
  data.write(directory_.path());
  const auto config = load_model_spec(directory_.path());
  ASSERT_TRUE(config);
  const auto checkpoint = Checkpoint::open(directory_.path());
  ASSERT_TRUE(checkpoint);
  const auto parts = packed_parts(*config, kExact);
  const auto source = CheckpointSource::open(*checkpoint, *config, parts);
  ASSERT_TRUE(source);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t begin = parts[i].slot.rows / 3;
    const auto in_place = source->bf16_rows(i, begin, parts[i].slot.rows - begin);
    ASSERT_TRUE(in_place);
    if (parts[i].slot.name == "final_norm") {
      EXPECT_FALSE(*in_place);  // F32
      continue;
    }
    ASSERT_TRUE(*in_place);
    std::vector<float> read(static_cast<std::size_t>((parts[i].slot.rows - begin) * parts[i].slot.columns));
    ASSERT_TRUE(source->read_rows(i, begin, parts[i].slot.rows - begin, read.data()));
    ASSERT_EQ((*in_place)->size(), read.size());
    for (std::size_t n = 0; n < read.size(); ++n) ASSERT_EQ(static_cast<float>((**in_place)[n]), read[n]);
  }
}

TEST_F(Load, NotesExtraTensorsAndUnknownKeys) {
  TinyCheckpoint checkpoint;
  checkpoint.tensors["model.visual.weight"] = test::bf16_tensor({1}, {1});
  checkpoint.config.insert(1, "\"new_feature\": 3, ");
  const auto model = load(checkpoint);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_THAT(model->notes,
              ElementsAre("Keys of config.json that nothing here reads: new_feature.",
                          "Tensors of the checkpoint that this model does not use: model.visual.weight."));
}

TEST_F(Load, UnknownArchitecturesAndMissingFoldersAreSaid) {
  TinyCheckpoint checkpoint;
  checkpoint.config = R"({"model_type": "mamba"})";
  expect_error(checkpoint, ErrorCode::Unsupported, "model_type \"mamba\" is not supported");
  const auto none = load_packed_model("/no/such/folder", kExact, {});
  EXPECT_EQ(none.error().code, ErrorCode::NotFound);
  EXPECT_THAT(none.error().message(), HasSubstr("/no/such/folder/config.json cannot be read"));
}

TEST_F(Load, AModelBeyondTheMachineIsRefusedWithFigures) {
  TinyCheckpoint checkpoint;
  checkpoint.write(directory_.path());
  std::string config = checkpoint.config;
  for (const auto& [from, to] : {std::pair{"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1024"},
                                 {"\"hidden_size\": 64", "\"hidden_size\": 65536"},
                                 {"\"moe_intermediate_size\": 96", "\"moe_intermediate_size\": 1048576"}}) {
    config.replace(config.find(from), std::strlen(from), to);
  }
  test::write_file(directory_.path() / "config.json", config);
  const auto model = load_packed_model("synthetic:" + directory_.path().string(), kExact, {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::OutOfMemory);
  EXPECT_THAT(model.error().message(), AllOf(HasSubstr("need "), HasSubstr(" GiB of host memory, but only ")));
}

TEST_F(Load, MatricesThatBlocksDoNotFitAreRefused) {
  TinyCheckpoint checkpoint;
  checkpoint.write(directory_.path());
  checkpoint.config.replace(checkpoint.config.find("\"moe_intermediate_size\": 96"), 27,
                            "\"moe_intermediate_size\": 80");
  test::write_file(directory_.path() / "config.json", checkpoint.config);
  Precision precision = kExact;
  precision.cpu_experts = Element::Mxfp4;
  const auto model = load_packed_model("synthetic:" + directory_.path().string(), precision, {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::InvalidArgument);
  EXPECT_THAT(model.error().message(),
              HasSubstr("down_proj.weight has 80 columns, which MXFP4 cannot hold in groups of 32"));
}

TEST_F(Load, OddGroupSizesAreRefused) {
  for (const int group_size : {0, 1, -128, 96, 8192}) {
    Precision precision = kExact;
    precision.group_size = group_size;
    const auto model = load(TinyCheckpoint(), precision);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::InvalidArgument);
    EXPECT_THAT(model.error().message(),
                HasSubstr("The group size " + std::to_string(group_size) + " is not possible"));
  }
}

TEST_F(Load, StopsWhenAskedTo) {
  // Asked before it begins, and in the middle of each stage.
  std::stop_source before;
  before.request_stop();
  LoadOptions options;
  options.stop = before.get_token();
  EXPECT_EQ(load(TinyCheckpoint(), kExact, options).error().code, ErrorCode::Cancelled);

  const test::TemporaryDirectory cache;
  for (const char* stage : {"hash", "quantize"}) {
    std::stop_source source;
    bool reached = false;
    options.stop = source.get_token();
    options.cache_directory = cache.path();
    options.progress = [&](const LoadProgress& progress) {
      if (progress.stage != stage || progress.done > 0) return;
      reached = true;
      source.request_stop();
    };
    const auto model = load(TinyCheckpoint(), kExact, options);
    ASSERT_FALSE(model) << stage;
    EXPECT_TRUE(reached) << stage;
    EXPECT_EQ(model.error().code, ErrorCode::Cancelled);
    EXPECT_THAT(model.error().message(), HasSubstr("Loading was cancelled"));
    for (const auto& file : std::filesystem::directory_iterator(cache.path())) {
      EXPECT_TRUE(file.is_directory()) << "left behind: " << file.path();
    }
  }
}

TEST_F(Load, ProgressRisesFromZeroToOneInEachStage) {
  std::vector<LoadProgress> reports;
  LoadOptions options;
  options.progress = [&](const LoadProgress& progress) { reports.push_back(progress); };
  ASSERT_TRUE(load(TinyCheckpoint(), kExact, options));
  ASSERT_FALSE(reports.empty());
  std::vector<std::string> stages;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const bool first = i == 0 || reports[i].stage != reports[i - 1].stage;
    if (first) {
      stages.push_back(reports[i].stage);
      EXPECT_EQ(reports[i].done, 0.0);
      EXPECT_EQ(i > 0 ? reports[i - 1].done : 1.0, 1.0);
    } else {
      EXPECT_GE(reports[i].done, reports[i - 1].done);
    }
  }
  EXPECT_EQ(reports.back().done, 1.0);
  EXPECT_THAT(stages, ElementsAre("hash", "quantize"));
}

TEST(HostRegion, IsAlignedZeroedAndRefusesTheImpossible) {
  auto region = HostRegion::allocate("weights", 5'000'001);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->bytes(), 5'000'001u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(region->data()) % (2 << 20), 0u);
  EXPECT_EQ(std::count(region->data(), region->data() + region->bytes(), std::byte{0}), 5'000'001);
  const std::byte* data = region->data();
  const HostRegion moved = std::move(*region);
  EXPECT_EQ(moved.data(), data);
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - (3 << 20), std::size_t{1} << 60}) {
    const auto refused = HostRegion::allocate("weights", bytes);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::OutOfMemory);
    EXPECT_THAT(refused.error().message(), HasSubstr("The weights need"));
  }
  EXPECT_EQ(HostRegion::allocate("nothing", 0)->data(), nullptr);
}

}  // namespace
}  // namespace krasis

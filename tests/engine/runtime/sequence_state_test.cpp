// What a sequence leaves behind: fixed parts begin at zero and can be saved and restored.
#include "engine/runtime/sequence_state.h"

#include "engine/layers/layer_state.h"
#include "engine/runtime/device_carver.h"
#include "tests/engine/runtime/test_engine.h"

namespace krasis {
namespace {

class SequenceStateTest : public testing::Test {
 protected:
  void SetUp() override {
    auto platform = HostPlatform::create({.check_order = true});
    ASSERT_TRUE(platform);
    platform_ = std::move(*platform);
    device_ = &platform_->device();
    stream_ = device_->create_stream("compute", Lane::Compute);
  }
  /// Layer 0 keeps keys alone, layer 1 a recurrent matrix and the rows of a convolution.
  SequenceState make() {
    const std::vector<std::vector<StatePart>> parts{{PositionState{"keys", KvElement::Fp8, 2, 32, 4}},
                                                    {FixedState{"matrix", 24}, FixedState{"convolution", 3}}};
    DeviceCarver carver(*device_, MemorySpace::Device, buffers_);
    std::vector<LayerState> memory;
    for (const auto& layer : parts) memory.push_back(carve_state(carver, "kv cache", layer, 100));
    EXPECT_TRUE(carver.outcome());
    return {parts, memory};
  }
  View<float> floats(const SequenceState& state, std::size_t part) {
    const View<std::byte> values = state.layer(1)[part].plane.values;
    return {reinterpret_cast<float*>(values.data), values.size / sizeof(float)};
  }
  void wait() { ASSERT_TRUE(device_->synchronize(device_->record(stream_), "done")); }

  std::unique_ptr<HostPlatform> platform_;
  Device* device_ = nullptr;
  Stream stream_;
  std::vector<Buffer> buffers_;
};

TEST_F(SequenceStateTest, FixedPartsBeginAtZeroAndComeBackFromASnapshot) {
  const SequenceState state = make();
  EXPECT_FALSE(state.can_truncate());
  EXPECT_EQ(state.snapshot_bytes(), 27 * sizeof(float));
  state.begin(*device_, stream_);
  wait();
  for (const std::size_t part : {0u, 1u}) {
    const View<float> values = floats(state, part);
    for (std::size_t i = 0; i < values.size; ++i) EXPECT_EQ(values.data[i], 0.0f);
  }
  device_->run(stream_, FillArgs{floats(state, 0), 2.0f});
  device_->run(stream_, FillArgs{floats(state, 1), 3.0f});
  auto snapshot = device_->allocate("snapshot", state.snapshot_bytes(), MemorySpace::Device);
  ASSERT_TRUE(snapshot);
  state.save(*device_, stream_, snapshot->view());
  state.begin(*device_, stream_);
  wait();
  EXPECT_EQ(floats(state, 0).data[23], 0.0f);
  state.restore(*device_, stream_, snapshot->view());
  wait();
  EXPECT_EQ(floats(state, 0).data[23], 2.0f);
  EXPECT_EQ(floats(state, 1).data[0], 3.0f);
  EXPECT_EQ(test::violations_text(*platform_), "");
}

TEST_F(SequenceStateTest, RowsOfPositionsAloneCanBeCutBack) {
  const SequenceState state({{PositionState{"keys", KvElement::Bf16, 2, 32, 4}}}, {LayerState(1)});
  EXPECT_TRUE(state.can_truncate());
  EXPECT_EQ(state.snapshot_bytes(), 0u);
}

TEST(StateParts, BytesAreRowsTimesHeadsAndTheirScales) {
  const std::vector<StatePart> parts{PositionState{"keys", KvElement::Fp8, 2, 32, 4}, FixedState{"matrix", 10}};
  MeasuringCarver carver;
  carve_state(carver, "kv cache", parts, 65);  // rows come in blocks of 64
  EXPECT_EQ(carver.bytes("kv cache"), 128u * 2 * 32 + 128u * 2 * 4 + 64);
  EXPECT_EQ(position_bytes(parts), 2u * (32 + 4));
}

TEST(Carver, PartsInTurnTakeTheLargestOnesPlace) {
  const auto carve = [](Carver& carver, View<float>& a, View<float>& b, View<float>& c) {
    carver("place", a, 10);
    carver.in_turn(
        "place", [&](Carver& inner) { inner("place", b, 100); },
        [&](Carver& inner) {
          inner("place", c, 1);
          inner("place", c, 50);
        });
  };
  MeasuringCarver measuring;
  View<float> a, b, c;
  carve(measuring, a, b, c);
  EXPECT_EQ(measuring.bytes("place"), 64u + 448u);
  std::vector<std::byte> memory(512);
  PieceCarver piece({memory.data(), memory.size()});
  carve(piece, a, b, c);
  const auto offset = [&](const View<float>& view) { return reinterpret_cast<std::byte*>(view.data) - memory.data(); };
  EXPECT_EQ(offset(a), 0);
  EXPECT_EQ(offset(b), 64);
  EXPECT_EQ(offset(c), 128) << "behind the first of its own, in the same piece";
  EXPECT_EQ(c.size, 50u);
}

}  // namespace
}  // namespace krasis

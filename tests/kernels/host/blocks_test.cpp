// Blocks on the host device: what they fuse has the bits of the primitives, is recorded like them, and its accesses are
// judged like theirs.
#include "kernels/blocks.h"

#include <cstring>
#include <random>

#include "fixture.h"
#include "kernels/host/operations/packing/pack.h"

namespace krasis {
namespace {

using testing::IsEmpty;
using testing_support::messages;

/// A dense layer's MLP, one token, and its memory on a device of its own.
class Mlp {
 public:
  static constexpr std::int64_t kHidden = 256, kWidth = 384;

  Mlp(const HostOperations& operations, Schedule schedule)
      : platform_(*HostPlatform::create({.schedule = schedule, .check_order = true}, operations)),
        device(platform_->device()),
        compute(device.create_stream("compute", Lane::Compute)),
        other(device.create_stream("other", Lane::Compute)) {
    std::mt19937 engine(3);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::size_t n) {
      std::vector<float> values(n);
      for (float& v : values) v = normal(engine);
      return values;
    };
    const MatrixLayout wide{{Element::Int8, 128}, kWidth, kHidden}, down{{Element::Int8, 128}, kHidden, kWidth};
    const auto matrix = [&](const MatrixLayout& layout) {
      weights_.push_back(allocate(layout.bytes()));
      pack_rows(draw(static_cast<std::size_t>(layout.rows * layout.columns)), layout, weights_.back().data());
      return Matrix{layout, weights_.back().data()};
    };
    block.gate = matrix(wide);
    block.up = matrix(wide);
    block.down = matrix(down);
    for (const std::size_t bytes : {kHidden * 4, kHidden * 2, kHidden * 2, kWidth * 4, kWidth * 4, kWidth * 2}) {
      parts_.push_back(allocate(bytes));
    }
    block.residual = parts_[0].view<float>();
    block.norm = parts_[1].view<const bf16>();
    block.normed = parts_[2].view<bf16>();
    block.gate_out = parts_[3].view<float>();
    block.up_out = parts_[4].view<float>();
    block.activated = parts_[5].view<bf16>();
    block.tokens = 1;
    const auto residual = draw(kHidden);
    std::copy(residual.begin(), residual.end(), block.residual.data);
    std::fill_n(parts_[1].view<bf16>().data, kHidden, bf16(1.0f));
    const Access written[] = {Access::of(parts_[0].view()), Access::of(parts_[1].view()),
                              Access::of(weights_[0].view()), Access::of(weights_[1].view()),
                              Access::of(weights_[2].view())};
    device.host_access("drawn", {}, written);
  }

  std::vector<float> residual() {
    EXPECT_TRUE(device.synchronize(device.record(compute), "done"));
    return {block.residual.data, block.residual.data + block.residual.size};
  }
  std::vector<std::string> violations() const { return messages(platform_->violations()); }

 private:
  Buffer allocate(std::size_t bytes) { return std::move(*device.allocate("buffer", bytes, MemorySpace::Pinned)); }
  std::unique_ptr<HostPlatform> platform_;

 public:
  Device& device;
  Stream compute, other;
  MlpBlock block;

 private:
  std::vector<Buffer> weights_, parts_;
};

/// The same operations, but with products one after another.
const HostOperations& apart() {
  static const HostOperations set = [] {
    HostOperations operations = simd_operations();
    operations.set<MatmulsArgs>(nullptr);
    return operations;
  }();
  return set;
}

class BlocksTest : public testing::TestWithParam<Schedule> {};
INSTANTIATE_TEST_SUITE_P(Schedules, BlocksTest, testing::Values(Schedule::Threads, Schedule::Seeded),
                         [](const auto& schedule) {
                           return schedule.param == Schedule::Threads ? "Threads" : "Seeded";
                         });

TEST_P(BlocksTest, RecordedProductsTogetherHaveTheBitsOfProductsApart) {
  Mlp together(simd_operations(), GetParam()), alone(apart(), GetParam());
  const auto before = std::vector<float>(alone.block.residual.data, alone.block.residual.data + Mlp::kHidden);
  std::vector<std::vector<float>> results;
  for (Mlp* mlp : {&together, &alone}) {
    mlp->device.begin_recording();
    mlp->device.run(mlp->compute, mlp->block);
    const Recording step = mlp->device.end_recording();
    for (int i = 0; i < 3; ++i) mlp->device.replay(step);
    results.push_back(mlp->residual());
    EXPECT_THAT(mlp->violations(), IsEmpty());
  }
  EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), Mlp::kHidden * 4), 0);
  EXPECT_NE(std::memcmp(results[0].data(), before.data(), Mlp::kHidden * 4), 0);
}

/// Each part that a fused operation writes or reads is known to the checker.
TEST(Blocks, UnorderedUseOfAPartIsFound) {
  for (int part = 0; part < 3; ++part) {
    Mlp mlp(simd_operations(), Schedule::Seeded);
    const MlpBlock& b = mlp.block;
    const MatmulsArgs products{{{{.x = b.normed, .weight = b.gate, .out_f32 = b.gate_out, .tokens = 1},
                                 {.x = b.normed, .weight = b.up, .out_f32 = b.up_out, .tokens = 1}}},
                               2};
    mlp.device.run(mlp.compute, RmsNormArgs{b.residual, b.norm, b.normed, Mlp::kHidden, b.epsilon});
    mlp.device.run(mlp.compute, products);
    ASSERT_THAT(mlp.violations(), IsEmpty());
    const View<float> used[] = {b.gate_out, b.up_out, {reinterpret_cast<float*>(b.normed.data), b.normed.size / 2}};
    mlp.device.run(mlp.other, FillArgs{used[part], 0.0f});
    EXPECT_THAT(mlp.violations(), testing::Contains(testing::HasSubstr("'matmuls'"))) << part;
  }
}

}  // namespace
}  // namespace krasis

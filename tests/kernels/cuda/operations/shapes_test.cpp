#include <algorithm>
#include <memory>
#include <numeric>

#include "tests/kernels/cuda/operations/device_operations.h"
#include "tests/kernels/operations/support.h"

/// Shapes at and around the edges of the CUDA kernels' tiles, memory beyond 4 GiB, graphs, repetition.
namespace krasis::test {
namespace {

class CudaShapes : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = missing_device(); !why.empty()) GTEST_SKIP() << why;
  }
  const HostOperations& op() const { return device_operations(); }
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};

/// Products of integers and BF16 numbers are exact; sums on tensor cores cut off where FP32 rounds, so twice the error
/// of a sum in FP32 (Fasi, Higham, Mikaitis, Pranesh 2021), and scales add two roundings.
void check_product(const HostOperations& op, Random& random, const FormatCase& f, int tokens, int rows, int columns) {
  if (!f.fits(columns)) return;
  SCOPED_TRACE(std::string(name_of(f.element)) + " group " + std::to_string(f.group_size) + ", " +
               std::to_string(tokens) + " tokens, [" + std::to_string(rows) + ", " + std::to_string(columns) + "]");
  const PackedMatrix packed = random_matrix(random, f.element, f.group_size, rows, columns);
  const std::vector<double> weight = decode(packed.matrix());
  const auto x = random.bf16s(static_cast<std::size_t>(tokens) * columns);
  const auto before = random.floats(static_cast<std::size_t>(tokens) * rows);
  auto f32 = poisoned(before.size());
  auto rounded = poisoned_bf16(before.size());
  auto accumulated = before;
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_f32 = view(f32), .tokens = tokens});
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .out_bf16 = view(rounded), .tokens = tokens});
  op.run<MatmulArgs>({.x = view(x), .weight = packed.matrix(), .accumulate = view(accumulated), .tokens = tokens});
  for (std::size_t i = 0; i < f32.size(); ++i) {
    const Dot y = dot(&x[i / rows * columns], &weight[i % rows * columns], columns);
    const double error = 2 * gamma(columns + 2) * y.magnitude;
    ASSERT_NEAR(f32[i], y.sum, error) << "element " << i;
    ASSERT_NEAR(static_cast<float>(rounded[i]), y.sum, bf16_bound(y.sum, error)) << "element " << i;
    const double sum = static_cast<double>(before[i]) + y.sum;
    ASSERT_NEAR(accumulated[i], sum, error + kU * (std::fabs(sum) + error)) << "element " << i;
  }
}

TEST_F(CudaShapes, ProductsOfEveryNumberOfTokensAroundTheTiles) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300}) {
      check_product(op(), random_, f, tokens, 40, 256);
    }
  }
}

TEST_F(CudaShapes, ProductsOfEveryNumberOfRowsAndColumnsAroundTheTiles) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 11, 70}) {
      for (const int rows : {1, 8, 15, 16, 17, 127, 128, 129, 257}) check_product(op(), random_, f, tokens, rows, 128);
      for (const int columns : {8, 32, 40, 64, 96, 104, 136, 160, 192, 320, 1056, 2048}) {
        check_product(op(), random_, f, tokens, 19, columns);
      }
    }
  }
}

TEST_F(CudaShapes, ProductsWithMoreGroupsThanAreKeptAtATime) {
  check_product(op(), random_, {Element::Int4, 32}, 33, 130, 4096);
  check_product(op(), random_, {Element::Int8, 64}, 33, 130, 4160);
  check_product(op(), random_, {Element::Int4, 128}, 33, 130, 5120);
  check_product(op(), random_, {Element::Mxfp4, 32}, 33, 130, 2880);
  check_product(op(), random_, {Element::Int4, 256}, 3, 20, 2048);
  check_product(op(), random_, {Element::Int8, 256}, 40, 20, 2048);
}

TEST_F(CudaShapes, ProductsOfMoreRowsThanTheDeviceHasRoomForAtOnce) {
  check_product(op(), random_, {Element::Int8, 128}, 1, 40000, 128);
  check_product(op(), random_, {Element::Int4, 128}, 400, 5000, 128);
  check_product(op(), random_, {Element::Int8, 64}, 130, 20000, 64);
}

TEST_F(CudaShapes, ActivationsAtAddressesThatAreNotAligned) {
  // Views into the middle: 2-byte aligned rows must not take a path with wide loads.
  const PackedMatrix packed = random_matrix(random_, Element::Int4, 32, 20, 64);
  const cuda::Launch launch = device_launch();
  for (const int tokens : {1, 20}) {
    const auto x = random_.bf16s(static_cast<std::size_t>(tokens) * 64 + 1);
    auto out = poisoned(static_cast<std::size_t>(tokens) * 20);
    DeviceMemory memory;
    const View<const bf16> all = memory.placed(view(x));
    const View<float> to = memory.placed(view(out));
    const Matrix weight = memory.placed(packed.matrix());
    memory.upload();
    cuda::run(launch, MatmulArgs{.x = all.sub(1, all.size - 1), .weight = weight, .out_f32 = to, .tokens = tokens});
    memory.finish();
    const std::vector<double> numbers = decode(packed.matrix());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Dot y = dot(&x[1 + i / 20 * 64], &numbers[i % 20 * 64], 64);
      ASSERT_NEAR(out[i], y.sum, 2 * gamma(66) * y.magnitude);
    }
  }
}

/// Experts in a pool, some of them elsewhere, and picks of them.
struct ExpertsCase {
  ExpertsCase(Random& random, const ExpertLayout& given, int tokens, int experts, int picks)
      : layout(given), top_k(picks), offsets(static_cast<std::size_t>(experts), -1) {
    for (int e = 0; e < experts; ++e) {
      if (e % 5 == 3) continue;
      offsets[e] = static_cast<std::int64_t>(pool.size());
      for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
        const std::size_t at = pool.size();
        pool.resize(at + m.bytes());
        const double deviation = 1.0 / std::sqrt(static_cast<double>(m.columns));
        pack_rows(random.floats(static_cast<std::size_t>(m.rows * m.columns), deviation), m, pool.data() + at);
      }
    }
    std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
    std::iota(all.begin(), all.end(), 0);
    for (int t = 0; t < tokens; ++t) {
      // A few experts are picked much more often than the others.
      random.shuffle(all);
      if (t % 3 != 0) std::partial_sort(all.begin(), all.begin() + 1, all.end());
      ids.insert(ids.end(), all.begin(), all.begin() + top_k);
    }
    x = random.bf16s(static_cast<std::size_t>(tokens) * layout.hidden());
    for (std::size_t i = 0; i < ids.size(); ++i) weights.push_back(static_cast<float>(random.uniform(0.05, 1.0)));
    before = random.floats(static_cast<std::size_t>(tokens) * layout.hidden());
    workspace.resize(experts_workspace_bytes(tokens, top_k, layout));
  }
  std::vector<float> run(const HostOperations& op, Glu glu = Glu::SwiGlu) {
    std::vector<float> out = before;
    op.run<ExpertsArgs>({view(x),
                         view(ids),
                         view(weights),
                         {pool.data(), pool.size()},
                         view(std::as_const(offsets)),
                         layout,
                         top_k,
                         view(out),
                         view(workspace),
                         glu});
    return out;
  }
  ExpertLayout layout;
  int top_k;
  std::vector<std::int64_t> offsets;
  std::vector<std::byte> pool, workspace;
  std::vector<std::int32_t> ids;
  std::vector<float> weights, before;
  std::vector<bf16> x;
};

/// The numbers of one expert's matrices.
struct ExpertNumbers {
  ExpertNumbers(const ExpertsCase& c, int expert) {
    const std::byte* block = c.pool.data() + c.offsets[expert];
    gate = decode(Matrix{c.layout.gate, block + c.layout.gate_offset()});
    up = decode(Matrix{c.layout.up, block + c.layout.up_offset()});
    down = decode(Matrix{c.layout.down, block + c.layout.down_offset()});
  }
  std::vector<double> gate, up, down;
};

/// BF16 numbers that an activated value may be rounded to, whatever the order of sums.
struct Rounded {
  double value;    ///< that of the exact value
  double another;  ///< how far the farthest of them lies from it: 0 unless a boundary between two numbers is near
};
/// A sum on tensor cores errs by 2 gamma(n + 2) (check_product); |silu'| <= 1.1; exponential, sum and quotient by 8 u,
/// products by u each; the argument of the clamped form's exponential is rounded twice, its up + 1 once.
Rounded activated(const Dot& gate, const Dot& up, std::int64_t hidden, Glu glu) {
  const bool plain = glu == Glu::SwiGlu;
  const double g = plain ? gate.sum : std::min(gate.sum, 7.0);
  const double u = plain ? up.sum : std::clamp(up.sum, -7.0, 7.0) + 1;
  const double silu = g / (1 + std::exp((plain ? -1 : -1.702) * g));
  const double gate_error = 2 * gamma(static_cast<double>(hidden) + 2) * gate.magnitude;
  const double up_error = 2 * gamma(static_cast<double>(hidden) + 2) * up.magnitude;
  const double exponent_error = plain ? 0 : 2 * 1.702 * kU * std::fabs(g);
  const double silu_error = 1.1 * gate_error + (8 * kU + exponent_error) * std::fabs(silu);
  const double error =
      silu_error * (std::fabs(u) + up_error) + std::fabs(silu) * up_error + (plain ? 1 : 2) * kU * std::fabs(silu * u);
  const auto rounded = [](double v) { return static_cast<double>(static_cast<float>(bf16(static_cast<float>(v)))); };
  const double value = rounded(silu * u);
  return {value, std::max(rounded(silu * u + error) - value, value - rounded(silu * u - error))};
}

/// Every number of `out` against the formula in double. What is allowed: sums on tensor cores (2 gamma), activated
/// values that may round to a neighbour (only those whose exact value lies within its error of the boundary), and the
/// additions of top_k products to what was there before.
void check_outputs(const ExpertsCase& c, const std::vector<float>& out, Glu glu) {
  const std::int64_t hidden = c.layout.hidden(), width = c.layout.width();
  std::vector<std::unique_ptr<ExpertNumbers>> experts(c.offsets.size());
  std::vector<Rounded> h(static_cast<std::size_t>(width));
  for (std::size_t t = 0; t * hidden < out.size(); ++t) {
    std::vector<double> sums(c.before.begin() + t * hidden, c.before.begin() + (t + 1) * hidden);
    std::vector<double> errors(sums.size()), magnitudes(sums.size());
    for (std::size_t o = 0; o < sums.size(); ++o) magnitudes[o] = std::fabs(sums[o]);
    for (int j = 0; j < c.top_k; ++j) {
      const std::int32_t id = c.ids[t * c.top_k + j];
      if (c.offsets[id] < 0) continue;
      if (!experts[id]) experts[id] = std::make_unique<ExpertNumbers>(c, id);
      for (std::int64_t i = 0; i < width; ++i) {
        h[i] = activated(dot(&c.x[t * hidden], &experts[id]->gate[i * hidden], hidden),
                         dot(&c.x[t * hidden], &experts[id]->up[i * hidden], hidden), hidden, glu);
      }
      const double weight = c.weights[t * c.top_k + j];
      for (std::int64_t o = 0; o < hidden; ++o) {
        double y = 0, magnitude = 0, another = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          const double w = experts[id]->down[o * width + i];
          y += w * h[i].value;
          magnitude += std::fabs(w * h[i].value);
          another += std::fabs(w) * h[i].another;
        }
        const double error = another + 2 * gamma(static_cast<double>(width) + 2) * (magnitude + another);
        sums[o] += weight * y;
        errors[o] += weight * error;
        magnitudes[o] += weight * (std::fabs(y) + error);
      }
    }
    for (std::int64_t o = 0; o < hidden; ++o) {
      ASSERT_NEAR(out[t * hidden + o], sums[o], errors[o] + gamma(c.top_k + 2) * magnitudes[o])
          << "token " << t << ", column " << o;
    }
  }
}

void check_experts(const HostOperations& op, Random& random, const ExpertLayout& layout, int tokens, int experts,
                   int top_k, Glu glu = Glu::SwiGlu) {
  SCOPED_TRACE(std::string(name_of(layout.gate.format.element)) + " group " +
               std::to_string(layout.gate.format.group_size) + " hidden " + std::to_string(layout.hidden()) +
               " width " + std::to_string(layout.width()) + ", " + std::to_string(tokens) + " tokens");
  ExpertsCase c(random, layout, tokens, experts, top_k);
  check_outputs(c, c.run(op, glu), glu);
}

TEST_F(CudaShapes, ExpertsOfFewAndOfManyTokens) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 3, 8, 9, 40, 130}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 128, 96), tokens, 11, 4);
    }
  }
}

TEST_F(CudaShapes, ExpertsOfOddShapes) {
  for (const FormatCase& f :
       {FormatCase{Element::Int4, 32}, FormatCase{Element::Int8, 128}, FormatCase{Element::Bf16, 0}}) {
    for (const int tokens : {1, 5, 70}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 136, 72), tokens, 5, 2);
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 192, 200), tokens, 6, 3);
    }
  }
  check_experts(op(), random_, expert_layout(Element::Int4, 128, 256, 384), 1, 24, 20);
  check_experts(op(), random_, expert_layout(Element::Int4, 128, 256, 384), 2, 24, 10);
  check_experts(op(), random_, expert_layout(Element::Mxfp4, 32, 160, 288), 50, 6, 3);
}

TEST_F(CudaShapes, ExpertsWithLargeTiles) {
  check_experts(op(), random_, expert_layout(Element::Int4, 128, 256, 128), 600, 4, 2);
  check_experts(op(), random_, expert_layout(Element::Int8, 64, 128, 192), 500, 3, 2);
  check_experts(op(), random_, expert_layout(Element::Bf16, 0, 128, 64), 500, 3, 2);
}

TEST_F(CudaShapes, ExpertsWithTilesOfEverySize) {
  // All pairs belong to one expert of two, so tokens are the rows of its tiles: sizes around those that have kernels of
  // their own, whole tiles and a rest.
  for (const FormatCase& f : kFormats) {
    if (f.element == Element::Int4 && f.group_size == 4) continue;
    for (const int tokens : {15, 16, 17, 32, 33, 64, 65, 127, 128, 129, 161, 270}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 128, 72), tokens, 1, 1);
    }
  }
}

TEST_F(CudaShapes, ExpertsWithMoreColumnsThanThePipelineHolds) {
  for (const FormatCase& f : kFormats) {
    if (f.element == Element::Int4 && f.group_size == 4) continue;
    check_experts(op(), random_, expert_layout(f.element, f.group_size, 1152, 64), 40, 3, 2);
    check_experts(op(), random_, expert_layout(f.element, f.group_size, 64, 2304), 20, 2, 1);
  }
  // A group that is longer than a step of the pipeline.
  check_experts(op(), random_, expert_layout(Element::Int4, 512, 2048, 64), 30, 2, 2);
  check_experts(op(), random_, expert_layout(Element::Int8, 256, 512, 256), 30, 2, 2);
}

TEST_F(CudaShapes, ExpertsWithTheClampedActivation) {
  for (const FormatCase& f : {FormatCase{Element::Int4, 128}, FormatCase{Element::Mxfp4, 32}}) {
    for (const int tokens : {4, 90, 300}) {
      check_experts(op(), random_, expert_layout(f.element, f.group_size, 128, 128), tokens, 4, 2, Glu::ClampedSwiGlu);
    }
  }
}

TEST_F(CudaShapes, ExpertsOfMorePairsThanOneBlockSorts) {
  check_experts(op(), random_, expert_layout(Element::Int4, 32, 64, 32), 1500, 37, 5);
}

TEST_F(CudaShapes, ExpertsAreTheSameBitsAtEachRepetition) {
  for (const int tokens : {1, 200}) {
    ExpertsCase c(random_, expert_layout(Element::Int4, 64, 256, 128), tokens, 9, 4);
    const std::vector<float> first = c.run(op());
    for (int i = 0; i < 5; ++i) EXPECT_EQ(c.run(op()), first);
  }
}

TEST_F(CudaShapes, PoolsBeyondFourGigabytes) {
  const ExpertLayout layout = expert_layout(Element::Int4, 32, 64, 96);
  const std::size_t far = (std::size_t{1} << 32) + (std::size_t{1} << 20);
  std::size_t free_bytes = 0, total_bytes = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  if (free_bytes < far + (std::size_t{1} << 30)) GTEST_SKIP() << "the device has not 5 GiB free";
  void* pool = nullptr;
  check_cuda(cudaMalloc(&pool, far + layout.bytes()), "allocating");
  for (const int tokens : {1, 30}) {
    ExpertsCase c(random_, layout, tokens, 2, 1);
    check_cuda(
        cudaMemcpy(static_cast<std::byte*>(pool) + far, c.pool.data(), c.pool.size() / 2, cudaMemcpyHostToDevice),
        "copying");
    // Expert 0 is far away, expert 1 is not here.
    ExpertsCase only = c;
    only.offsets[1] = -1;
    only.offsets[0] = static_cast<std::int64_t>(far);
    std::vector<float> out = c.before;
    DeviceMemory memory;
    const ExpertsArgs args{memory.placed(View<const bf16>(view(c.x))),
                           memory.placed(View<const std::int32_t>(view(c.ids))),
                           memory.placed(View<const float>(view(c.weights))),
                           {static_cast<const std::byte*>(pool), far + layout.bytes()},
                           memory.placed(view(std::as_const(only.offsets))),
                           layout,
                           1,
                           memory.placed(view(out)),
                           memory.scratch(c.workspace.size())};
    memory.upload();
    cuda::run(device_launch(), args);
    memory.finish();
    only.offsets[0] = 0;  // as the pool of the case has it
    check_outputs(only, out, Glu::SwiGlu);
  }
  check_cuda(cudaFree(pool), "freeing");
}

}  // namespace
}  // namespace krasis::test

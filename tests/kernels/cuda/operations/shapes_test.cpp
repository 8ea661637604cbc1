#include <algorithm>
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
  op.matmul({.x = view(x), .weight = packed.matrix(), .out_f32 = view(f32), .tokens = tokens});
  op.matmul({.x = view(x), .weight = packed.matrix(), .out_bf16 = view(rounded), .tokens = tokens});
  op.matmul({.x = view(x), .weight = packed.matrix(), .accumulate = view(accumulated), .tokens = tokens});
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
}

TEST_F(CudaShapes, ActivationsAtAddressesThatAreNotAligned) {
  // Views into the middle: 2-byte aligned rows must not take a path with wide loads.
  const PackedMatrix packed = random_matrix(random_, Element::Int4, 32, 20, 64);
  const cuda::Launch launch = device_launch();
  for (const int tokens : {1, 20}) {
    const auto x = random_.bf16s(static_cast<std::size_t>(tokens) * 64 + 1);
    auto out = poisoned(static_cast<std::size_t>(tokens) * 20);
    DeviceMemory memory;
    const View<const bf16> all = memory.in(view(x));
    const View<float> to = memory.in(view(out));
    const Matrix weight = memory.in(packed.matrix());
    memory.upload();
    cuda::matmul(launch, {.x = all.sub(1, all.size - 1), .weight = weight, .out_f32 = to, .tokens = tokens});
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
  std::vector<float> run(const HostOperations& op) {
    std::vector<float> out = before;
    op.experts({view(x),
                view(ids),
                view(weights),
                {pool.data(), pool.size()},
                view(std::as_const(offsets)),
                layout,
                top_k,
                view(out),
                view(workspace)});
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

/// experts_test.cpp bounds each number; here larger shapes are held against the scalar operations as a whole. Where
/// sums differ in their last bits, an activated value may round to the neighbouring BF16 (2^-8 of it): seldom, so a
/// thousandth in the norm is generous, and no tile can be lost within it.
void check_against_scalar(const HostOperations& op, Random& random, const ExpertLayout& layout, int tokens, int experts,
                          int top_k) {
  SCOPED_TRACE(std::string(name_of(layout.gate.format.element)) + " group " +
               std::to_string(layout.gate.format.group_size) + " hidden " + std::to_string(layout.hidden()) +
               " width " + std::to_string(layout.width()) + ", " + std::to_string(tokens) + " tokens");
  ExpertsCase c(random, layout, tokens, experts, top_k);
  const std::vector<float> expected = c.run(scalar_operations());
  const std::vector<float> out = c.run(op);
  for (int t = 0; t < tokens; ++t) {
    double error = 0, norm = 0;
    for (std::int64_t o = 0; o < layout.hidden(); ++o) {
      const std::size_t i = static_cast<std::size_t>(t * layout.hidden() + o);
      error += std::pow(static_cast<double>(out[i]) - static_cast<double>(expected[i]), 2);
      norm += std::pow(static_cast<double>(expected[i]) - static_cast<double>(c.before[i]), 2);
    }
    ASSERT_LE(std::sqrt(error), 1e-3 * std::sqrt(norm) + 1e-12) << "token " << t;
  }
}

TEST_F(CudaShapes, ExpertsOfFewAndOfManyTokens) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 3, 8, 9, 40, 130}) {
      check_against_scalar(op(), random_, expert_layout(f.element, f.group_size, 128, 96), tokens, 11, 4);
    }
  }
}

TEST_F(CudaShapes, ExpertsOfOddShapes) {
  for (const FormatCase& f :
       {FormatCase{Element::Int4, 32}, FormatCase{Element::Int8, 128}, FormatCase{Element::Bf16, 0}}) {
    for (const int tokens : {1, 5, 70}) {
      check_against_scalar(op(), random_, expert_layout(f.element, f.group_size, 136, 72), tokens, 5, 2);
      check_against_scalar(op(), random_, expert_layout(f.element, f.group_size, 192, 200), tokens, 6, 3);
    }
  }
  check_against_scalar(op(), random_, expert_layout(Element::Int4, 128, 256, 384), 1, 24, 20);
  check_against_scalar(op(), random_, expert_layout(Element::Int4, 128, 256, 384), 2, 24, 10);
  check_against_scalar(op(), random_, expert_layout(Element::Mxfp4, 32, 160, 288), 50, 6, 3);
}

TEST_F(CudaShapes, ExpertsWithLargeTiles) {
  check_against_scalar(op(), random_, expert_layout(Element::Int4, 128, 256, 128), 600, 4, 2);
  check_against_scalar(op(), random_, expert_layout(Element::Int8, 64, 128, 192), 500, 3, 2);
  check_against_scalar(op(), random_, expert_layout(Element::Bf16, 0, 128, 64), 500, 3, 2);
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
    const std::vector<float> wanted = only.run(scalar_operations());
    only.offsets[0] = static_cast<std::int64_t>(far);
    std::vector<float> out = c.before;
    DeviceMemory memory;
    const ExpertsArgs args{memory.in(View<const bf16>(view(c.x))),
                           memory.in(View<const std::int32_t>(view(c.ids))),
                           memory.in(View<const float>(view(c.weights))),
                           {static_cast<const std::byte*>(pool), far + layout.bytes()},
                           memory.in(view(std::as_const(only.offsets))),
                           layout,
                           1,
                           memory.in(view(out)),
                           memory.scratch(c.workspace.size())};
    memory.upload();
    cuda::experts(device_launch(), args);
    memory.finish();
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      error += std::pow(static_cast<double>(out[i]) - static_cast<double>(wanted[i]), 2);
      norm += std::pow(static_cast<double>(wanted[i]), 2);
    }
    EXPECT_LE(std::sqrt(error), 1e-3 * std::sqrt(norm));
  }
  check_cuda(cudaFree(pool), "freeing");
}

}  // namespace
}  // namespace krasis::test

#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/operations/operations.h"
#include "tests/kernels/cuda/operations/device_operations.h"
#include "tests/kernels/operations/support.h"

/// Blocks with their memory, and what runs them on the device.
namespace krasis::test {

/// |a - b| / |b - before|, over all numbers.
template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>* before = nullptr) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto value = [](const T& v) { return static_cast<double>(static_cast<float>(v)); };
    error += std::pow(value(a[i]) - value(b[i]), 2);
    norm += std::pow(value(b[i]) - (before ? value((*before)[i]) : 0.0), 2);
  }
  return std::sqrt(error / norm);
}

class CudaBlocks : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = missing_device(); !why.empty()) GTEST_SKIP() << why;
    launch_ = device_launch();
    check_cuda(cudaMalloc(&counters_, cuda::kCounters * sizeof(unsigned)), "allocating");
    check_cuda(cudaMemset(counters_, 0, cuda::kCounters * sizeof(unsigned)), "clearing");
    launch_.counters = static_cast<unsigned*>(counters_);
  }
  void TearDown() override {
    if (!counters_) return;
    std::vector<unsigned> counters(cuda::kCounters, 1);
    EXPECT_EQ(cudaMemcpy(counters.data(), counters_, counters.size() * sizeof(unsigned), cudaMemcpyDeviceToHost),
              cudaSuccess);
    EXPECT_EQ(counters, std::vector<unsigned>(cuda::kCounters, 0)) << "counters are left as zeros";
    cudaFree(counters_);
  }
  template <class Block>
  void run(const Block& host) {
    DeviceMemory memory;
    const Block on_device = memory.moved(host);
    memory.upload();
    cuda::run(launch_, on_device);
    memory.finish();
  }

  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
  cuda::Launch launch_;
  void* counters_ = nullptr;
};

struct AttentionShape {
  int hidden, heads, kv_heads, head_dim;
  bool norms;
  FormatCase format;
};

/// A block with its memory; copies share the weights' values, not their memory.
struct AttentionCase {
  AttentionCase(Random& random, const AttentionShape& s, KvElement element, std::vector<std::int32_t> at, int first);
  AttentionBlock block();
  /// The numbers of the batch's own rows of a plane.
  std::vector<float> appended(int plane) const;

  AttentionShape shape;
  std::vector<std::int32_t> positions;
  std::vector<SequenceSpan> sequences;
  KvCache cache;
  std::vector<PackedMatrix> weights;
  std::vector<float> residual, frequency;
  std::vector<bf16> norm, q_norm, k_norm, normed, q, k, v, attended;
  std::vector<std::byte> values[2];
  std::vector<float> scales[2];
};

struct RouterCase {
  RouterCase(Random& random, int count, int width, int experts, int picks)
      : tokens(count),
        top_k(picks),
        router(random_matrix(random, Element::Bf16, 0, experts, width, 1 / std::sqrt(static_cast<double>(width)))),
        residual(random.floats(static_cast<std::size_t>(count * width))),
        norm(random.bf16s(static_cast<std::size_t>(width))),
        normed(poisoned_bf16(residual.size())),
        logits(poisoned(static_cast<std::size_t>(count * experts))),
        ids(static_cast<std::size_t>(count * picks), -7),
        weights(poisoned(ids.size())) {}
  RouterBlock block(bool renormalize) {
    return {.residual = view(std::as_const(residual)),
            .norm = view(std::as_const(norm)),
            .router = router.matrix(),
            .top_k = top_k,
            .renormalize = renormalize,
            .tokens = tokens,
            .normed = view(normed),
            .logits = view(logits),
            .ids = view(ids),
            .weights = view(weights)};
  }
  int tokens, top_k;
  PackedMatrix router;
  std::vector<float> residual;
  std::vector<bf16> norm, normed;
  std::vector<float> logits;
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

}  // namespace krasis::test

#include <numeric>
#include <optional>
#include <set>

#include "tests/kernels/cuda/operations/block_cases.h"

/// Blocks on the device against their definition, once with the scalar operations of the host and once with the
/// device's own primitives.
namespace krasis::test {
namespace {

/// Each difference of an FP32 sum may round q, k, v or what is attended to the neighbouring BF16 (2^-8) or E4M3 number
/// (2^-4), seldom; an error in the order of the values themselves is what must not pass.
void expect_near(const AttentionCase& out, const AttentionCase& expected, const AttentionCase& before) {
  const bool fp8 = before.cache.element == KvElement::Fp8;
  EXPECT_LE(distance(out.residual, expected.residual, &before.residual), 0.01);
  for (int plane = 0; plane < 2; ++plane) {
    EXPECT_LE(distance(out.appended(plane), expected.appended(plane)), fp8 ? 0.02 : 0.005) << "plane " << plane;
  }
}

const AttentionShape kAttentionShapes[] = {
    {256, 8, 1, 128, true, {Element::Int8, 128}},  {256, 8, 4, 128, true, {Element::Bf16, 0}},
    {256, 16, 1, 128, false, {Element::Int4, 64}}, {512, 8, 1, 256, true, {Element::Int8, 128}},
    {128, 12, 2, 256, true, {Element::Int8, 32}},  {192, 6, 2, 64, true, {Element::Int8, 64}},
};

TEST_F(CudaBlocks, AttentionOfOneTokenAtEveryLengthAroundTheBlocks) {
  for (const AttentionShape& shape : kAttentionShapes) {
    for (const KvElement element : {KvElement::Fp8, KvElement::Bf16}) {
      for (const int position : {0, 1, 15, 127, 128, 129, 300, 1100}) {
        SCOPED_TRACE(std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) + " x " +
                     std::to_string(shape.head_dim) + (element == KvElement::Fp8 ? " FP8" : " BF16") + ", position " +
                     std::to_string(position));
        const AttentionCase before(random_, shape, element, {position}, position % 2 ? 5 : 0);
        AttentionCase scalar = before, primitives = before, out = before;
        scalar_operations().run(scalar.block());
        device_operations().run(primitives.block());
        run(out.block());
        {
          SCOPED_TRACE("against the scalar operations");
          expect_near(out, scalar, before);
        }
        SCOPED_TRACE("against the device's primitives");
        expect_near(out, primitives, before);
      }
    }
  }
}

TEST_F(CudaBlocks, AttentionOfSeveralTokensOfASequence) {
  for (const AttentionShape& shape : kAttentionShapes) {
    for (const int tokens : {2, 4, 7}) {
      std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
      std::iota(positions.begin(), positions.end(), 40);
      const AttentionCase before(random_, shape, KvElement::Fp8, positions, 2);
      AttentionCase scalar = before, out = before;
      scalar_operations().run(scalar.block());
      run(out.block());
      expect_near(out, scalar, before);
    }
  }
}

TEST_F(CudaBlocks, AttentionIsTheSameBitsAtEachRepetition) {
  for (const int position : {100, 700}) {
    const AttentionCase before(random_, kAttentionShapes[0], KvElement::Fp8, {position}, 0);
    std::optional<std::vector<float>> first;
    for (int i = 0; i < 5; ++i) {
      AttentionCase out = before;
      run(out.block());
      if (!first) first = out.residual;
      EXPECT_EQ(out.residual, *first);
    }
  }
}

TEST_F(CudaBlocks, MlpOfFewAndOfManyTokens) {
  for (const FormatCase& f :
       {FormatCase{Element::Int8, 128}, FormatCase{Element::Int4, 32}, FormatCase{Element::Bf16, 0}}) {
    for (const int tokens : {1, 4, 5, 20}) {
      const int hidden = 384, width = 256;
      const auto residual = random_.floats(static_cast<std::size_t>(tokens * hidden));
      const auto norm = random_.bf16s(hidden);
      const auto matrix = [&](int rows, int columns) {
        return random_matrix(random_, f.element, f.group_size, rows, columns,
                             1 / std::sqrt(static_cast<double>(columns)));
      };
      const PackedMatrix gate = matrix(width, hidden), up = matrix(width, hidden), down = matrix(hidden, width);
      const auto outcome = [&](auto run_block) {
        auto out = residual;
        auto normed = poisoned_bf16(out.size()), activated = poisoned_bf16(static_cast<std::size_t>(tokens * width));
        auto gated = poisoned(activated.size()), upped = gated;
        run_block(MlpBlock{view(out), view(norm), gate.matrix(), up.matrix(), down.matrix(), 1e-6f, tokens,
                           view(normed), view(gated), view(upped), view(activated)});
        return out;
      };
      const auto expected = outcome([](const MlpBlock& b) { scalar_operations().run(b); });
      const auto out = outcome([&](const MlpBlock& b) { run(b); });
      EXPECT_LE(distance(out, expected, &residual), 0.005) << tokens << " tokens";
    }
  }
}

/// Logits may differ by what a BF16 number of `normed` that rounds the other way makes of them, so picks are compared
/// by the reference's logits.
TEST_F(CudaBlocks, RouterPicksWhatTheReferencePicks) {
  const struct {
    int width, experts, top_k;
  } shapes[] = {{2048, 128, 8}, {2048, 512, 10}, {256, 40, 3}, {4096, 200, 32},
                {136, 7, 7},    {260, 24, 4},    {512, 600, 4}};
  for (const auto& s : shapes) {
    for (const int tokens : {1, 3, 4, 6}) {
      SCOPED_TRACE(std::to_string(s.experts) + " experts, width " + std::to_string(s.width) + ", " +
                   std::to_string(tokens) + " tokens");
      RouterCase expected(random_, tokens, s.width, s.experts, s.top_k);
      RouterCase out = expected;
      const bool renormalize = tokens != 3;
      scalar_operations().run(expected.block(renormalize));
      run(out.block(renormalize));
      EXPECT_LE(distance(out.normed, expected.normed), 1e-3);
      EXPECT_LE(distance(out.logits, expected.logits), 1e-3);
      for (int t = 0; t < tokens; ++t) {
        std::set<int> seen;
        for (int j = 0; j < s.top_k; ++j) {
          const auto at = static_cast<std::size_t>(t * s.top_k + j);
          ASSERT_TRUE(out.ids[at] >= 0 && out.ids[at] < s.experts && seen.insert(out.ids[at]).second);
          const auto logit = [&](int id) { return expected.logits[static_cast<std::size_t>(t * s.experts + id)]; };
          EXPECT_NEAR(logit(out.ids[at]), logit(expected.ids[at]), 0.02);
          EXPECT_NEAR(out.weights[at], expected.weights[at], 0.02 * expected.weights[at]);
        }
      }
    }
  }
}

TEST_F(CudaBlocks, HeadIsNormAndProduct) {
  for (const int tokens : {1, 3, 9}) {
    const PackedMatrix lm_head = random_matrix(random_, Element::Int8, 128, 3000, 512, 0.05);
    const auto residual = random_.floats(static_cast<std::size_t>(tokens) * 512);
    const auto norm = random_.bf16s(512);
    const auto outcome = [&](auto run_block) {
      auto normed = poisoned_bf16(residual.size());
      auto logits = poisoned(static_cast<std::size_t>(tokens) * 3000);
      run_block(HeadBlock{view(residual), view(norm), lm_head.matrix(), 1e-6f, tokens, view(normed), view(logits)});
      return logits;
    };
    const auto expected = outcome([](const HeadBlock& b) { scalar_operations().run(b); });
    const auto out = outcome([&](const HeadBlock& b) { run(b); });
    EXPECT_LE(distance(out, expected), 1e-3) << tokens << " tokens";
  }
}

/// Layers one after the other, launched so that each kernel begins before the one ahead has ended, against the same
/// layers with the device waited for after each block; then as a graph whose stream waits for another one on the way.
TEST_F(CudaBlocks, ManyOverlappingLayersAreThoseOneByOne) {
  cudaStream_t stream = nullptr, other = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  check_cuda(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), "making a stream");
  cudaEvent_t fork = nullptr, join = nullptr;
  check_cuda(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), "making an event");
  check_cuda(cudaEventCreateWithFlags(&join, cudaEventDisableTiming), "making an event");
  launch_.stream = stream;
  constexpr int kLayers = 6;
  std::vector<AttentionCase> attention;
  std::vector<RouterCase> routers;
  for (int l = 0; l < kLayers; ++l) {
    attention.emplace_back(random_, kAttentionShapes[0], KvElement::Fp8, std::vector<std::int32_t>{200}, 0);
    routers.emplace_back(random_, 1, 256, 128, 8);
  }
  enum class Way { OneByOne, Overlapping, Graph };
  const auto outcome = [&](Way way) {
    std::vector<float> residual = attention[0].residual, added(256, 0.25f);
    std::vector<AttentionCase> layers = attention;
    std::vector<RouterCase> picks = routers;
    DeviceMemory memory;
    const View<float> on_device = memory.placed(view(residual)), to_add = memory.placed(view(added));
    std::vector<AttentionBlock> blocks;
    std::vector<RouterBlock> router_blocks;
    for (int l = 0; l < kLayers; ++l) {
      blocks.push_back(memory.moved(layers[l].block()));
      blocks.back().residual = on_device;
      router_blocks.push_back(memory.moved(picks[l].block(true)));
      router_blocks.back().residual = on_device;
    }
    memory.upload();
    const auto pause = [&] {
      if (way == Way::OneByOne) check_cuda(cudaDeviceSynchronize(), "running");
    };
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t replay = nullptr;
    if (way == Way::Graph) check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
    for (int l = 0; l < kLayers; ++l) {
      cuda::run(launch_, blocks[l]);
      pause();
      cuda::run(launch_, router_blocks[l]);
      pause();
      // The residual changes on another stream, between two kernels that would overlap.
      cuda::Launch aside = launch_;
      aside.stream = other;
      check_cuda(cudaEventRecord(fork, stream), "recording an event");
      check_cuda(cudaStreamWaitEvent(other, fork, 0), "waiting");
      cuda::run(aside, AddArgs{to_add, on_device});
      check_cuda(cudaEventRecord(join, other), "recording an event");
      check_cuda(cudaStreamWaitEvent(stream, join, 0), "waiting");
      pause();
    }
    if (way == Way::Graph) {
      check_cuda(cudaStreamEndCapture(stream, &graph), "recording");
      check_cuda(cudaGraphInstantiate(&replay, graph, 0), "making a graph");
      check_cuda(cudaGraphLaunch(replay, stream), "replaying");
    }
    check_cuda(cudaDeviceSynchronize(), "running");
    memory.finish();
    if (replay) cudaGraphExecDestroy(replay);
    if (graph) cudaGraphDestroy(graph);
    for (const RouterCase& picked : picks)
      residual.insert(residual.end(), picked.weights.begin(), picked.weights.end());
    return residual;
  };
  const std::vector<float> expected = outcome(Way::OneByOne);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(outcome(Way::Overlapping), expected);
    EXPECT_EQ(outcome(Way::Graph), expected);
  }
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
  cudaStreamDestroy(stream);
  cudaStreamDestroy(other);
}

}  // namespace
}  // namespace krasis::test

#include "kernels/cuda/operations/blocks.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>

#include "tests/kernels/cuda/operations/device_operations.h"
#include "tests/kernels/operations/support.h"

/// Blocks on the device against their definition (kernels/blocks.cpp), once with the scalar operations of the host and
/// once with the device's own primitives.
namespace krasis::test {
namespace {

void compose(const HostOperations& op, const AttentionBlock& b) {
  const int tokens = b.batch.tokens, d = b.cache.head_dim;
  op.rms_norm({b.residual, b.input_norm, b.normed, b.q_proj.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.q_proj, .out_bf16 = b.q, .tokens = tokens});
  op.matmul({.x = b.normed, .weight = b.k_proj, .out_bf16 = b.k, .tokens = tokens});
  op.matmul({.x = b.normed, .weight = b.v_proj, .out_bf16 = b.v, .tokens = tokens});
  if (!b.q_norm.empty()) op.head_norm({b.q, b.q_norm, d, b.epsilon});
  if (!b.k_norm.empty()) op.head_norm({b.k, b.k_norm, d, b.epsilon});
  op.rotary({b.q, b.inverse_frequency, b.batch, b.heads, d});
  op.rotary({b.k, b.inverse_frequency, b.batch, b.cache.heads, d});
  op.kv_append({b.k, b.v, b.cache, b.batch});
  op.attention({b.q, b.cache, b.batch, b.attended, b.heads, 1.0f / std::sqrt(static_cast<float>(d)), {}});
  op.matmul({.x = b.attended, .weight = b.o_proj, .accumulate = b.residual, .tokens = tokens});
}
void compose(const HostOperations& op, const MlpBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.gate.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.gate, .out_f32 = b.gate_out, .tokens = b.tokens});
  op.matmul({.x = b.normed, .weight = b.up, .out_f32 = b.up_out, .tokens = b.tokens});
  op.swiglu({b.gate_out, b.up_out, b.activated});
  op.matmul({.x = b.activated, .weight = b.down, .accumulate = b.residual, .tokens = b.tokens});
}
void compose(const HostOperations& op, const RouterBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.router.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.router, .out_f32 = b.logits, .tokens = b.tokens});
  op.router({b.logits, b.ids, b.weights, static_cast<int>(b.router.layout.rows), b.top_k, b.renormalize});
}
void compose(const HostOperations& op, const HeadBlock& b) {
  op.rms_norm({b.residual, b.norm, b.normed, b.lm_head.layout.columns, b.epsilon});
  op.matmul({.x = b.normed, .weight = b.lm_head, .out_f32 = b.logits, .tokens = b.tokens});
}

AttentionBlock moved(DeviceMemory& m, AttentionBlock b) {
  b.residual = m.in(b.residual);
  b.batch = m.in(b.batch);
  b.cache = m.in(b.cache, true);
  b.input_norm = m.in(b.input_norm);
  for (Matrix* matrix : {&b.q_proj, &b.k_proj, &b.v_proj, &b.o_proj}) *matrix = m.in(*matrix);
  b.q_norm = m.in(b.q_norm);
  b.k_norm = m.in(b.k_norm);
  b.inverse_frequency = m.in(b.inverse_frequency);
  for (View<bf16>* view : {&b.normed, &b.q, &b.k, &b.v, &b.attended}) *view = m.in(*view);
  b.attention_workspace = m.scratch(attention_workspace_bytes(b.batch.tokens, b.heads, b.cache.head_dim));
  return b;
}
MlpBlock moved(DeviceMemory& m, MlpBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  for (Matrix* matrix : {&b.gate, &b.up, &b.down}) *matrix = m.in(*matrix);
  b.normed = m.in(b.normed);
  b.gate_out = m.in(b.gate_out);
  b.up_out = m.in(b.up_out);
  b.activated = m.in(b.activated);
  return b;
}
RouterBlock moved(DeviceMemory& m, RouterBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  b.router = m.in(b.router);
  b.normed = m.in(b.normed);
  b.logits = m.in(b.logits);
  b.ids = m.in(b.ids);
  b.weights = m.in(b.weights);
  return b;
}
HeadBlock moved(DeviceMemory& m, HeadBlock b) {
  b.residual = m.in(b.residual);
  b.norm = m.in(b.norm);
  b.lm_head = m.in(b.lm_head);
  b.normed = m.in(b.normed);
  b.logits = m.in(b.logits);
  return b;
}

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
  void run(void (*block)(const cuda::Launch&, const Block&), const Block& host, int times = 1) {
    DeviceMemory memory;
    const Block on_device = moved(memory, host);
    memory.upload();
    for (int i = 0; i < times; ++i) block(launch_, on_device);
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
  AttentionCase(Random& random, const AttentionShape& s, KvElement element, std::vector<std::int32_t> at, int first)
      : shape(s), positions(std::move(at)), sequences{{0, static_cast<int>(positions.size()), first}} {
    const auto n = positions.size();
    const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
    const auto matrix = [&](int rows, int columns) {
      return random_matrix(random, s.format.element, s.format.group_size, rows, columns,
                           1.0 / std::sqrt(static_cast<double>(columns)));
    };
    weights = {matrix(q_width, s.hidden), matrix(kv_width, s.hidden), matrix(kv_width, s.hidden),
               matrix(s.hidden, q_width)};
    residual = random.floats(n * static_cast<std::size_t>(s.hidden));
    norm = random.bf16s(static_cast<std::size_t>(s.hidden));
    q_norm = random.bf16s(s.norms ? static_cast<std::size_t>(s.head_dim) : 0);
    k_norm = random.bf16s(s.norms ? static_cast<std::size_t>(s.head_dim) : 0);
    for (int i = 0; i < s.head_dim / 2; ++i) {
      frequency.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / s.head_dim)));
    }
    normed = poisoned_bf16(residual.size());
    q = attended = poisoned_bf16(n * static_cast<std::size_t>(q_width));
    k = v = poisoned_bf16(n * static_cast<std::size_t>(kv_width));
    const int rows = first + positions.back() + 3;
    cache = {element, rows, s.kv_heads, s.head_dim, {}, {}};
    // What earlier steps left; all else is poison, which nobody may use.
    const std::size_t numbers = static_cast<std::size_t>(rows) * static_cast<std::size_t>(kv_width);
    for (int p = 0; p < 2; ++p) {
      if (element == KvElement::Bf16) {
        std::vector<bf16> plane = random.bf16s(numbers);
        for (int r = 0; r < rows; ++r) {
          if (r >= first && r < first + positions.front()) continue;
          std::fill_n(plane.begin() + r * kv_width, kv_width, bf16::from_bits(0x7fc0));
        }
        values[p].resize(numbers * 2);
        std::memcpy(values[p].data(), plane.data(), numbers * 2);
      } else {
        for (std::size_t i = 0; i < numbers; ++i) {
          const int code = random.integer(0, 0x77);
          values[p].push_back(static_cast<std::byte>(random.integer(0, 1) ? code | 0x80 : code));
        }
        for (int i = 0; i < rows * s.kv_heads; ++i) {
          const int r = i / s.kv_heads;
          const bool cached = r >= first && r < first + positions.front();
          scales[p].push_back(cached ? static_cast<float>(random.uniform(0.001, 0.02)) : std::nanf(""));
        }
      }
    }
  }
  AttentionBlock block() {
    KvCache there = cache;
    there.keys = {view(values[0]), view(scales[0])};
    there.values = {view(values[1]), view(scales[1])};
    return {
        .residual = view(residual),
        .batch = {static_cast<int>(positions.size()), view(std::as_const(positions)), view(std::as_const(sequences))},
        .cache = there,
        .input_norm = view(std::as_const(norm)),
        .q_proj = weights[0].matrix(),
        .k_proj = weights[1].matrix(),
        .v_proj = weights[2].matrix(),
        .o_proj = weights[3].matrix(),
        .q_norm = view(std::as_const(q_norm)),
        .k_norm = view(std::as_const(k_norm)),
        .inverse_frequency = view(std::as_const(frequency)),
        .heads = shape.heads,
        .normed = view(normed),
        .q = view(q),
        .k = view(k),
        .v = view(v),
        .attended = view(attended),
        .attention_workspace = {}};
  }
  /// The numbers of the batch's own rows of a plane.
  std::vector<float> appended(int plane) const {
    std::vector<float> numbers;
    const int width = shape.kv_heads * shape.head_dim;
    for (const std::int32_t position : positions) {
      for (int i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>((sequences[0].first_slot + position) * width + i);
        if (cache.element == KvElement::Bf16) {
          bf16 number;
          std::memcpy(&number, values[plane].data() + at * 2, 2);
          numbers.push_back(static_cast<float>(number));
        } else {
          const double scale = scales[plane][at / static_cast<std::size_t>(shape.head_dim)];
          numbers.push_back(static_cast<float>(scale * e4m3_value(static_cast<int>(values[plane][at]))));
        }
      }
    }
    return numbers;
  }
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
        compose(scalar_operations(), scalar.block());
        compose(device_operations(), primitives.block());
        run(cuda::attention_block, out.block());
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
      compose(scalar_operations(), scalar.block());
      run(cuda::attention_block, out.block());
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
      run(cuda::attention_block, out.block());
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
      const auto expected = outcome([](const MlpBlock& b) { compose(scalar_operations(), b); });
      const auto out = outcome([&](const MlpBlock& b) { run(cuda::mlp_block, b); });
      EXPECT_LE(distance(out, expected, &residual), 0.005) << tokens << " tokens";
    }
  }
}

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
      compose(scalar_operations(), expected.block(renormalize));
      run(cuda::router_block, out.block(renormalize));
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
    const auto expected = outcome([](const HeadBlock& b) { compose(scalar_operations(), b); });
    const auto out = outcome([&](const HeadBlock& b) { run(cuda::head_block, b); });
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
    const View<float> on_device = memory.in(view(residual)), to_add = memory.in(view(added));
    std::vector<AttentionBlock> blocks;
    std::vector<RouterBlock> router_blocks;
    for (int l = 0; l < kLayers; ++l) {
      blocks.push_back(moved(memory, layers[l].block()));
      blocks.back().residual = on_device;
      router_blocks.push_back(moved(memory, picks[l].block(true)));
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
      cuda::attention_block(launch_, blocks[l]);
      pause();
      cuda::router_block(launch_, router_blocks[l]);
      pause();
      // The residual changes on another stream, between two kernels that would overlap.
      cuda::Launch aside = launch_;
      aside.stream = other;
      check_cuda(cudaEventRecord(fork, stream), "recording an event");
      check_cuda(cudaStreamWaitEvent(other, fork, 0), "waiting");
      cuda::add(aside, {to_add, on_device});
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

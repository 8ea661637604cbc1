#include <algorithm>

#include "tests/kernels/cuda/operations/device_operations.h"
#include "tests/kernels/operations/support.h"

/// Attention at the sizes that the tensor core kernels are made for, split contexts, steps replayed as graphs.
namespace krasis::test {
namespace {

class CudaAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = missing_device(); !why.empty()) GTEST_SKIP() << why;
  }
  const HostOperations& op() const { return device_operations(); }
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};

/// Sequences in one batch: each has `context` positions before its `count` tokens. Their rows of the cache lie apart;
/// what is between them, and what no token may see, is NaN.
struct Sequence {
  int context, count;
};
struct AttentionCase {
  AttentionCase(Random& random, KvElement element, int query_heads, int kv_heads, int head_dim,
                std::vector<Sequence> given)
      : heads(query_heads) {
    int rows = 5;
    for (const Sequence& s : given) {
      spans.push_back({static_cast<std::int32_t>(positions.size()), s.count, rows});
      for (int i = 0; i < s.count; ++i) positions.push_back(s.context + i);
      rows += s.context + s.count + 3;
    }
    const std::size_t numbers = static_cast<std::size_t>(rows) * kv_heads * head_dim;
    keys.assign(numbers * (element == KvElement::Bf16 ? 2 : 1), std::byte{0x7f});
    values = keys;
    key_scales = poisoned(element == KvElement::Fp8 ? static_cast<std::size_t>(rows) * kv_heads : 0);
    value_scales = key_scales;
    cache = {element, rows, kv_heads, head_dim, {view(keys), view(key_scales)}, {view(values), view(value_scales)}};
    for (std::size_t s = 0; s < given.size(); ++s) {
      const int length = given[s].context + given[s].count;
      std::vector<std::int32_t> all;
      for (int p = 0; p < length; ++p) all.push_back(p);
      const std::vector<SequenceSpan> one = {{0, length, spans[s].first_slot}};
      const auto k = random.bf16s(static_cast<std::size_t>(length) * kv_heads * head_dim, 1.5);
      const auto v = random.bf16s(k.size());
      scalar_operations().run<KvAppendArgs>({view(k), view(v), cache, {length, view(std::as_const(all)), view(one)}});
    }
    q = random.bf16s(positions.size() * static_cast<std::size_t>(heads * head_dim), 1.5);
  }
  AttentionArgs args(std::vector<bf16>& out) const {
    return {view(q),   cache, {static_cast<int>(positions.size()), view(positions), view(spans)},
            view(out), heads, 1.0f / std::sqrt(static_cast<float>(cache.head_dim))};
  }
  std::vector<bf16> run(const HostOperations& op) const {
    auto out = poisoned_bf16(q.size());
    op.run<AttentionArgs>(args(out));
    return out;
  }
  int heads;
  std::vector<std::int32_t> positions;
  std::vector<SequenceSpan> spans;
  std::vector<std::byte> keys, values;
  std::vector<float> key_scales, value_scales;
  KvCache cache;
  std::vector<bf16> q;
};

/// attention_test.cpp bounds each number for small shapes. Here both sides are within their error of the formula: each
/// rounds to BF16 (2^-8 of the value; neighbours differ by 2^-7), and a weight errs by 2^-16 (two terms) and the error
/// of a score, together below 2^-11 of the largest value. What `slack` says comes on top.
void expect_same(const std::vector<bf16>& out, const std::vector<bf16>& expected,
                 const std::vector<double>& slack = {}) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double value = static_cast<float>(expected[i]);
    const double more = slack.empty() ? 0.0 : slack[i];
    ASSERT_NEAR(static_cast<float>(out[i]), value, 0x1p-7 * std::fabs(value) + 5 * 0x1p-11 + more) << "element " << i;
  }
}
/// Where many tokens meet a BF16 cache, each weight may be rounded to BF16 before it multiplies its value, which
/// changes the result by at most 2^-8 sum(weight |value|): attention over the values without their signs.
///
/// An FP8 cache may be read as BF16 then. That changes a value by 2^-9 of it, and a score by the roundings of head_dim
/// keys, which are independent: for queries and keys of deviation 1.5 and scale = head_dim^-1/2 by 1.5^2 2^-9 / sqrt(3),
/// below 2^-8 (one deviation); all weights change by at most 4 of them, 2^-6.
std::vector<double> rounded_weights(const AttentionCase& c) {
  AttentionCase positive = c;
  const std::size_t step = c.cache.element == KvElement::Bf16 ? 2 : 1;
  for (std::size_t i = step - 1; i < positive.values.size(); i += step) positive.values[i] &= std::byte{0x7f};
  positive.cache.keys = {view(positive.keys), view(positive.key_scales)};
  positive.cache.values = {view(positive.values), view(positive.value_scales)};
  std::vector<double> slack;
  for (const bf16 mass : positive.run(simd_operations())) {
    slack.push_back((c.cache.element == KvElement::Bf16 ? 0x1p-8 : 0x1p-8 + 0x1p-9 + 0x1p-6) *
                    static_cast<float>(mass));
  }
  return slack;
}

struct Heads {
  int heads, kv_heads, head_dim;
};
const Heads kHeads[] = {{32, 4, 128}, {16, 2, 256}, {8, 8, 64}, {12, 4, 64}, {5, 1, 128}, {24, 1, 128}};

TEST_F(CudaAttention, OneTokenOfEveryContextAroundTheTiles) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Heads& h : kHeads) {
      for (const int context : {0, 1, 31, 32, 33, 63, 64, 127, 500, 3000}) {
        SCOPED_TRACE(std::to_string(h.heads) + "/" + std::to_string(h.kv_heads) + " heads of " +
                     std::to_string(h.head_dim) + ", context " + std::to_string(context));
        const AttentionCase c(random_, element, h.heads, h.kv_heads, h.head_dim, {{context, 1}});
        expect_same(c.run(op()), c.run(scalar_operations()));
      }
    }
  }
}

TEST_F(CudaAttention, ManyTokensAndSeveralSequences) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Heads& h : kHeads) {
      SCOPED_TRACE(std::to_string(h.heads) + "/" + std::to_string(h.kv_heads) + " heads of " +
                   std::to_string(h.head_dim));
      for (const auto& sequences : std::vector<std::vector<Sequence>>{
               {{0, 130}}, {{77, 65}}, {{0, 1}, {300, 40}, {5, 17}, {64, 64}}, {{40, 2}, {0, 3}}, {{9, 1}, {100, 1}}}) {
        const AttentionCase c(random_, element, h.heads, h.kv_heads, h.head_dim, sequences);
        expect_same(c.run(op()), c.run(scalar_operations()), rounded_weights(c));
      }
    }
  }
}

/// Prompts of several tiles of rows and of keys, which end in the middle of both. The host's fast operations, which its
/// tests hold against the formula, because the scalar ones would take minutes.
TEST_F(CudaAttention, Prompts) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Heads& h : {Heads{8, 1, 128}, Heads{4, 2, 256}, Heads{6, 1, 64}, Heads{2, 2, 128}}) {
      SCOPED_TRACE(std::to_string(h.heads) + "/" + std::to_string(h.kv_heads) + " heads of " +
                   std::to_string(h.head_dim));
      for (const auto& sequences :
           std::vector<std::vector<Sequence>>{{{0, 601}}, {{801, 300}}, {{0, 513}, {300, 3}, {130, 100}}}) {
        const AttentionCase c(random_, element, h.heads, h.kv_heads, h.head_dim, sequences);
        expect_same(c.run(op()), c.run(simd_operations()), rounded_weights(c));
      }
    }
  }
}

/// Neighbouring rows whose numbers differ by powers of two up to 2^24, rising and falling along the context.
TEST_F(CudaAttention, ValuesAndQueriesOfManyMagnitudes) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Heads& h : {Heads{8, 1, 128}, Heads{8, 1, 256}, Heads{8, 1, 64}}) {
      AttentionCase c(random_, element, h.heads, h.kv_heads, h.head_dim, {{150, 500}});
      const auto d = static_cast<std::size_t>(h.head_dim);
      const auto magnitude = [](std::size_t row) {
        return std::ldexp(1.0f, static_cast<int>(row / 40) % 13 - static_cast<int>(row % 12));
      };
      for (std::size_t row = 0; row < static_cast<std::size_t>(c.cache.rows); ++row) {
        if (element == KvElement::Fp8) {
          c.value_scales[row] *= magnitude(row);
        } else {
          auto* values = reinterpret_cast<bf16*>(c.values.data()) + row * d;
          for (std::size_t i = 0; i < d; ++i) values[i] = bf16(static_cast<float>(values[i]) * magnitude(row));
        }
      }
      for (std::size_t i = 0; i < c.q.size(); ++i) {
        const float factor = std::ldexp(1.0f, -static_cast<int>(i / d % 40));
        c.q[i] = bf16(static_cast<float>(c.q[i]) * factor);
      }
      expect_same(c.run(op()), c.run(simd_operations()), rounded_weights(c));
    }
  }
}

/// A token's result is the same, within what rounding of its weights allows, in whatever chunk it comes.
TEST_F(CudaAttention, OneChunkOrSeveral) {
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    const int heads = 8, head_dim = 128, tokens = 900;
    const AttentionCase c(random_, element, heads, 1, head_dim, {{100, tokens}});
    const auto together = c.run(op());
    auto apart = poisoned_bf16(together.size());
    for (const Sequence& part : {Sequence{0, 333}, Sequence{333, 500}, Sequence{833, 67}}) {
      const auto first = static_cast<std::size_t>(part.context), count = static_cast<std::size_t>(part.count);
      const std::vector<SequenceSpan> span = {{0, part.count, c.spans[0].first_slot}};
      const std::size_t line = static_cast<std::size_t>(heads) * head_dim;
      AttentionArgs args = c.args(apart);
      args.q = args.q.sub(first * line, count * line);
      args.out = args.out.sub(first * line, count * line);
      args.batch = {part.count, args.batch.positions.sub(first, count), view(span)};
      op().run<AttentionArgs>(args);
    }
    auto slack = rounded_weights(c);
    for (double& s : slack) s *= 2;  // once on each side
    expect_same(apart, together, slack);
  }
}

/// Whole prompts, too long for the host: the kernels for every GPU, which the tests above hold against it.
TEST_F(CudaAttention, HoppersKernelsAgreeWithThoseForEveryGpu) {
  if (device_launch().compute_major != 9) GTEST_SKIP() << "the device is not of compute capability 9";
  for (const KvElement element : {KvElement::Bf16, KvElement::Fp8}) {
    for (const Heads& h : {Heads{32, 4, 128}, Heads{64, 4, 128}, Heads{16, 2, 256}, Heads{32, 8, 64}}) {
      SCOPED_TRACE(std::to_string(h.heads) + "/" + std::to_string(h.kv_heads) + " heads of " +
                   std::to_string(h.head_dim));
      const AttentionCase c(random_, element, h.heads, h.kv_heads, h.head_dim, {{2500, 1801}});
      std::vector<bf16> results[2];
      for (const int major : {8, 9}) {
        auto& out = results[major - 8] = poisoned_bf16(c.q.size());
        const AttentionArgs host = c.args(out);
        DeviceMemory memory;
        const AttentionArgs args{
            memory.placed(host.q),
            memory.placed(host.cache),
            memory.placed(host.batch),
            memory.placed(host.out),
            host.heads,
            host.scale,
            memory.scratch(widened_cache_bytes(host.cache.rows, host.cache.heads, host.cache.head_dim))};
        memory.upload();
        cuda::Launch launch = device_launch();
        launch.compute_major = major;
        cuda::run(launch, args);
        memory.finish();
      }
      // At most 6 standard deviations of 1.5 for the mass.
      const std::vector<double> slack(c.q.size(), 0x1p-8 * 9 + (element == KvElement::Fp8 ? 0x1p-6 * 1.5 : 0.0));
      expect_same(results[1], results[0], slack);
    }
  }
}

TEST_F(CudaAttention, WithoutAWorkspaceTheResultIsTheSame) {
  const AttentionCase c(random_, KvElement::Fp8, 32, 4, 128, {{700, 1}});
  auto out = poisoned_bf16(c.q.size());
  const AttentionArgs host = c.args(out);
  DeviceMemory memory;
  const AttentionArgs args{memory.placed(host.q),
                           memory.placed(host.cache),
                           memory.placed(host.batch),
                           memory.placed(host.out),
                           host.heads,
                           host.scale};
  memory.upload();
  cuda::run(device_launch(), args);
  memory.finish();
  expect_same(out, c.run(scalar_operations()));
}

TEST_F(CudaAttention, TheSameBitsAtEachRepetition) {
  for (const Sequence& s : {Sequence{2000, 1}, Sequence{100, 150}, Sequence{300, 900}}) {
    const AttentionCase c(random_, KvElement::Fp8, 32, 4, 128, {s});
    const auto bits = [](const std::vector<bf16>& values) {
      std::vector<std::uint16_t> all;
      for (const bf16 v : values) all.push_back(v.bits);
      return all;
    };
    const auto first = bits(c.run(op()));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(bits(c.run(op())), first);
  }
}

TEST_F(CudaAttention, AppendSkipsRowsBeyondTheCache) {
  AttentionCase c(random_, KvElement::Bf16, 1, 1, 64, {{0, 2}});
  const auto keys = c.keys, values = c.values;
  const auto k = random_.bf16s(2 * 64);
  const std::vector<std::int32_t> beyond = {c.cache.rows - 5, 1 << 30};
  // Outside the cache, and a position whose row would be negative.
  op().run<KvAppendArgs>({view(k), view(k), c.cache, {2, view(beyond), view(std::as_const(c.spans))}});
  EXPECT_EQ(c.keys, keys);
  EXPECT_EQ(c.values, values);
}

/// A decode step's operations as a graph: what changes from token to token is read from the device at each replay.
TEST_F(CudaAttention, AGraphSeesNewPositionsAndTokens) {
  const int heads = 8, kv_heads = 2, head_dim = 128;
  const AttentionCase c(random_, KvElement::Fp8, heads, kv_heads, head_dim, {{900, 1}});
  std::vector<std::int32_t> position = {-1}, id = {0}, history(16, -1), token = {7};
  std::vector<SamplingState> state = {{.temperature = 0.8f, .top_p = 0.9f, .repetition_penalty = 1.3f, .seed = 5}};
  const auto logits = random_.floats(1000, 3.0);
  auto out = poisoned_bf16(c.q.size());
  const AttentionArgs host = c.args(out);
  DeviceMemory memory;
  const View<std::int32_t> on_position = memory.placed(view(position)), on_id = memory.placed(view(id));
  const View<std::int32_t> on_token = memory.placed(view(token)), on_history = memory.placed(view(history));
  const View<SamplingState> on_state = memory.placed(view(state));
  const View<const float> on_logits = memory.placed(view(logits));
  const Batch batch{1, on_position, memory.placed(host.batch.sequences)};
  const AttentionArgs args{memory.placed(host.q),
                           memory.placed(host.cache),
                           batch,
                           memory.placed(host.out),
                           heads,
                           host.scale,
                           memory.scratch(attention_workspace_bytes(1, heads, head_dim))};
  memory.upload();

  cuda::Launch launch = device_launch();
  check_cuda(cudaStreamCreateWithFlags(&launch.stream, cudaStreamNonBlocking), "creating a stream");
  check_cuda(cudaStreamBeginCapture(launch.stream, cudaStreamCaptureModeThreadLocal), "capturing");
  cuda::run(launch, AdvanceArgs{on_token, on_id, on_position});
  cuda::run(launch, args);
  cuda::run(launch, SampleArgs{on_logits, on_state, on_history, on_token});
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t step = nullptr;
  check_cuda(cudaStreamEndCapture(launch.stream, &graph), "capturing");
  check_cuda(cudaGraphInstantiate(&step, graph, 0), "instantiating");
  for (int i = 0; i < 9; ++i) check_cuda(cudaGraphLaunch(step, launch.stream), "replaying");
  check_cuda(cudaStreamSynchronize(launch.stream), "replaying");
  memory.finish();
  check_cuda(cudaGraphExecDestroy(step), "destroying");
  check_cuda(cudaGraphDestroy(graph), "destroying");
  check_cuda(cudaStreamDestroy(launch.stream), "destroying");

  EXPECT_EQ(position[0], 8);
  AttentionCase at_eight = c;
  at_eight.positions = {8};
  at_eight.cache.keys = {view(at_eight.keys), view(at_eight.key_scales)};
  at_eight.cache.values = {view(at_eight.values), view(at_eight.value_scales)};
  expect_same(out, at_eight.run(scalar_operations()));
  SamplingState expected{.temperature = 0.8f, .top_p = 0.9f, .repetition_penalty = 1.3f, .seed = 5};
  std::vector<std::int32_t> expected_history(16, -1);
  std::int32_t expected_token = 7;
  for (int i = 0; i < 9; ++i) {
    scalar_operations().run<SampleArgs>({view(logits), {&expected, 1}, view(expected_history), {&expected_token, 1}});
  }
  EXPECT_EQ(history, expected_history);
  EXPECT_EQ(state[0].length, 9);
}

/// Whole vocabularies: the host's choice, but where a draw falls on a boundary within rounding (never seen; a token's
/// share errs by about 1e-7).
TEST_F(CudaAttention, SamplingFromALargeVocabularyIsTheHosts) {
  const auto logits = random_.floats(151936, 2.5);
  int different = 0;
  for (int i = 0; i < 60; ++i) {
    SamplingState state{.temperature = 0.3f + 0.02f * static_cast<float>(i),
                        .top_k = i % 3 == 0 ? 0 : 5 * i,
                        .top_p = i % 4 == 0 ? 1.0f : 0.9f,
                        .min_p = i % 5 == 0 ? 0.01f : 0.0f,
                        .repetition_penalty = i % 2 == 0 ? 1.0f : 1.2f,
                        .seed = random_.seed(),
                        .length = i};
    std::vector<std::int32_t> history(100);
    for (std::int32_t& token : history) token = random_.integer(0, 151935);
    auto other_history = history;
    SamplingState other_state = state;
    std::int32_t token = -1, other = -1;
    scalar_operations().run<SampleArgs>({view(logits), {&state, 1}, view(history), {&token, 1}});
    op().run<SampleArgs>({view(logits), {&other_state, 1}, view(other_history), {&other, 1}});
    different += token != other;
  }
  EXPECT_LE(different, 1);
}

}  // namespace
}  // namespace krasis::test

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/host/operations/experts/gate_units.h"
#include "kernels/host/operations/threads/thread_team.h"
#include "tests/kernels/operations/support.h"

/// The bits of a result do not depend on how many threads computed it. Sizes are such that the work is really shared.
namespace krasis::test {
namespace {

class ThreadsTest : public testing::Test {
 protected:
  /// Runs `compute` (which returns the bits of its result) with 1, 2 and 4 threads, and on teams.
  template <class Compute>
  void expect_same_bits(const Compute& compute) {
    const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 4);
    const auto with = [&](int threads) {
      tbb::task_arena arena(threads);
      return arena.execute(compute);
    };
    const auto alone = with(1);
    for (const int threads : {2, 4}) {
      const auto shared = with(threads);
      ASSERT_EQ(alone.size(), shared.size());
      EXPECT_EQ(std::memcmp(alone.data(), shared.data(), alone.size() * sizeof(alone[0])), 0) << threads << " threads";
    }
    for (const int threads : {1, 2, 4}) {
      ThreadTeam team(threads);
      const ThreadTeam::Scope scope(&team);
      const auto shared = compute();
      ASSERT_EQ(alone.size(), shared.size());
      EXPECT_EQ(std::memcmp(alone.data(), shared.data(), alone.size() * sizeof(alone[0])), 0)
          << "a team of " << threads;
    }
  }
  /// Runs `compute` (which returns FP32 numbers) alone, and on teams whose members are on several NUMA nodes.
  template <class Compute>
  void expect_same_bits_on_nodes(const Compute& compute) {
    const std::vector<float> alone = compute();
    for (const int nodes : {1, 2, 3}) {
      for (int threads = 1; threads <= 5; ++threads) {
        ThreadTeam team(threads, {}, nodes);
        const ThreadTeam::Scope scope(&team);
        const std::vector<float> shared = compute();
        ASSERT_EQ(alone.size(), shared.size());
        EXPECT_EQ(std::memcmp(alone.data(), shared.data(), alone.size() * sizeof(float)), 0)
            << threads << " threads on " << nodes << " nodes";
      }
    }
  }
  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__, "KRASIS_TEST_SEED=" + std::to_string(random_.seed())};
};

TEST_F(ThreadsTest, Matmul) {
  for (const FormatCase& f : kFormats) {
    for (const int tokens : {1, 150}) {
      const PackedMatrix weight = random_matrix(random_, f.element, f.group_size, 1031, 384);
      const auto x = random_.bf16s(tokens * 384);
      expect_same_bits([&] {
        auto out = poisoned(tokens * 1031);
        simd_operations().run<MatmulArgs>(
            {.x = view(x), .weight = weight.matrix(), .out_f32 = view(out), .tokens = tokens});
        return out;
      });
    }
  }
}

TEST_F(ThreadsTest, Experts) {
  const ExpertLayout layout = expert_layout(Element::Int4, 128, 256, 512);
  std::vector<std::byte> pool(8 * layout.bytes());
  std::vector<std::int64_t> offsets;
  for (std::size_t e = 0; e < 8; ++e) {
    offsets.push_back(static_cast<std::int64_t>(e * layout.bytes()));
    std::size_t at = e * layout.bytes();
    for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
      pack_rows(random_.floats(m.rows * m.columns, 0.1), m, pool.data() + at);
      at += m.bytes();
    }
  }
  for (const int tokens : {1, 70}) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < tokens; ++t) {
      std::vector<std::int32_t> all(8);
      std::iota(all.begin(), all.end(), 0);
      random_.shuffle(all);
      ids.insert(ids.end(), all.begin(), all.begin() + 4);
    }
    const auto weights = random_.floats(ids.size());
    const auto x = random_.bf16s(tokens * 256);
    expect_same_bits([&] {
      std::vector<float> out(tokens * 256, 1.0f);
      std::vector<std::byte> workspace(experts_workspace_bytes(tokens, 4, layout), std::byte{0xff});
      simd_operations().run<ExpertsArgs>(
          {view(x), view(ids), view(weights), view(pool), view(offsets), layout, 4, view(out), view(workspace)});
      return out;
    });
  }
}

/// With one shard block after block; with several each unit once, too, and equal parts of the order are the same rows
/// of all blocks.
TEST(GateUnits, AreShardAfterShard) {
  const simd::GateUnits one{.blocks = 3, .units = 5};
  for (std::int64_t i = 0; i < one.count(); ++i) {
    EXPECT_EQ(one.at(i).block, i / 5);
    EXPECT_EQ(one.at(i).unit, i % 5);
    EXPECT_EQ(one.at(i).end, 5);
  }
  for (const std::int64_t units : {1, 2, 5, 8, 24}) {
    for (const std::int64_t shards : {1, 2, 3, 4}) {
      const simd::GateUnits order{.blocks = 3, .units = units, .shards = shards};
      std::vector<int> visits(static_cast<std::size_t>(order.count()), 0);
      for (std::int64_t i = 0; i < order.count(); ++i) {
        const auto at = order.at(i);
        ++visits.at(static_cast<std::size_t>(at.block * units + at.unit));
        const std::int64_t shard = ((at.unit + 1) * shards - 1) / units;
        EXPECT_GE(at.unit, order.shard_begin(shard));
        EXPECT_EQ(at.end, order.shard_begin(shard + 1));
        if (units % shards != 0) continue;
        EXPECT_EQ(shard, i * shards / order.count()) << "the part of a node's members";
      }
      EXPECT_EQ(std::count(visits.begin(), visits.end(), 1), order.count()) << units << " units, " << shards;
    }
  }
}

/// Whichever NUMA nodes the rows of gate and up are given to: also where a node gets no whole unit, more rows than
/// another, or more nodes than members. One token goes row by row, 150 of one expert tile by tile.
TEST_F(ThreadsTest, ExpertsOfSeveralNodes) {
  for (const int width : {512, 328, 24}) {
    const ExpertLayout layout = expert_layout(Element::Int4, 128, 1024, width);
    std::vector<std::byte> pool;
    std::vector<std::int64_t> offsets;
    for (int e = 0; e < 3; ++e) {
      offsets.push_back(static_cast<std::int64_t>(pool.size()));
      for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
        const std::size_t at = pool.size();
        pool.resize(at + m.bytes());
        pack_rows(random_.floats(m.rows * m.columns, 0.1), m, pool.data() + at);
      }
    }
    for (const int tokens : {1, 7, 150}) {
      std::vector<std::int32_t> ids;
      for (int t = 0; t < tokens; ++t) ids.insert(ids.end(), {t % 3 == 0 ? 2 : 0, 1});
      const auto weights = random_.floats(ids.size());
      const auto x = random_.bf16s(tokens * 1024);
      SCOPED_TRACE(std::to_string(tokens) + " tokens, width " + std::to_string(width));
      expect_same_bits_on_nodes([&] {
        std::vector<float> out(tokens * 1024, 1.0f);
        std::vector<std::byte> workspace(experts_workspace_bytes(tokens, 2, layout), std::byte{0xff});
        simd_operations().run<ExpertsArgs>(
            {view(x), view(ids), view(weights), view(pool), view(offsets), layout, 2, view(out), view(workspace)});
        return out;
      });
    }
  }
}

/// Rows of q, k and v node after node: each once, also where a matrix has fewer units than there are nodes.
TEST_F(ThreadsTest, ProductsOfSeveralNodes) {
  const int columns = 512, tokens = 3;
  const int rows[] = {600, 70, 7};
  const auto x = random_.bf16s(tokens * columns);
  std::vector<PackedMatrix> weights;
  for (const int n : rows) weights.push_back(random_matrix(random_, Element::Int8, 128, n, columns));
  expect_same_bits_on_nodes([&] {
    std::vector<std::vector<float>> out;
    MatmulsArgs products;
    for (const int n : rows) out.push_back(poisoned(tokens * n));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      products.products[products.count++] = {
          .x = view(x), .weight = weights[i].matrix(), .out_f32 = view(out[i]), .tokens = tokens};
    }
    simd_operations().run(products);
    std::vector<float> all;
    for (const std::vector<float>& one : out) all.insert(all.end(), one.begin(), one.end());
    return all;
  });
}

TEST_F(ThreadsTest, Attention) {
  const int tokens = 100;
  const int heads = 8;
  const int head_dim = 64;
  const KvLayout layout = simd_operations().kv_layout(heads, 2, head_dim);
  std::vector<bf16> keys = random_.bf16s(kv_capacity(tokens) * 2 * head_dim);
  std::vector<bf16> values = random_.bf16s(keys.size());
  const auto bytes = [](std::vector<bf16>& v) {
    return View<std::byte>{reinterpret_cast<std::byte*>(v.data()), v.size() * 2};
  };
  const KvCache cache{KvElement::Bf16, tokens, 2, head_dim, {bytes(keys), {}}, {bytes(values), {}}, layout};
  std::vector<std::int32_t> positions(tokens);
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<SequenceSpan> spans = {{0, tokens, 0}};
  const auto q = random_.bf16s(tokens * heads * head_dim);
  expect_same_bits([&] {
    auto out = poisoned_bf16(q.size());
    simd_operations().run<AttentionArgs>(
        {view(q), cache, {tokens, view(positions), view(spans)}, view(out), heads, 0.125f});
    return out;
  });
}

/// Prefill in one chunk or in several: a token's products have the bits that they have in any other company that the
/// same kernel takes in the same order (RowKernels::dot).
TEST_F(ThreadsTest, ATokensProductsDoNotDependOnItsCompany) {
  const PackedMatrix weight = random_matrix(random_, Element::Int4, 128, 101, 640);
  const auto x = random_.bf16s(16 * 640);
  const auto run = [&](int first, int count) {
    auto out = poisoned(count * 101);
    const View<const bf16> tokens = view(x).sub(first * 640, count * 640);
    simd_operations().run<MatmulArgs>({.x = tokens, .weight = weight.matrix(), .out_f32 = view(out), .tokens = count});
    return out;
  };
  for (const auto& [all, first_part] : {std::pair{11, 5}, std::pair{16, 7}}) {
    const auto whole = run(0, all);
    for (const auto& [first, count] : {std::pair{0, first_part}, std::pair{first_part, all - first_part}}) {
      const auto part = run(first, count);
      EXPECT_EQ(std::memcmp(part.data(), &whole[first * 101], part.size() * 4), 0) << first << " of " << all;
    }
  }
}

}  // namespace
}  // namespace krasis::test

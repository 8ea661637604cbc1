#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/packing/pack.h"

/// GB/s of weights read (decode) and GFLOP/s (prefill) of the scalar and the SIMD operations, on all threads. The
/// ceilings for comparison: `read` is the memory's speed when one sums the same bytes.
namespace krasis {
namespace {

const HostOperations& set(std::int64_t simd) {
  return simd ? simd_operations() : scalar_operations();
}
std::string label(std::int64_t simd) {
  return simd ? "SIMD " + std::string(simd_level()) : "scalar";
}

std::vector<float> random_floats(std::int64_t n) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}

std::vector<bf16> random_bf16s(std::int64_t n) {
  std::vector<bf16> values;
  for (const float v : random_floats(n)) values.push_back(bf16(v));
  return values;
}

void set_counters(benchmark::State& state, double bytes, double operations) {
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] = benchmark::Counter(operations * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

/// Arguments: simd, element, tokens, rows, columns.
void matmul(benchmark::State& state) {
  const auto element = static_cast<Element>(state.range(1));
  const std::int64_t tokens = state.range(2);
  const std::int64_t rows = state.range(3);
  const std::int64_t columns = state.range(4);
  const MatrixLayout layout{fit_format(element, 128, columns), rows, columns};
  std::vector<std::byte> weight(layout.bytes());
  pack_rows(random_floats(rows * columns), layout, weight.data());
  const auto x = random_bf16s(tokens * columns);
  std::vector<float> out(static_cast<std::size_t>(tokens * rows));
  for (auto _ : state) {
    set(state.range(0))
        .run<MatmulArgs>({.x = View<const bf16>{x.data(), x.size()},
                          .weight = {layout, weight.data()},
                          .out_f32 = {out.data(), out.size()},
                          .tokens = tokens});
    benchmark::ClobberMemory();
  }
  state.SetLabel(label(state.range(0)) + " " + std::string(name_of(element)));
  set_counters(state, static_cast<double>(layout.bytes()), 2.0 * static_cast<double>(tokens * rows * columns));
}
constexpr auto kInt4 = static_cast<std::int64_t>(Element::Int4);
constexpr auto kInt8 = static_cast<std::int64_t>(Element::Int8);
constexpr auto kBf16 = static_cast<std::int64_t>(Element::Bf16);
BENCHMARK(matmul)
    ->ArgNames({"simd", "element", "tokens", "rows", "columns"})
    ->ArgsProduct({{0, 1}, {kInt4, kInt8, kBf16}, {1}, {16384}, {4096}})
    ->ArgsProduct({{0, 1}, {kInt4, kInt8, kBf16}, {512}, {256}, {256}})
    ->ArgsProduct({{1}, {kInt4, kInt8, kBf16}, {512}, {2048}, {2048}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// 64 experts, 8 of them for each token. Arguments: simd, element, tokens, hidden, width.
void experts(benchmark::State& state) {
  constexpr std::int64_t kExperts = 64;
  constexpr int kTopK = 8;
  const auto element = static_cast<Element>(state.range(1));
  const std::int64_t tokens = state.range(2);
  const ExpertLayout layout = expert_layout(element, 128, state.range(3), state.range(4));
  std::vector<std::byte> pool(kExperts * layout.bytes());
  std::vector<std::int64_t> offsets;
  const auto values = random_floats(layout.hidden() * layout.width());
  for (std::int64_t e = 0; e < kExperts; ++e) {
    std::byte* block = pool.data() + offsets.emplace_back(e * static_cast<std::int64_t>(layout.bytes()));
    pack_rows(values, layout.gate, block + layout.gate_offset());
    pack_rows(values, layout.up, block + layout.up_offset());
    pack_rows(values, layout.down, block + layout.down_offset());
  }
  std::vector<std::int32_t> ids;
  for (int i = 0; i < tokens * kTopK; ++i) ids.push_back(static_cast<std::int32_t>(i * 7 % kExperts));
  const std::vector<float> weights(ids.size(), 0.125f);
  const auto x = random_bf16s(tokens * layout.hidden());
  std::vector<float> out(x.size());
  std::vector<std::byte> workspace(experts_workspace_bytes(tokens, kTopK, layout));
  for (auto _ : state) {
    set(state.range(0))
        .run<ExpertsArgs>({{x.data(), x.size()},
                           {ids.data(), ids.size()},
                           {weights.data(), weights.size()},
                           {pool.data(), pool.size()},
                           {offsets.data(), offsets.size()},
                           layout,
                           kTopK,
                           {out.data(), out.size()},
                           {workspace.data(), workspace.size()}});
    benchmark::ClobberMemory();
  }
  state.SetLabel(label(state.range(0)) + " " + std::string(name_of(element)));
  const std::int64_t used = std::min<std::int64_t>(kExperts, tokens * kTopK);
  set_counters(state, static_cast<double>(used) * static_cast<double>(layout.bytes()),
               6.0 * static_cast<double>(tokens * kTopK * layout.hidden() * layout.width()));
}
BENCHMARK(experts)
    ->ArgNames({"simd", "element", "tokens", "hidden", "width"})
    ->ArgsProduct({{0, 1}, {kInt4, kInt8}, {1, 64}, {256}, {128}})
    ->ArgsProduct({{1}, {kInt4, kInt8}, {1, 512}, {2048}, {768}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// What the memory gives to one thread that only reads.
void read(benchmark::State& state) {
  const std::vector<std::uint64_t> data(std::size_t{1} << 24, 1);
  for (auto _ : state) benchmark::DoNotOptimize(std::accumulate(data.begin(), data.end(), std::uint64_t{0}));
  set_counters(state, static_cast<double>(data.size()) * 8, 0);
}
BENCHMARK(read)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace krasis

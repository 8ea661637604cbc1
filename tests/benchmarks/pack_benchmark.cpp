#include <benchmark/benchmark.h>
#include <tbb/global_control.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/weights/packed_model.h"
#include "kernels/host/operations/packing/pack.h"

/// Packing by one thread: GB/s of the input as it lies (BF16: 2 bytes a weight, float: 4). `read` is what the memory
/// gives the same thread when it only sums the same input.
namespace krasis {
namespace {

constexpr std::int64_t kRows = 8192;  // 8192 x 4096 BF16 are 64 MiB: more than the caches hold
constexpr std::int64_t kColumns = 4096;

template <class T>
const std::vector<T>& weights() {
  static const std::vector<T> values = [] {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    std::vector<T> drawn(static_cast<std::size_t>(kRows * kColumns));
    for (T& value : drawn) value = T(normal(engine));
    return drawn;
  }();
  return values;
}

template <class T>
void set_speed(benchmark::State& state) {
  const double bytes = static_cast<double>(kRows * kColumns * static_cast<std::int64_t>(sizeof(T)));
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

/// Arguments: element, group size, simd.
template <class T>
void pack(benchmark::State& state) {
  const auto element = static_cast<Element>(state.range(0));
  const PackCode code = state.range(2) != 0 ? PackCode::Fastest : PackCode::Scalar;
  const MatrixLayout layout{{element, static_cast<int>(state.range(1))}, kRows, kColumns};
  const std::span<const T> values(weights<T>());
  std::vector<std::byte> packed(layout.bytes());
  for (auto _ : state) {
    pack_rows(values, layout, packed.data(), code);
    benchmark::ClobberMemory();
  }
  state.SetLabel(std::string(name_of(element)));
  set_speed<T>(state);
}
constexpr auto kInt4 = static_cast<std::int64_t>(Element::Int4);
constexpr auto kInt8 = static_cast<std::int64_t>(Element::Int8);
constexpr auto kMxfp4 = static_cast<std::int64_t>(Element::Mxfp4);
void formats(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"element", "group", "simd"})
      ->ArgsProduct({{kInt4, kInt8}, {32, 64, 128}, {1}})
      ->ArgsProduct({{kInt4, kInt8}, {128}, {0}})
      ->ArgsProduct({{kMxfp4}, {32}, {0, 1}})
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK(pack<bf16>)->Apply(formats);
BENCHMARK(pack<float>)->Apply(formats);

template <class T>
void read(benchmark::State& state) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(weights<T>().data());
  const std::size_t count = weights<T>().size() * sizeof(T) / 8;
  for (auto _ : state) benchmark::DoNotOptimize(std::accumulate(words, words + count, std::uint64_t{0}));
  set_speed<T>(state);
}
BENCHMARK(read<bf16>)->Unit(benchmark::kMillisecond);
BENCHMARK(read<float>)->Unit(benchmark::kMillisecond);

/// Memory for weights, from the mapping to the last page: GB/s of pages that exist. Argument: threads, 0 = all.
void host_region(benchmark::State& state) {
  constexpr std::size_t kBytes = std::size_t{2} << 30;
  const auto threads = state.range(0) > 0
                           ? static_cast<std::size_t>(state.range(0))
                           : tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
  HostPages pages;
  for (auto _ : state) {
    const auto region = HostRegion::allocate("weights", kBytes);
    if (!region) return state.SkipWithError(region.error().cause.c_str());
    state.PauseTiming();
    pages = region->pages();
    state.ResumeTiming();
  }
  state.SetLabel(pages.explicit_huge > 0 ? "explicit" : pages.transparent_huge > kBytes / 2 ? "transparent" : "small");
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(kBytes) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(host_region)->ArgName("threads")->Arg(1)->Arg(0)->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(4);

}  // namespace
}  // namespace krasis

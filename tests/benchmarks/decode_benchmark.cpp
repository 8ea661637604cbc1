// What decode does on the CPU, against the memory's speed: products with one token, and the experts of a layer at the
// shapes of real models. `share` is GB/s over what the same threads read from the same memory right before or after.
//
//   krasis_decode_benchmark --benchmark_filter=experts    KRASIS_THREADS=16 chooses the number of threads.
//   level: 0 AVX2, 1 AVX-512, 2 AMX; those that the CPU has not are not run
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/host/operations/operations.h"
#include "kernels/host/operations/packing/pack.h"
#include "kernels/host/operations/threads/read_bandwidth.h"
#include "kernels/host/operations/threads/thread_team.h"

namespace krasis {
namespace {

int thread_count() {
  const char* text = std::getenv("KRASIS_THREADS");
  return text ? std::atoi(text) : 0;
}
ThreadTeam& team() {
  static ThreadTeam instance(thread_count());
  return instance;
}

/// Memory in huge pages if the system gives them, each page first touched by the team.
class Pages {
 public:
  explicit Pages(std::size_t bytes) : bytes_(round_up(bytes, std::size_t{2} << 20)) {
    void* data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) std::abort();
    madvise(data, bytes_, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(data);
  }
  ~Pages() { munmap(data_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::byte* data_ = nullptr;
};

/// Copies of `block`, one after another, over all of `pages`.
void fill(const Pages& pages, const std::vector<std::byte>& block) {
  const auto count = static_cast<std::int64_t>((pages.bytes() + block.size() - 1) / block.size());
  team().run(count, [&](std::int64_t i) {
    const std::size_t at = static_cast<std::size_t>(i) * block.size();
    std::copy_n(block.data(), std::min(block.size(), pages.bytes() - at), pages.data() + at);
  });
}

std::vector<float> random_floats(std::int64_t n, float deviation = 1.0f) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}
std::vector<bf16> random_bf16s(std::int64_t n) {
  std::vector<bf16> values;
  for (const float v : random_floats(n)) values.push_back(bf16(v));
  return values;
}
std::vector<std::byte> random_matrix(const MatrixLayout& layout) {
  std::vector<std::byte> bytes(layout.bytes());
  pack_rows(random_floats(layout.rows * layout.columns, 0.02f), layout, bytes.data());
  return bytes;
}

/// The best of some passes over at most 4 GiB of `pages`: GB/s that this many threads read.
double read_bandwidth(const Pages& pages) {
  const std::size_t bytes = std::min(pages.bytes(), std::size_t{4} << 30);
  return read_gb_per_s(team(), {reinterpret_cast<const std::uint64_t*>(pages.data()), bytes / 8}, 4);
}

/// GB/s, beside the better of what was read right before (`ceiling`) and right after: a shared memory's speed changes.
void report(benchmark::State& state, const Pages& pages, double ceiling, double bytes, double seconds) {
  const double rate = bytes * 1e-9 / seconds;
  ceiling = std::max(ceiling, read_bandwidth(pages));
  state.counters["GB/s"] = rate;
  state.counters["read_GB/s"] = ceiling;
  state.counters["share_%"] = 100 * rate / ceiling;
}

/// KRASIS_LAYERS: fewer layers than the shapes have, to save memory and time; 0 = all.
int layer_count(int layers) {
  const char* text = std::getenv("KRASIS_LAYERS");
  return text && std::atoi(text) > 0 ? std::min(layers, std::atoi(text)) : layers;
}

/// Seconds of each iteration, measured around `body`; the median is what counts.
template <class Body>
double median_seconds(benchmark::State& state, const Body& body) {
  std::vector<double> seconds;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    state.SetIterationTime(seconds.back());
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  return seconds[seconds.size() / 2];
}

constexpr std::int64_t kAvx2 = 0, kAvx512 = 1, kAmx = 2;
SimdLevel level_of(std::int64_t level) {
  return level == kAvx2 ? SimdLevel::Avx2 : level == kAvx512 ? SimdLevel::Avx512 : SimdLevel::Amx;
}

/// Registers a benchmark, whose first argument is the level, for those levels that this CPU has.
class Cases {
 public:
  Cases(const char* name, void (*run)(benchmark::State&), std::vector<std::string> arguments)
      : name_(name), run_(run), arguments_(std::move(arguments)) {}
  Cases& add(std::vector<std::vector<std::int64_t>> values) {
    std::erase_if(values.front(), [](std::int64_t level) { return !has_simd(level_of(level)); });
    if (values.front().empty()) return *this;
    if (!benchmark_) {
      benchmark_ = benchmark::RegisterBenchmark(name_, run_);
      benchmark_->ArgNames(arguments_)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(12);
    }
    benchmark_->ArgsProduct(values);
    return *this;
  }

 private:
  const char* name_;
  void (*run_)(benchmark::State&);
  std::vector<std::string> arguments_;
  benchmark::internal::Benchmark* benchmark_ = nullptr;
};

/// What handing out and joining a section costs. Argument: 0 = the team, 1 = oneTBB.
void dispatch(benchmark::State& state) {
  const bool tbb_arena = state.range(0) == 1;
  tbb::task_arena arena(team().size());
  std::vector<std::uint64_t> touched(64 * 64);
  const auto body = [&](std::int64_t i) { ++touched[static_cast<std::size_t>(i) * 64]; };
  const double seconds = median_seconds(state, [&] {
    for (int n = 0; n < 100; ++n) {
      if (tbb_arena) {
        arena.execute([&] { tbb::parallel_for<std::int64_t>(0, 64, body, tbb::simple_partitioner()); });
      } else {
        team().run(64, body);
      }
    }
  });
  state.counters["us"] = seconds * 1e4;
  state.SetLabel(tbb_arena ? "oneTBB" : "team");
}
BENCHMARK(dispatch)->Arg(0)->Arg(1)->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);

/// One token times a matrix of 2 GiB. Arguments: level, element.
void matrix_vector(benchmark::State& state) {
  const auto element = static_cast<Element>(state.range(1));
  constexpr std::int64_t kColumns = 4096;
  MatrixLayout layout{fit_format(element, 128, kColumns), 1, kColumns};
  layout.rows = (std::int64_t{2} << 30) / static_cast<std::int64_t>(layout.row_bytes());
  const Pages pages(layout.bytes());
  const std::vector<std::byte> some = random_matrix({layout.format, 512, kColumns});
  fill(pages,
       std::vector<std::byte>(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(512 * layout.row_bytes())));
  std::fill_n(reinterpret_cast<bf16*>(pages.data() + layout.scales_offset()), layout.rows * layout.groups_per_row(),
              bf16(0.01f));
  const auto x = random_bf16s(kColumns);
  std::vector<float> out(static_cast<std::size_t>(layout.rows));
  const HostOperations& op = simd_operations(level_of(state.range(0)));
  const ThreadTeam::Scope scope(&team());
  const double ceiling = read_bandwidth(pages);
  const double seconds = median_seconds(state, [&] {
    op.run<MatmulArgs>({.x = {x.data(), x.size()},
                        .weight = {layout, pages.data()},
                        .out_f32 = {out.data(), out.size()},
                        .tokens = 1});
  });
  state.SetLabel(std::string(name_of(element)));
  report(state, pages, ceiling, static_cast<double>(layout.bytes()), seconds);
}
const Cases matrix_vector_cases =
    Cases("matrix_vector", matrix_vector, {"level", "element"})
        .add({{kAvx2, kAvx512},
              {static_cast<long>(Element::Int4), static_cast<long>(Element::Int8), static_cast<long>(Element::Bf16)}});

/// The products of attention with one token, INT8, at the shape of Qwen3-30B-A3B (hidden 2048, 32 and 4 heads of 128),
/// layer after layer over 2 GiB: what short sections cost beside one long one. Arguments: level, whether q, k and v are
/// one section.
void attention_products(benchmark::State& state) {
  constexpr std::int64_t kHidden = 2048, kQ = 32 * 128, kKv = 4 * 128;
  const WeightFormat format = fit_format(Element::Int8, 128, kHidden);
  const MatrixLayout layouts[] = {
      {format, kQ, kHidden}, {format, kKv, kHidden}, {format, kKv, kHidden}, {format, kHidden, kQ}};
  std::vector<std::byte> block;
  for (const MatrixLayout& layout : layouts) {
    const auto bytes = random_matrix(layout);
    block.insert(block.end(), bytes.begin(), bytes.end());
  }
  const auto layers = (std::size_t{2} << 30) / block.size();
  const Pages pages(layers * block.size());
  fill(pages, block);
  const auto x = random_bf16s(kHidden), attended = random_bf16s(kQ);
  std::vector<bf16> q(kQ), k(kKv), v(kKv);
  std::vector<float> residual(kHidden);
  const HostOperations& op = simd_operations(level_of(state.range(0)));
  const ThreadTeam::Scope scope(&team());
  const double ceiling = read_bandwidth(pages);
  const double seconds = median_seconds(state, [&] {
    for (std::size_t l = 0; l < layers; ++l) {
      const std::byte* at = pages.data() + l * block.size();
      const auto next = [&](const MatrixLayout& layout) {
        at += layout.bytes();
        return Matrix{layout, at - layout.bytes()};
      };
      const MatmulsArgs projections{
          {{{.x = {x.data(), x.size()}, .weight = next(layouts[0]), .out_bf16 = {q.data(), q.size()}, .tokens = 1},
            {.x = {x.data(), x.size()}, .weight = next(layouts[1]), .out_bf16 = {k.data(), k.size()}, .tokens = 1},
            {.x = {x.data(), x.size()}, .weight = next(layouts[2]), .out_bf16 = {v.data(), v.size()}, .tokens = 1}}},
          3};
      if (state.range(1) == 1) {
        op.run(projections);
      } else {
        for (const MatmulArgs& projection : projections.all()) op.run<MatmulArgs>(projection);
      }
      op.run<MatmulArgs>({.x = {attended.data(), attended.size()},
                          .weight = next(layouts[3]),
                          .accumulate = {residual.data(), residual.size()},
                          .tokens = 1});
    }
  });
  state.counters["us/layer"] = seconds * 1e6 / static_cast<double>(layers);
  report(state, pages, ceiling, static_cast<double>(layers * block.size()), seconds);
}
const Cases attention_products_cases =
    Cases("attention_products", attention_products, {"level", "fused"}).add({{kAvx2, kAvx512}, {0, 1}});

struct Shape {
  const char* name;
  int layers, hidden, experts, top_k, width;
};
constexpr Shape kShapes[] = {{"A Qwen3-30B-A3B", 48, 2048, 128, 8, 768},
                             {"B Qwen3-235B-A22B", 24, 4096, 128, 8, 1536},
                             {"C 512 small experts", 48, 2048, 512, 10, 512},
                             // 28 and 26 MB, which the caches of 16 cores hold:
                             {"12 experts of A", 1, 2048, 12, 8, 768},
                             {"16 experts of C", 1, 2048, 16, 10, 512}};

/// The experts of all layers, INT4, picks uniform. Arguments: level, shape, tokens.
void experts(benchmark::State& state) {
  const Shape& shape = kShapes[state.range(1)];
  const auto tokens = static_cast<std::size_t>(state.range(2));
  const int layers = layer_count(shape.layers);
  const ExpertLayout layout = expert_layout(Element::Int4, 128, shape.hidden, shape.width);
  std::vector<std::byte> block;
  for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
    const auto bytes = random_matrix(m);
    block.insert(block.end(), bytes.begin(), bytes.end());
  }
  const auto count = static_cast<std::size_t>(shape.experts);
  const std::size_t layer_bytes = count * layout.bytes();
  static std::unique_ptr<Pages> pages;  // kept for the next benchmark of the same shape
  static std::int64_t kept = -1;
  if (kept != state.range(1)) {
    pages.reset();
    pages = std::make_unique<Pages>(static_cast<std::size_t>(layers) * layer_bytes);
    fill(*pages, block);
    kept = state.range(1);
  }
  std::vector<std::int64_t> offsets(count);
  for (std::size_t e = 0; e < count; ++e) offsets[e] = static_cast<std::int64_t>(e * layout.bytes());
  const auto top_k = static_cast<std::size_t>(shape.top_k);
  std::vector<std::int32_t> ids(tokens * top_k), all(count);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> weights(ids.size(), 1.0f / static_cast<float>(shape.top_k));
  const auto x = random_bf16s(static_cast<std::int64_t>(tokens) * shape.hidden);
  std::vector<float> out(x.size());
  std::vector<std::byte> workspace(experts_workspace_bytes(static_cast<std::int64_t>(tokens), shape.top_k, layout));
  const HostOperations& op = simd_operations(level_of(state.range(0)));
  const ThreadTeam::Scope scope(&team());
  std::mt19937 engine(7);
  double bytes = 0, passes = 0;
  const double ceiling = read_bandwidth(*pages);
  const double seconds = median_seconds(state, [&] {
    for (int l = 0; l < layers; ++l) {
      std::vector<bool> used(count);
      for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < top_k; ++j) std::swap(all[j], all[j + engine() % (count - j)]);
        std::copy_n(all.begin(), top_k, ids.begin() + static_cast<std::ptrdiff_t>(t * top_k));
        for (std::size_t j = 0; j < top_k; ++j) used[static_cast<std::size_t>(all[j])] = true;
      }
      bytes += static_cast<double>(std::count(used.begin(), used.end(), true)) * static_cast<double>(layout.bytes());
      op.run<ExpertsArgs>({{x.data(), x.size()},
                           {ids.data(), ids.size()},
                           {weights.data(), weights.size()},
                           {pages->data() + static_cast<std::size_t>(l) * layer_bytes, layer_bytes},
                           {offsets.data(), offsets.size()},
                           layout,
                           shape.top_k,
                           {out.data(), out.size()},
                           {workspace.data(), workspace.size()}});
    }
    ++passes;
  });
  state.SetLabel(shape.name);
  state.counters["us/layer"] = seconds * 1e6 / layers;
  report(state, *pages, ceiling, bytes / passes, seconds);
}
const Cases experts_cases = Cases("experts", experts, {"level", "shape", "tokens"})
                                .add({{kAvx2, kAvx512, kAmx}, {0}, {1, 2, 4, 8, 16, 64}})
                                .add({{kAvx2, kAvx512, kAmx}, {1}, {1, 4, 16, 64}})
                                .add({{kAvx2, kAvx512, kAmx}, {2}, {1, 4, 16, 64}})
                                // As many tokens of an expert as 64 tokens give it: what arithmetic alone takes.
                                .add({{kAmx}, {3}, {6}})
                                .add({{kAmx}, {4}, {2}});

/// Attention of one token at the shape of Qwen3-30B-A3B (32 heads, 4 of the cache, of 128), in as many caches as fill
/// 1 GiB. Arguments: level, element of the cache (0 BF16, 1 FP8), context.
void attention(benchmark::State& state) {
  constexpr int kHeads = 32, kKvHeads = 4, kDim = 128;
  const bool fp8 = state.range(1) == 1;
  const auto context = static_cast<std::int32_t>(state.range(2));
  const HostOperations& op = simd_operations(level_of(state.range(0)));
  const KvLayout kv_layout = op.kv_layout(kHeads, kKvHeads, kDim);
  const std::size_t numbers = static_cast<std::size_t>(kv_capacity(context)) * kKvHeads * kDim;
  const std::size_t plane = numbers * (fp8 ? 1 : 2), scales = fp8 ? numbers / kDim * sizeof(float) : 0;
  const std::size_t layer = 2 * (plane + scales);
  const std::size_t layers = std::max<std::size_t>(1, (std::size_t{1} << 30) / layer);
  const Pages pages(layers * layer);
  std::vector<std::byte> block(layer);
  std::mt19937 engine(3);
  for (std::size_t i = 0; i < 2 * plane; ++i) block[i] = static_cast<std::byte>(engine() % 0x40);  // small numbers
  std::fill_n(reinterpret_cast<float*>(block.data() + 2 * plane), 2 * scales / sizeof(float), 0.01f);
  fill(pages, block);
  const auto q = random_bf16s(kHeads * kDim);
  std::vector<bf16> out(q.size());
  const std::int32_t position = context - 1;
  const SequenceSpan span{0, 1, 0};
  const ThreadTeam::Scope scope(&team());
  const double ceiling = read_bandwidth(pages);
  const double seconds = median_seconds(state, [&] {
    for (std::size_t l = 0; l < layers; ++l) {
      std::byte* at = pages.data() + l * layer;
      const auto scales_at = [&](std::size_t p) {
        return View<float>{reinterpret_cast<float*>(at + 2 * plane + p * scales), scales / sizeof(float)};
      };
      const KvCache cache{fp8 ? KvElement::Fp8 : KvElement::Bf16, context,  kKvHeads, kDim,
                          {{at, plane}, scales_at(0)},            {{at + plane, plane}, scales_at(1)},
                          kv_layout};
      op.run<AttentionArgs>({.q = {q.data(), q.size()},
                             .cache = cache,
                             .batch = {1, {&position, 1}, {&span, 1}},
                             .out = {out.data(), out.size()},
                             .heads = kHeads,
                             .scale = 0.09f,
                             .workspace = {}});
    }
  });
  state.SetLabel(fp8 ? "FP8" : "BF16");
  state.counters["us/layer"] = seconds * 1e6 / static_cast<double>(layers);
  report(state, pages, ceiling, static_cast<double>(layers * layer), seconds);
}
const Cases attention_cases = Cases("attention", attention, {"level", "fp8", "context"})
                                  .add({{kAvx2, kAmx}, {0, 1}, {128, 1024, 4096, 32768}});

/// What one thread does between the products of a layer, in us of each part: one token of shape A.
void serial_parts(benchmark::State& state) {
  constexpr int kHidden = 2048, kHeads = 32, kKvHeads = 4, kDim = 128, kExperts = 128, kTopK = 8, kRows = 512;
  const HostOperations& op = simd_operations();
  const std::vector<float> residual = random_floats(kHidden), logits = random_floats(kExperts);
  const std::vector<float> frequency(kDim / 2, 0.01f);
  const std::vector<bf16> norm(kHidden, bf16(1.0f));  // in-place operations are repeated: numbers must not vanish
  auto normed = random_bf16s(kHidden), q = random_bf16s(kHeads * kDim), k = random_bf16s(kKvHeads * kDim);
  const auto v = k;
  std::vector<std::byte> keys(kRows * kKvHeads * kDim), values(keys.size());
  std::vector<float> key_scales(kRows * kKvHeads), value_scales(key_scales.size()), weights(kTopK);
  const KvCache cache{KvElement::Fp8, kRows, kKvHeads, kDim,
                      {{keys.data(), keys.size()}, {key_scales.data(), key_scales.size()}},
                      {{values.data(), values.size()}, {value_scales.data(), value_scales.size()}},
                      op.kv_layout(kHeads, kKvHeads, kDim)};
  std::vector<std::int32_t> ids(kTopK);
  std::int32_t position = 300;
  const SequenceSpan span{0, 1, 0};
  const Batch batch{1, {&position, 1}, {&span, 1}};
  const auto time = [&](const char* name, const auto& body) {
    const auto begin = std::chrono::steady_clock::now();
    for (int n = 0; n < 200; ++n) body();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    state.counters[name] = seconds * 1e6 / 200;
  };
  for (auto _ : state) {
    time("rms_norm", [&] {
      op.run<RmsNormArgs>(
          {{residual.data(), kHidden}, {norm.data(), kHidden}, {normed.data(), kHidden}, kHidden, 1e-6f});
    });
    time("head_norm", [&] { op.run<HeadNormArgs>({{q.data(), q.size()}, {norm.data(), kDim}, kDim, 1e-6f}); });
    time("rotary", [&] {
      op.run<RotaryArgs>({{q.data(), q.size()}, {frequency.data(), frequency.size()}, batch, kHeads, kDim});
    });
    time("kv_append", [&] { op.run<KvAppendArgs>({{k.data(), k.size()}, {v.data(), v.size()}, cache, batch}); });
    time("router", [&] {
      op.run<RouterArgs>(
          {{logits.data(), kExperts}, {ids.data(), kTopK}, {weights.data(), kTopK}, kExperts, kTopK, true});
    });
  }
}
BENCHMARK(serial_parts)->Iterations(3);

/// Some tokens times a matrix of 512 MiB: from how many on arithmetic binds, and which set is faster. Arguments: level,
/// element, tokens.
void matrix_tokens(benchmark::State& state) {
  const auto element = static_cast<Element>(state.range(1));
  const auto tokens = static_cast<int>(state.range(2));
  constexpr std::int64_t kColumns = 4096;
  MatrixLayout layout{fit_format(element, 128, kColumns), 1, kColumns};
  layout.rows = (std::int64_t{512} << 20) / static_cast<std::int64_t>(layout.row_bytes());
  const Pages pages(layout.bytes());
  const std::vector<std::byte> some = random_matrix({layout.format, 64, kColumns});
  fill(pages,
       std::vector<std::byte>(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(64 * layout.row_bytes())));
  std::fill_n(reinterpret_cast<bf16*>(pages.data() + layout.scales_offset()), layout.rows * layout.groups_per_row(),
              bf16(0.01f));
  const auto x = random_bf16s(tokens * kColumns);
  std::vector<float> out(static_cast<std::size_t>(tokens * layout.rows));
  const HostOperations& op = simd_operations(level_of(state.range(0)));
  const ThreadTeam::Scope scope(&team());
  const double ceiling = read_bandwidth(pages);
  const double seconds = median_seconds(state, [&] {
    op.run<MatmulArgs>({.x = {x.data(), x.size()},
                        .weight = {layout, pages.data()},
                        .out_f32 = {out.data(), out.size()},
                        .tokens = tokens});
  });
  state.SetLabel(std::string(name_of(element)));
  report(state, pages, ceiling, static_cast<double>(layout.bytes()), seconds);
}
const Cases matrix_tokens_cases =
    Cases("matrix_tokens", matrix_tokens, {"level", "element", "tokens"})
        .add({{kAvx2, kAvx512, kAmx}, {static_cast<long>(Element::Int4)}, {1, 2, 4, 5, 6, 8, 12, 16, 32}});

}  // namespace
}  // namespace krasis

BENCHMARK_MAIN();

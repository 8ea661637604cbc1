/// Time of a decode step of one token with all weights on the GPU: one graph of 48 layers, head and sampling, at full
/// size with random weights, so that nothing but what a step uses again is in the L2 cache. Not a test; run it by hand.
/// Each time is the median of replays.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/operations/operations.h"
#include "tests/benchmarks/cuda_benchmark.cuh"

namespace {

using namespace krasis;
using namespace krasis::benchmark;

/// All device memory of the program; it ends with it.
std::byte* allocate(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, std::max<std::size_t>(bytes, 256)), "cudaMalloc");
  return static_cast<std::byte*>(data);
}
unsigned next_seed = 1;
template <class T>
View<T> numbers(std::size_t count, float low, float high, bool both = true) {
  using D = std::conditional_t<std::is_same_v<T, bf16>, __nv_bfloat16, float>;
  auto* data = reinterpret_cast<D*>(allocate(count * sizeof(D)));
  fill_numbers<<<1024, 256>>>(data, count, low, high, both, next_seed++);
  return {reinterpret_cast<T*>(data), count};
}
template <class T>
View<T> uploaded(const std::vector<T>& values) {
  std::byte* data = allocate(values.size() * sizeof(T));
  check(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "upload");
  return {reinterpret_cast<T*>(data), values.size()};
}
template <class T>
View<T> room(std::size_t count) {
  return {reinterpret_cast<T*>(allocate(count * sizeof(T))), count};
}
Matrix matrix(Element element, int group, std::int64_t rows, std::int64_t columns) {
  const MatrixLayout layout{fit_format(element, group, columns), rows, columns};
  std::byte* data = allocate(layout.bytes());
  randomize(data, layout, next_seed += 2);
  return {layout, data};
}

cuda::Launch launch;
int compute_major = 0;

double time_of(const std::function<void()>& step) {
  return benchmark::time_of(launch.stream, 15, step);
}

struct Shape {
  const char* name;
  int layers;
  std::int64_t hidden;
  int heads, kv_heads, head_dim, experts, top_k;
  std::int64_t width, vocabulary;
};

struct Layer {
  AttentionBlock attention;
  RouterBlock router;
  ExpertsArgs experts;
};

class Model {
 public:
  Model(const Shape& s, int context) : s_(s) {
    const auto hidden = static_cast<std::size_t>(s.hidden);
    const auto q_width = static_cast<std::size_t>(s.heads * s.head_dim);
    const auto kv_width = static_cast<std::size_t>(s.kv_heads * s.head_dim);
    const View<float> residual = numbers<float>(hidden, 0.0f, 1.0f);
    const View<bf16> normed = room<bf16>(hidden);
    const View<bf16> q = room<bf16>(q_width), k = room<bf16>(kv_width), v = room<bf16>(kv_width);
    const View<bf16> attended = room<bf16>(q_width);
    const View<std::byte> workspace = room<std::byte>(attention_workspace_bytes(1, s.heads, s.head_dim));
    const Batch batch{1, uploaded(std::vector<std::int32_t>{context - 1}),
                      uploaded(std::vector<SequenceSpan>{{0, 1, 0}})};
    const View<float> frequency = numbers<float>(static_cast<std::size_t>(s.head_dim / 2), 0.0f, 1.0f, false);
    const View<float> logits = room<float>(static_cast<std::size_t>(s.experts));
    const View<std::int32_t> ids = room<std::int32_t>(static_cast<std::size_t>(s.top_k));
    const View<float> weights = room<float>(static_cast<std::size_t>(s.top_k));
    const ExpertLayout layout = expert_layout(Element::Int4, 128, s.hidden, s.width);
    const View<std::byte> experts_room = room<std::byte>(experts_workspace_bytes(1, s.top_k, layout));
    std::vector<std::int64_t> offsets;
    for (int e = 0; e < s.experts; ++e) offsets.push_back(static_cast<std::int64_t>(layout.bytes()) * e);
    for (int l = 0; l < s.layers; ++l) {
      Layer layer;
      KvCache cache{KvElement::Fp8, context, s.kv_heads, s.head_dim, {}, {}};
      for (KvPlane* plane : {&cache.keys, &cache.values}) {
        const std::size_t count = static_cast<std::size_t>(context) * kv_width;
        const View<bf16> bytes = numbers<bf16>(count / 2, 0.5f, 1.0f);  // as bytes: some E4M3 numbers
        plane->values = {reinterpret_cast<std::byte*>(bytes.data), count};
        plane->scales = numbers<float>(static_cast<std::size_t>(context * s.kv_heads), 0.005f, 0.01f, false);
      }
      layer.attention = {.residual = residual,
                         .batch = batch,
                         .cache = cache,
                         .input_norm = numbers<bf16>(hidden, 0.5f, 1.0f),
                         .q_proj = matrix(Element::Int8, 128, s.heads * s.head_dim, s.hidden),
                         .k_proj = matrix(Element::Int8, 128, s.kv_heads * s.head_dim, s.hidden),
                         .v_proj = matrix(Element::Int8, 128, s.kv_heads * s.head_dim, s.hidden),
                         .o_proj = matrix(Element::Int8, 128, s.hidden, s.heads * s.head_dim),
                         .q_norm = numbers<bf16>(static_cast<std::size_t>(s.head_dim), 0.5f, 1.0f),
                         .k_norm = numbers<bf16>(static_cast<std::size_t>(s.head_dim), 0.5f, 1.0f),
                         .inverse_frequency = frequency,
                         .heads = s.heads,
                         .normed = normed,
                         .q = q,
                         .k = k,
                         .v = v,
                         .attended = attended,
                         .attention_workspace = workspace};
      layer.router = {.residual = residual,
                      .norm = numbers<bf16>(hidden, 0.5f, 1.0f),
                      .router = matrix(Element::Bf16, 0, s.experts, s.hidden),
                      .top_k = s.top_k,
                      .tokens = 1,
                      .normed = normed,
                      .logits = logits,
                      .ids = ids,
                      .weights = weights};
      const View<std::byte> pool = room<std::byte>(layout.bytes() * static_cast<std::size_t>(s.experts));
      fill_bytes<<<1024, 256>>>(reinterpret_cast<unsigned*>(pool.data), pool.size / 4, next_seed++);
      for (const std::int64_t at : offsets) {
        std::byte* data = pool.data + at;
        for (const MatrixLayout& m : {layout.gate, layout.up, layout.down}) {
          fill_numbers<<<16, 256>>>(reinterpret_cast<__nv_bfloat16*>(data + m.scales_offset()),
                                    (m.bytes() - m.scales_offset()) / 2, 0.005f, 0.01f, false, next_seed++);
          data += m.bytes();
        }
      }
      layer.experts = {normed, ids, weights, pool, uploaded(offsets), layout, s.top_k, residual, experts_room};
      layers_.push_back(layer);
      for (const Matrix* m :
           {&layer.attention.q_proj, &layer.attention.k_proj, &layer.attention.v_proj, &layer.attention.o_proj}) {
        attention_bytes_ += static_cast<double>(m->layout.bytes());
      }
      router_bytes_ += static_cast<double>(layer.router.router.layout.bytes());
      expert_bytes_ += static_cast<double>(layout.bytes()) * s.top_k;
    }
    head_ = {.residual = residual,
             .norm = numbers<bf16>(hidden, 0.5f, 1.0f),
             .lm_head = matrix(Element::Int8, 128, s.vocabulary, s.hidden),
             .tokens = 1,
             .normed = normed,
             .logits = room<float>(static_cast<std::size_t>(s.vocabulary))};
    sample_ = {head_.logits, uploaded(std::vector<SamplingState>{{}}), room<std::int32_t>(1 << 16),
               room<std::int32_t>(1)};
    check(cudaDeviceSynchronize(), "filling");
  }

  void attention() {
    for (const Layer& layer : layers_) cuda::run(launch, layer.attention);
  }
  void routers() {
    for (const Layer& layer : layers_) cuda::run(launch, layer.router);
  }
  void experts() {
    for (const Layer& layer : layers_) cuda::run(launch, layer.experts);
  }
  void products() {
    for (const Layer& layer : layers_) {
      const AttentionBlock& b = layer.attention;
      cuda::run(launch, MatmulArgs{.x = b.attended, .weight = b.o_proj, .accumulate = b.residual, .tokens = 1});
    }
  }
  void head() { cuda::run(launch, head_); }
  void sample() { cuda::run(launch, sample_); }
  void step() {
    for (const Layer& layer : layers_) {
      cuda::run(launch, layer.attention);
      cuda::run(launch, layer.router);
      cuda::run(launch, layer.experts);
    }
    head();
    sample();
  }

  void measure() {
    const auto print = [&](const char* part, double microseconds, double bytes, int count) {
      std::printf("decode %s, %-28s %9.1f us", s_.name, part, microseconds);
      if (bytes > 0) std::printf("  %6.0f GB/s", bytes / microseconds / 1e3);
      if (count > 1) std::printf("  %6.2f us each", microseconds / count);
      std::printf("\n");
    };
    const auto head_bytes = static_cast<double>(head_.lm_head.layout.bytes());
    const double all = attention_bytes_ + router_bytes_ + expert_bytes_ + head_bytes;
    print("whole token", time_of([&] { step(); }), all, 1);
    print("whole token again", time_of([&] { step(); }), all, 1);
    launch.compute_major = 8;
    print("whole token, no overlap", time_of([&] { step(); }), all, 1);
    print("o_proj, no overlap", time_of([&] { products(); }), 0, s_.layers);
    launch.compute_major = compute_major;
    print("attention blocks", time_of([&] { attention(); }), attention_bytes_, s_.layers);
    print("of these o_proj", time_of([&] { products(); }), 0, s_.layers);
    print("router blocks", time_of([&] { routers(); }), router_bytes_, s_.layers);
    print("experts", time_of([&] { experts(); }), expert_bytes_, s_.layers);
    print("head", time_of([&] { head(); }), head_bytes, 1);
    print("sample, greedy", time_of([&] { sample(); }), 0, 1);
    const struct {
      const char* name;
      SamplingState state;
    } samplings[] = {{"sample, temperature", {.temperature = 0.8f, .seed = 1}},
                     {"sample, min-p 0.05", {.temperature = 0.8f, .min_p = 0.05f, .seed = 1}},
                     {"sample, top-k 40", {.temperature = 0.8f, .top_k = 40, .seed = 1}},
                     {"sample, top-p 0.9", {.temperature = 0.8f, .top_p = 0.9f, .seed = 1}},
                     {"sample, k 40, p 0.9, penalty",
                      {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 1}}};
    for (const auto& sampling : samplings) {
      sample_.state = uploaded(std::vector<SamplingState>{sampling.state});
      print(sampling.name, time_of([&] { sample(); }), 0, 1);
    }
    std::vector<float> logits(8);
    check(cudaMemcpy(logits.data(), head_.logits.data, 32, cudaMemcpyDeviceToHost), "read");
    std::printf("decode %s, first logits %g %g %g\n", s_.name, logits[0], logits[1], logits[2]);
  }

 private:
  Shape s_;
  std::vector<Layer> layers_;
  HeadBlock head_;
  SampleArgs sample_;
  double attention_bytes_ = 0, router_bytes_ = 0, expert_bytes_ = 0;
};

}  // namespace

int main() {
  launch = open_device();
  compute_major = launch.compute_major;
  launch.counters = reinterpret_cast<unsigned*>(allocate(cuda::kCounters * sizeof(unsigned)));
  check(cudaMemset(launch.counters, 0, cuda::kCounters * sizeof(unsigned)), "memset");
  for (const Shape& shape : {Shape{"A", 48, 2048, 32, 4, 128, 128, 8, 768, 151936},
                             Shape{"C", 48, 2048, 16, 2, 256, 512, 10, 512, 151936}}) {
    Model(shape, 128).measure();
  }
  return 0;
}

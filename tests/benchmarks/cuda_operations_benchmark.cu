/// Times of the CUDA operations at the shapes that dominate a run, each beside the ceiling that holds for it: device
/// memory's reads for few tokens, the dense BF16 product for many. Not a test; run it by hand. Weights are random and
/// rotate, so that the L2 cache (50 MB) does not stand in for memory; each time is the median of replays of a graph of
/// many calls. An argument chooses a part: "many", products of many tokens; "copies", from a device to another.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/operations/matmul/cublaslt.h"
#include "kernels/cuda/operations/operations.h"
#include "tests/benchmarks/cuda_benchmark.cuh"

namespace {

using namespace krasis;
using namespace krasis::benchmark;

/// Device memory until the end of the scope.
class Memory {
 public:
  explicit Memory(std::size_t bytes) : bytes_(bytes) {
    check(cudaMalloc(&data_, std::max<std::size_t>(bytes, 256)), "cudaMalloc");
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  template <class T>
  View<T> view() const {
    return {static_cast<T*>(data_), bytes_ / sizeof(T)};
  }
  std::byte* bytes() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};
template <class T>
std::unique_ptr<Memory> uploaded(const std::vector<T>& values) {
  auto memory = std::make_unique<Memory>(values.size() * sizeof(T));
  check(cudaMemcpy(memory->bytes(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "upload");
  return memory;
}

std::unique_ptr<Memory> random_bf16(std::size_t count, float magnitude) {
  auto memory = std::make_unique<Memory>(count * 2);
  fill_numbers<<<1024, 256>>>(reinterpret_cast<__nv_bfloat16*>(memory->bytes()), count, 0.25f * magnitude,
                              1.25f * magnitude, true, 7);
  return memory;
}

cuda::Launch launch;

/// Microseconds of one of `calls` calls.
double time_of(int calls, const std::function<void(int)>& call) {
  return benchmark::time_of(launch.stream, 7,
                            [&] {
                              for (int i = 0; i < calls; ++i) call(i);
                            }) /
         calls;
}

double read_gb_per_second = 1;
double dense_tflops = 1;

void print_memory(const std::string& name, double microseconds, double bytes) {
  const double rate = bytes / microseconds / 1e3;
  std::printf("%-58s %9.1f us %8.0f GB/s   %5.1f %% of reads\n", name.c_str(), microseconds, rate,
              100 * rate / read_gb_per_second);
}
void print_arithmetic(const std::string& name, double microseconds, double operations) {
  const double rate = operations / microseconds / 1e6;
  std::printf("%-58s %9.1f us %8.1f TFLOP/s %5.1f %% of dense\n", name.c_str(), microseconds, rate,
              100 * rate / dense_tflops);
}
void print_time(const std::string& name, double microseconds) {
  std::printf("%-58s %9.1f us\n", name.c_str(), microseconds);
}

__global__ void read_kernel(const uint4* data, std::size_t count, unsigned* out) {
  unsigned sum = 0;
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 v[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = __ldcs(data + i + k * stride);
#pragma unroll
    for (int k = 0; k < 4; ++k) sum += v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
  }
  if (sum == 0x12345678u) *out = sum;
}

void measure_ceilings() {
  const std::size_t bytes = std::size_t{4} << 30;
  {
    const Memory from(bytes), to(bytes);
    fill_bytes<<<1024, 256>>>(reinterpret_cast<unsigned*>(from.bytes()), bytes / 4, 3);
    const double copy = time_of(2, [&](int) {
      check(cudaMemcpyAsync(to.bytes(), from.bytes(), bytes, cudaMemcpyDeviceToDevice, launch.stream), "copy");
    });
    const double read = time_of(2, [&](int) {
      read_kernel<<<static_cast<unsigned>(launch.multiprocessors) * 8, 512, 0, launch.stream>>>(
          reinterpret_cast<const uint4*>(from.bytes()), bytes / 16, reinterpret_cast<unsigned*>(to.bytes()));
    });
    read_gb_per_second = static_cast<double>(bytes) / read / 1e3;
    std::printf("device memory: copy %.0f GB/s (reads and writes), read %.0f GB/s\n",
                2 * static_cast<double>(bytes) / copy / 1e3, read_gb_per_second);
  }
  const std::int64_t n = 8192;
  const MatrixLayout layout{{Element::Bf16, 0}, n, n};
  const Memory weight(layout.bytes()), out(static_cast<std::size_t>(n * n) * 2);
  randomize(weight.bytes(), layout, 1);
  const auto x = random_bf16(static_cast<std::size_t>(n * n), 1.0f);
  const MatmulArgs args{
      .x = x->view<const bf16>(), .weight = {layout, weight.bytes()}, .out_bf16 = out.view<bf16>(), .tokens = n};
  const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  cuda::DenseProducts* const dense = launch.dense;
  dense_tflops = operations / time_of(3, [&](int) { cuda::run(launch, args); }) / 1e6;
  launch.dense = nullptr;
  const double own = operations / time_of(3, [&](int) { cuda::run(launch, args); }) / 1e6;
  launch.dense = dense;
  std::printf("dense BF16 product of 8192^3: %.0f TFLOP/s by %s, %.0f by the own kernel\n\n", dense_tflops,
              dense ? "cuBLASLt" : "the own kernel", own);
}

struct Format {
  Element element;
  int group_size;
};
std::string name_of_format(const Format& f) {
  return std::string(name_of(f.element)) + (f.group_size ? " g" + std::to_string(f.group_size) : "");
}
const Format kFormats[] = {
    {Element::Int4, 128}, {Element::Int4, 32}, {Element::Int8, 128}, {Element::Mxfp4, 32}, {Element::Bf16, 0}};

void matmuls(std::int64_t rows, std::int64_t columns, const std::vector<std::int64_t>& token_counts) {
  for (const Format& f : kFormats) {
    const MatrixLayout layout{fit_format(f.element, f.group_size, columns), rows, columns};
    const int copies = static_cast<int>(std::clamp<std::size_t>((std::size_t{400} << 20) / layout.bytes(), 2, 64));
    std::vector<std::unique_ptr<Memory>> weights;
    for (int i = 0; i < copies; ++i) {
      weights.push_back(std::make_unique<Memory>(layout.bytes()));
      randomize(weights.back()->bytes(), layout, static_cast<unsigned>(i));
    }
    for (const std::int64_t tokens : token_counts) {
      const auto x = random_bf16(static_cast<std::size_t>(tokens * columns), 1.0f);
      const Memory out(static_cast<std::size_t>(tokens * rows) * 2);
      const double time = time_of(tokens > 64 ? 6 : 2 * copies, [&](int i) {
        cuda::run(launch, MatmulArgs{.x = x->view<const bf16>(),
                              .weight = {layout, weights[i % copies]->bytes()},
                              .out_bf16 = out.view<bf16>(),
                              .tokens = tokens});
      });
      const std::string name = "matmul [" + std::to_string(rows) + ", " + std::to_string(columns) + "] " +
                               name_of_format(f) + ", " + std::to_string(tokens) + " tokens";
      if (tokens <= 64)
        print_memory(name, time, static_cast<double>(layout.bytes()));
      else
        print_arithmetic(name, time, 2.0 * static_cast<double>(rows * columns * tokens));
    }
  }
}

struct Shape {
  const char* name;
  std::int64_t hidden, width;
  int experts, top_k;
};
const Shape kShapes[] = {{"A", 2048, 768, 128, 8}, {"B", 4096, 1536, 128, 8}, {"C", 2048, 512, 512, 10}};

void experts(const Shape& s, const Format& f, const std::vector<std::int64_t>& token_counts) {
  std::mt19937 engine(1);
  const ExpertLayout layout = expert_layout(f.element, f.group_size, s.hidden, s.width);
  const Memory pool(layout.bytes() * static_cast<std::size_t>(s.experts));
  std::vector<std::int64_t> offsets;
  for (int e = 0; e < s.experts; ++e) {
    offsets.push_back(static_cast<std::int64_t>(layout.bytes()) * e);
    std::byte* block = pool.bytes() + offsets.back();
    randomize(block, layout.gate, static_cast<unsigned>(3 * e));
    randomize(block + layout.up_offset(), layout.up, static_cast<unsigned>(3 * e + 1));
    randomize(block + layout.down_offset(), layout.down, static_cast<unsigned>(3 * e + 2));
  }
  const auto on_offsets = uploaded(offsets);
  for (const std::int64_t tokens : token_counts) {
    // Several sets of picks, so that single tokens do not find their experts in the L2 cache.
    const int sets = tokens > 64 ? 2 : 32;
    std::vector<std::unique_ptr<Memory>> ids;
    std::vector<std::int32_t> all(static_cast<std::size_t>(s.experts));
    std::iota(all.begin(), all.end(), 0);
    for (int i = 0; i < sets; ++i) {
      std::vector<std::int32_t> picks;
      for (std::int64_t t = 0; t < tokens; ++t) {
        std::shuffle(all.begin(), all.end(), engine);
        picks.insert(picks.end(), all.begin(), all.begin() + s.top_k);
      }
      ids.push_back(uploaded(picks));
    }
    const auto weights = uploaded(std::vector<float>(static_cast<std::size_t>(tokens * s.top_k), 0.1f));
    const auto x = random_bf16(static_cast<std::size_t>(tokens * s.hidden), 1.0f);
    const Memory out(static_cast<std::size_t>(tokens * s.hidden) * 4);
    check(cudaMemset(out.bytes(), 0, static_cast<std::size_t>(tokens * s.hidden) * 4), "memset");
    const Memory workspace(experts_workspace_bytes(tokens, s.top_k, layout));
    const double time = time_of(tokens > 64 ? 4 : 64, [&](int i) {
      cuda::run(launch, ExpertsArgs{x->view<const bf16>(), ids[i % sets]->view<const std::int32_t>(),
                                    weights->view<const float>(), pool.view<const std::byte>(),
                                    on_offsets->view<const std::int64_t>(), layout, s.top_k, out.view<float>(),
                                    workspace.view<std::byte>()});
    });
    const std::string name =
        std::string("experts ") + s.name + " " + name_of_format(f) + ", " + std::to_string(tokens) + " tokens";
    const auto pairs = static_cast<double>(tokens * s.top_k);
    if (tokens <= 64) {
      print_memory(name, time, std::min(pairs, static_cast<double>(s.experts)) * static_cast<double>(layout.bytes()));
    } else {
      print_arithmetic(name, time, pairs * 6.0 * static_cast<double>(s.hidden * s.width));
    }
  }
}

void attention(int heads, int kv_heads, int head_dim, KvElement element, int tokens, int context) {
  const int rows = context + tokens;
  const std::size_t numbers = static_cast<std::size_t>(rows) * kv_heads * head_dim;
  const bool fp8 = element == KvElement::Fp8;
  const int layers = tokens > 64 ? 1 : std::clamp(static_cast<int>((std::size_t{200} << 20) / numbers), 1, 64);
  std::vector<std::unique_ptr<Memory>> memory;
  std::vector<KvCache> caches;
  for (int l = 0; l < layers; ++l) {
    KvCache cache{element, rows, kv_heads, head_dim, {}, {}};
    for (KvPlane* plane : {&cache.keys, &cache.values}) {
      memory.push_back(random_bf16(fp8 ? numbers / 2 : numbers, 1.0f));
      plane->values = memory.back()->view<std::byte>();
      if (fp8) {
        memory.push_back(uploaded(std::vector<float>(static_cast<std::size_t>(rows * kv_heads), 0.01f)));
        plane->scales = memory.back()->view<float>();
      }
    }
    caches.push_back(cache);
  }
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  std::iota(positions.begin(), positions.end(), context);
  const auto on_positions = uploaded(positions);
  const auto spans = uploaded(std::vector<SequenceSpan>{{0, tokens, 0}});
  const auto q = random_bf16(static_cast<std::size_t>(tokens * heads) * head_dim, 1.0f);
  const Memory out(static_cast<std::size_t>(tokens * heads) * head_dim * 2);
  const Memory workspace(tokens <= 16 ? attention_workspace_bytes(tokens, heads, head_dim)
                                      : widened_cache_bytes(rows, kv_heads, head_dim));
  const double time = time_of(tokens > 64 ? 3 : 2 * layers, [&](int i) {
    cuda::run(launch, AttentionArgs{q->view<const bf16>(),
                             caches[static_cast<std::size_t>(i % layers)],
                             {tokens, on_positions->view<const std::int32_t>(), spans->view<const SequenceSpan>()},
                             out.view<bf16>(),
                             heads,
                             0.09f,
                             workspace.view<std::byte>()});
  });
  const std::string name = "attention " + std::to_string(heads) + "/" + std::to_string(kv_heads) + " x " +
                           std::to_string(head_dim) + (fp8 ? " FP8" : " BF16") + ", " + std::to_string(tokens) +
                           " tokens after " + std::to_string(context);
  const double visible = tokens * (static_cast<double>(context) + (tokens + 1) / 2.0);
  if (tokens > 64)
    print_arithmetic(name, time, 4.0 * visible * heads * head_dim);
  else
    print_memory(name, time, 2.0 * static_cast<double>(numbers) * (fp8 ? 1 : 2));
}

void small_operations() {
  const int vocabulary = 151936;
  std::vector<float> logits(vocabulary);
  std::mt19937 engine(2);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  for (float& v : logits) v = normal(engine);
  const auto on_logits = uploaded(logits);
  const auto history = uploaded(std::vector<std::int32_t>(4096, 5));
  const Memory token(4);
  const struct {
    const char* name;
    SamplingState state;
  } samplings[] = {{"sample, greedy", {}},
                   {"sample, temperature 0.8", {.temperature = 0.8f, .seed = 1}},
                   {"sample, temperature 0.8, top-k 40", {.temperature = 0.8f, .top_k = 40, .seed = 1}},
                   {"sample, temperature 0.8, top-p 0.9", {.temperature = 0.8f, .top_p = 0.9f, .seed = 1}},
                   {"sample, top-k 40, top-p 0.9, penalty 1.1",
                    {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 1}}};
  for (const auto& s : samplings) {
    const auto state = uploaded(std::vector<SamplingState>{s.state});
    print_time(s.name, time_of(20, [&](int) {
                 cuda::run(launch, SampleArgs{on_logits->view<const float>(), state->view<SamplingState>(),
                                       history->view<std::int32_t>(), token.view<std::int32_t>()});
               }));
  }
  for (const std::int64_t tokens : {std::int64_t{1}, std::int64_t{4096}}) {
    const std::string suffix = ", " + std::to_string(tokens) + " tokens";
    const auto residual = uploaded(std::vector<float>(static_cast<std::size_t>(tokens) * 2048, 0.5f));
    const auto weight = random_bf16(2048, 1.0f);
    const auto heads = random_bf16(static_cast<std::size_t>(tokens) * 4096, 1.0f);
    const Memory normed(static_cast<std::size_t>(tokens) * 4096);
    print_time("rms_norm 2048" + suffix, time_of(20, [&](int) {
                 cuda::run(launch, RmsNormArgs{residual->view<const float>(), weight->view<const bf16>(),
                                               normed.view<bf16>(), 2048});
               }));
    print_time("head_norm 32 x 128" + suffix, time_of(20, [&](int) {
                 cuda::run(launch, HeadNormArgs{heads->view<bf16>(), weight->view<const bf16>().sub(0, 128), 128});
               }));
    for (const auto& [count, top_k] : {std::pair{128, 8}, std::pair{512, 10}}) {
      const View<const float> some = View<const float>(on_logits->view<const float>());
      std::vector<float> many(static_cast<std::size_t>(tokens * count));
      for (std::size_t i = 0; i < many.size(); ++i) many[i] = logits[i % some.size];
      const auto router_logits = uploaded(many);
      const Memory ids(static_cast<std::size_t>(tokens * top_k) * 4),
          weights(static_cast<std::size_t>(tokens * top_k) * 4);
      print_time("router " + std::to_string(count) + suffix, time_of(20, [&](int) {
                   cuda::run(launch, RouterArgs{router_logits->view<const float>(), ids.view<std::int32_t>(),
                                         weights.view<float>(), count, top_k, true});
                 }));
    }
  }
}

/// The residual of 10,000 tokens from a device to the next, on another GPU if there is one: by one copy, with and
/// without peer access (between logical devices of one GPU it stays inside its memory), and by our own pieces through
/// page-locked memory, where the way up follows the way down by a piece.
void copies_between_devices() {
  constexpr std::size_t kBytes = std::size_t{10000} * 2048 * sizeof(float), kPiece = std::size_t{4} << 20;
  int gpus = 1, possible = 0;
  check(cudaGetDeviceCount(&gpus), "GPUs");
  const int other = gpus > 1 ? 1 : 0;
  const Memory from(kBytes);
  check(cudaSetDevice(other), "the other GPU");
  const Memory to(kBytes);
  cudaStream_t up = nullptr;
  cudaEvent_t arrived = nullptr, done = nullptr;  // each of the GPU whose stream records it
  check(cudaStreamCreateWithFlags(&up, cudaStreamNonBlocking), "stream");
  check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "event");
  check(cudaSetDevice(0), "the GPU");
  void* host = nullptr;
  check(cudaHostAlloc(&host, kBytes, cudaHostAllocPortable), "page-locked memory");
  auto* staging = static_cast<std::byte*>(host);
  const auto copy = [](std::byte* target, const std::byte* source, std::size_t bytes, cudaStream_t stream) {
    check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault, stream), "copy");
  };
  const auto print = [](const char* way, double microseconds) {
    std::printf("%-58s %9.1f us %8.1f GB/s\n", way, microseconds, static_cast<double>(kBytes) / microseconds / 1e3);
  };
  const auto at_once = [&] { return time_of(4, [&](int) { copy(to.bytes(), from.bytes(), kBytes, launch.stream); }); };
  std::printf("%d GPU%s\n", gpus, gpus == 1 ? "" : "s");
  print(gpus > 1 ? "residual of 10,000 tokens to a GPU, without peer access" : "residual of 10,000 tokens to a device",
        at_once());
  if (gpus > 1 && cudaDeviceCanAccessPeer(&possible, 0, other) == cudaSuccess && possible != 0) {
    check(cudaDeviceEnablePeerAccess(other, 0), "peer access");
    print("the same with peer access", at_once());
  }
  check(cudaEventCreateWithFlags(&arrived, cudaEventDisableTiming), "event");
  print("the same through page-locked memory", time_of(4, [&](int) {
          for (std::size_t at = 0; at < kBytes; at += kPiece) {
            const std::size_t bytes = std::min(kPiece, kBytes - at);
            copy(staging + at, from.bytes() + at, bytes, launch.stream);
            check(cudaEventRecord(arrived, launch.stream), "record");
            check(cudaStreamWaitEvent(up, arrived, 0), "wait");
            copy(to.bytes() + at, staging + at, bytes, up);
          }
          check(cudaEventRecord(done, up), "record");
          check(cudaStreamWaitEvent(launch.stream, done, 0), "wait");
        }));
  cudaEventDestroy(arrived);
  cudaEventDestroy(done);
  cudaStreamDestroy(up);
  cudaFreeHost(host);
}

}  // namespace

int main(int argc, char** argv) {
  launch = open_device();
  const std::string part = argc > 1 ? argv[1] : "";
  if (part == "copies") return copies_between_devices(), 0;
  const Memory dense_workspace(cuda::DenseProducts::kWorkspaceBytes);
  auto dense = cuda::DenseProducts::load(dense_workspace.view<std::byte>());
  if (dense)
    launch.dense = dense->get();
  else
    std::printf("%s\n", dense.error().message().c_str());

  measure_ceilings();
  matmuls(4096, 2048, {64, 512, 4096, 10000});
  matmuls(2048, 4096, {4096});
  for (const Shape& s : kShapes) experts(s, {Element::Int4, 128}, {16, 64, 256, 1024, 4096, 8192, 10000});
  experts(kShapes[0], {Element::Int4, 32}, {64, 8192});
  experts(kShapes[0], {Element::Int8, 128}, {64, 8192});
  experts(kShapes[0], {Element::Mxfp4, 32}, {64, 8192});
  experts(kShapes[0], {Element::Bf16, 0}, {64, 8192});
  if (part == "many") return 0;
  matmuls(4096, 2048, {1, 8, 16});
  matmuls(2048, 4096, {1});
  matmuls(151936, 2048, {1});
  for (const Shape& s : kShapes) experts(s, {Element::Int4, 128}, {1, 4, 8});
  experts(kShapes[0], {Element::Int8, 128}, {1});
  experts(kShapes[0], {Element::Mxfp4, 32}, {1});
  experts(kShapes[0], {Element::Bf16, 0}, {1});
  for (const KvElement element : {KvElement::Fp8, KvElement::Bf16}) {
    for (const int tokens : {1024, 4096, 10000}) attention(32, 4, 128, element, tokens, 0);
    attention(32, 4, 128, element, 2048, 8192);
    for (const int tokens : {4096, 10000}) attention(64, 4, 128, element, tokens, 0);
    for (const int tokens : {4096, 10000}) attention(16, 2, 256, element, tokens, 0);
    attention(32, 8, 64, element, 4096, 0);
    for (const int context : {127, 1023, 10000, 32767}) attention(32, 4, 128, element, 1, context);
    for (const int context : {127, 10000}) attention(16, 2, 256, element, 1, context);
  }
  small_operations();
  copies_between_devices();
  return 0;
}

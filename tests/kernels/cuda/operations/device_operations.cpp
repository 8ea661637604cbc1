#include "tests/kernels/cuda/operations/device_operations.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace krasis::test {
namespace {

constexpr std::size_t kGuard = 256;
constexpr std::byte kPoison{0xa5};
constexpr std::size_t kArenaBytes = std::size_t{256} << 20;

/// Of the process, made by the first call that needs it.
std::byte* arena() {
  static std::byte* const data = [] {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, kArenaBytes), "allocating the arena");
    return static_cast<std::byte*>(memory);
  }();
  return data;
}

bool separate_allocations() {
  static const bool separate = std::getenv("KRASIS_TEST_SEPARATE_ALLOCATIONS") != nullptr;
  return separate;
}

}  // namespace

std::string missing_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return std::string("no CUDA device can be used: ") + cudaGetErrorString(status);
  if (count == 0) return "this machine has no CUDA device";
  int major = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "asking for the capability");
  return major < 8 ? "the CUDA device is older than compute capability 8.0" : "";
}

cuda::Launch device_launch() {
  cuda::Launch launch;
  check_cuda(cudaDeviceGetAttribute(&launch.multiprocessors, cudaDevAttrMultiProcessorCount, 0), "asking the device");
  check_cuda(cudaDeviceGetAttribute(&launch.compute_major, cudaDevAttrComputeCapabilityMajor, 0), "asking the device");
  return launch;
}

DeviceMemory::~DeviceMemory() {
  for (const Part& part : parts_) {
    if (part.owned) cudaFree(part.device);
  }
}

std::byte* DeviceMemory::place(std::byte* host, std::size_t bytes, bool back) {
  if (bytes == 0) return nullptr;
  Part part{host, bytes, back, image_.size()};
  const std::size_t total = round_up(bytes + 2 * kGuard, kGuard);
  image_.resize(image_.size() + total, kPoison);
  if (host) std::memcpy(image_.data() + part.offset + kGuard, host, bytes);
  if (separate_allocations()) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes + 2 * kGuard), "allocating");
    part.device = static_cast<std::byte*>(memory);
    part.owned = true;
  } else {
    if (image_.size() > kArenaBytes) throw std::runtime_error("the arena of the tests is too small");
    part.device = arena() + part.offset;
  }
  parts_.push_back(part);
  return part.device + kGuard;
}

void DeviceMemory::upload() {
  if (!separate_allocations()) {
    return check_cuda(cudaMemcpy(arena(), image_.data(), image_.size(), cudaMemcpyHostToDevice), "copying");
  }
  for (const Part& part : parts_) {
    check_cuda(cudaMemcpy(part.device, image_.data() + part.offset, part.bytes + 2 * kGuard, cudaMemcpyHostToDevice),
               "copying");
  }
}

void DeviceMemory::finish() {
  check_cuda(cudaGetLastError(), "launching");
  check_cuda(cudaDeviceSynchronize(), "running");
  std::vector<std::byte> after(image_.size(), kPoison);
  if (!separate_allocations()) {
    check_cuda(cudaMemcpy(after.data(), arena(), after.size(), cudaMemcpyDeviceToHost), "copying back");
  }
  for (const Part& part : parts_) {
    if (part.owned) {
      check_cuda(cudaMemcpy(after.data() + part.offset, part.device, part.bytes + 2 * kGuard, cudaMemcpyDeviceToHost),
                 "copying back");
    }
    const std::byte* data = after.data() + part.offset + kGuard;
    const auto is_poison = [](std::byte b) { return b == kPoison; };
    if (!std::all_of(data - kGuard, data, is_poison) ||
        !std::all_of(data + part.bytes, data + part.bytes + kGuard, is_poison)) {
      throw std::runtime_error("a kernel wrote beside the memory that it was given");
    }
    if (part.back) {
      std::memcpy(part.host, data, part.bytes);
    } else if (part.host && std::memcmp(part.host, data, part.bytes) != 0) {
      throw std::runtime_error("a kernel wrote to what it may only read");
    }
  }
}

KvCache DeviceMemory::in(KvCache host, bool written) {
  for (KvPlane* plane : {&host.keys, &host.values}) {
    plane->values.data = place(plane->values.data, plane->values.bytes(), written);
    plane->scales.data = reinterpret_cast<float*>(
        place(reinterpret_cast<std::byte*>(plane->scales.data), plane->scales.bytes(), written));
  }
  return host;
}

namespace {

/// Arguments on the device, one function for each operation.
EmbeddingArgs moved(DeviceMemory& m, const EmbeddingArgs& a) {
  return {m.in(a.table), m.in(a.ids), m.in(a.out)};
}
RmsNormArgs moved(DeviceMemory& m, const RmsNormArgs& a) {
  return {m.in(a.x), m.in(a.weight), m.in(a.out), a.width, a.epsilon};
}
HeadNormArgs moved(DeviceMemory& m, const HeadNormArgs& a) {
  return {m.in(a.x), m.in(a.weight), a.head_dim, a.epsilon};
}
MatmulArgs moved(DeviceMemory& m, const MatmulArgs& a) {
  return {m.in(a.x), m.in(a.weight), m.in(a.out_bf16), m.in(a.out_f32), m.in(a.accumulate), a.tokens};
}
SwiGluArgs moved(DeviceMemory& m, const SwiGluArgs& a) {
  return {m.in(a.gate), m.in(a.up), m.in(a.out), a.glu};
}
RotaryArgs moved(DeviceMemory& m, const RotaryArgs& a) {
  return {m.in(a.x), m.in(a.inverse_frequency), m.in(a.batch), a.heads, a.head_dim};
}
KvAppendArgs moved(DeviceMemory& m, const KvAppendArgs& a) {
  return {m.in(a.k), m.in(a.v), m.in(a.cache, true), m.in(a.batch)};
}
AttentionArgs moved(DeviceMemory& m, const AttentionArgs& a) {
  const auto tokens = static_cast<std::int64_t>(a.batch.tokens);
  const std::size_t few = tokens <= 16 ? attention_workspace_bytes(tokens, a.heads, a.cache.head_dim) : 0;
  const std::size_t widened =
      a.cache.element == KvElement::Fp8 ? widened_cache_bytes(a.cache.rows, a.cache.heads, a.cache.head_dim) : 0;
  return {
      m.in(a.q), m.in(a.cache, false), m.in(a.batch), m.in(a.out), a.heads, a.scale, m.scratch(std::max(few, widened))};
}
RouterArgs moved(DeviceMemory& m, const RouterArgs& a) {
  return {m.in(a.logits), m.in(a.ids), m.in(a.weights), a.experts, a.top_k, a.renormalize};
}
ExpertsArgs moved(DeviceMemory& m, const ExpertsArgs& a) {
  return {m.in(a.x),    m.in(a.ids),     m.in(a.weights),
          m.in(a.pool), m.in(a.offsets), a.layout,
          a.top_k,      m.in(a.out),     m.scratch(a.workspace.bytes()),
          a.glu};
}
AddArgs moved(DeviceMemory& m, const AddArgs& a) {
  return {m.in(a.x), m.in(a.out)};
}
FillArgs moved(DeviceMemory& m, const FillArgs& a) {
  return {m.in(a.out), a.value};
}
CountExpertsArgs moved(DeviceMemory& m, const CountExpertsArgs& a) {
  return {m.in(a.ids), m.in(a.counts)};
}
GatherExpertsArgs moved(DeviceMemory& m, const GatherExpertsArgs& a) {
  return {m.in(a.ids), m.in(a.offsets), m.in(a.from), m.in(a.to), a.block_bytes, m.in(a.copied)};
}
SampleArgs moved(DeviceMemory& m, const SampleArgs& a) {
  return {m.in(a.logits), m.in(a.state), m.in(a.history), m.in(a.token)};
}
AdvanceArgs moved(DeviceMemory& m, const AdvanceArgs& a) {
  return {m.in(a.token), m.in(a.id), m.in(a.position)};
}

template <class Args, void (*kOperation)(const cuda::Launch&, const Args&)>
void run(const Args& args) {
  static const cuda::Launch launch = device_launch();
  DeviceMemory memory;
  const Args on_device = moved(memory, args);
  memory.upload();
  kOperation(launch, on_device);
  memory.finish();
}

}  // namespace

const HostOperations& device_operations() {
  static constexpr HostOperations operations = {
      .embedding = run<EmbeddingArgs, cuda::embedding>,
      .rms_norm = run<RmsNormArgs, cuda::rms_norm>,
      .head_norm = run<HeadNormArgs, cuda::head_norm>,
      .matmul = run<MatmulArgs, cuda::matmul>,
      .swiglu = run<SwiGluArgs, cuda::swiglu>,
      .rotary = run<RotaryArgs, cuda::rotary>,
      .kv_append = run<KvAppendArgs, cuda::kv_append>,
      .attention = run<AttentionArgs, cuda::attention>,
      .router = run<RouterArgs, cuda::router>,
      .experts = run<ExpertsArgs, cuda::experts>,
      .add = run<AddArgs, cuda::add>,
      .fill = run<FillArgs, cuda::fill>,
      .count_experts = run<CountExpertsArgs, cuda::count_experts>,
      .gather_experts = run<GatherExpertsArgs, cuda::gather_experts>,
      .sample = run<SampleArgs, cuda::sample>,
      .advance = run<AdvanceArgs, cuda::advance>,
  };
  return operations;
}

}  // namespace krasis::test

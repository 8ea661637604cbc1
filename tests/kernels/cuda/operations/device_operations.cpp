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

void DeviceMemory::add_workspace(AttentionArgs& args) {
  const auto tokens = static_cast<std::int64_t>(args.batch.tokens);
  const KvCache& cache = args.cache;
  const std::size_t few = tokens <= 16 ? attention_workspace_bytes(tokens, args.heads, cache.head_dim) : 0;
  const std::size_t widened =
      cache.element == KvElement::Fp8 ? widened_cache_bytes(cache.rows, cache.heads, cache.head_dim) : 0;
  args.workspace = scratch(std::max(few, widened));
}

void DeviceMemory::add_workspace(AttentionBlock& block) {
  block.attention_workspace = scratch(attention_workspace_bytes(block.batch.tokens, block.heads, block.cache.head_dim));
}

namespace {

template <class Args>
void run(const Args& args) {
  static const cuda::Launch launch = device_launch();
  DeviceMemory memory;
  const Args on_device = memory.moved(args);
  memory.upload();
  cuda::run(launch, on_device);
  memory.finish();
}

}  // namespace

const HostOperations& device_operations() {
  static const HostOperations operations = [] {
    HostOperations set;
    Operations::for_each([&]<class Args>() {
      if constexpr (!Block<Args>) set.set<Args>(run<Args>);
    });
    return set;
  }();
  return operations;
}

}  // namespace krasis::test

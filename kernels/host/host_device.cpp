#include "kernels/host/host_device.h"

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <type_traits>

#include "kernels/host/accesses.h"

namespace krasis {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

}  // namespace

HostDevice::HostDevice(HostPlatform::Impl& platform, int index, std::size_t budget_bytes)
    : platform_(platform), info_{"host", cpu_name(), index, budget_bytes} {}

Expected<Buffer> HostDevice::allocate(std::string_view place, std::size_t bytes, MemorySpace space) {
  KRASIS_TRY(std::byte* const data, platform_.allocate(info_.index, place, bytes, space));
  return Buffer(this, space, data, bytes);
}
void HostDevice::release(MemorySpace, std::byte* data, std::size_t) noexcept {
  platform_.release(info_.index, data);
}
std::vector<PlaceUsage> HostDevice::memory_usage() const {
  return platform_.memory_usage(info_.index);
}
Expected<void> HostDevice::register_host(std::string_view place, std::byte* data, std::size_t bytes) {
  return platform_.register_host(info_.index, place, data, bytes);
}
void HostDevice::unregister_host(std::byte* data) {
  platform_.unregister_host(data);
}
KvLayout HostDevice::kv_layout(int heads, int kv_heads, int head_dim) const {
  return platform_.operations().kv_layout(heads, kv_heads, head_dim);
}

Stream HostDevice::create_stream(std::string_view name, Lane lane) {
  return platform_.create_stream(info_.index, name, lane);
}
Signal HostDevice::create_signal(std::string_view name) {
  return platform_.create_signal(name);
}
Event HostDevice::record(Stream stream) {
  return platform_.record(stream);
}
void HostDevice::wait(Stream stream, Event event, std::string_view why) {
  platform_.wait(stream, event, why);
}
void HostDevice::raise(Stream stream, Signal signal) {
  platform_.raise(stream, signal);
}
void HostDevice::await(Stream stream, Signal signal, std::string_view why) {
  platform_.await(stream, signal, why);
}
Expected<void> HostDevice::synchronize(Event event, std::string_view why) {
  return platform_.synchronize(event, why);
}
void HostDevice::host_access(std::string_view name, std::span<const Access> reads, std::span<const Access> writes) {
  platform_.host_access(name, reads, writes);
}

void HostDevice::begin_recording() {
  platform_.begin_recording();
}
Recording HostDevice::end_recording() {
  return platform_.end_recording();
}
void HostDevice::replay(Recording recording) {
  platform_.replay(recording);
}

void HostDevice::copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name) {
  const std::size_t bytes = std::min(to.bytes(), from.bytes());
  const bool fits = to.bytes() == from.bytes();
  platform_.run(stream, {.name = std::string(name),
                         .toucher = Toucher::Copy,
                         .reads = {{from.data, bytes}},
                         .writes = {{to.data, bytes}},
                         .copied_bytes = bytes,
                         .run = [=] {
                           if (!fits) {
                             throw std::runtime_error("a copy of " + std::to_string(from.bytes()) +
                                                      " bytes into a place of " + std::to_string(to.bytes()));
                           }
                           if (bytes > 0) std::memcpy(to.data, from.data, bytes);
                         }});
}

void HostDevice::host_task(Stream stream, std::string_view name, std::span<const Access> reads,
                           std::span<const Access> writes, std::function<void()> task) {
  platform_.run(stream, {.name = std::string(name),
                         .toucher = Toucher::Host,
                         .reads = {reads.begin(), reads.end()},
                         .writes = {writes.begin(), writes.end()},
                         .run = std::move(task)});
}

template <class Args>
void HostDevice::enqueue(Stream stream, const char* name, void (*operation)(const Args&), const Args& args) {
  Accesses accesses = accesses_of(args);
  const std::vector<View<const std::byte>>* more_reads = nullptr;
  if constexpr (std::is_same_v<Args, ExpertsArgs>) more_reads = args.blocks;
  platform_.run(stream, {.name = name,
                         .toucher = Toucher::Kernel,
                         .reads = std::move(accesses.reads),
                         .writes = std::move(accesses.writes),
                         .more_reads = more_reads,
                         .run = [operation, args] {
                           if (!operation) throw std::runtime_error("this set of operations does not have it");
                           operation(args);
                         }});
}

void HostDevice::embedding(Stream stream, const EmbeddingArgs& args) {
  enqueue(stream, "embedding", platform_.operations().embedding, args);
}
void HostDevice::rms_norm(Stream stream, const RmsNormArgs& args) {
  enqueue(stream, "rms_norm", platform_.operations().rms_norm, args);
}
void HostDevice::head_norm(Stream stream, const HeadNormArgs& args) {
  enqueue(stream, "head_norm", platform_.operations().head_norm, args);
}
void HostDevice::matmul(Stream stream, const MatmulArgs& args) {
  enqueue(stream, "matmul", platform_.operations().matmul, args);
}
void HostDevice::matmuls(Stream stream, std::span<const MatmulArgs> products) {
  const auto operation = platform_.operations().matmuls;
  if (!operation) return Device::matmuls(stream, products);
  Accesses accesses = accesses_of(products);
  platform_.run(stream,
                {.name = "matmuls",
                 .toucher = Toucher::Kernel,
                 .reads = std::move(accesses.reads),
                 .writes = std::move(accesses.writes),
                 .run = [operation, kept = std::vector(products.begin(), products.end())] { operation(kept); }});
}
void HostDevice::swiglu(Stream stream, const SwiGluArgs& args) {
  enqueue(stream, "swiglu", platform_.operations().swiglu, args);
}
void HostDevice::rotary(Stream stream, const RotaryArgs& args) {
  enqueue(stream, "rotary", platform_.operations().rotary, args);
}
void HostDevice::kv_append(Stream stream, const KvAppendArgs& args) {
  enqueue(stream, "kv_append", platform_.operations().kv_append, args);
}
void HostDevice::attention(Stream stream, const AttentionArgs& args) {
  enqueue(stream, "attention", platform_.operations().attention, args);
}
void HostDevice::router(Stream stream, const RouterArgs& args) {
  enqueue(stream, "router", platform_.operations().router, args);
}
void HostDevice::experts(Stream stream, const ExpertsArgs& args) {
  enqueue(stream, "experts", platform_.operations().experts, args);
}
void HostDevice::add(Stream stream, const AddArgs& args) {
  enqueue(stream, "add", platform_.operations().add, args);
}
void HostDevice::fill(Stream stream, const FillArgs& args) {
  enqueue(stream, "fill", platform_.operations().fill, args);
}
void HostDevice::count_experts(Stream stream, const CountExpertsArgs& args) {
  enqueue(stream, "count_experts", platform_.operations().count_experts, args);
}
void HostDevice::gather_experts(Stream stream, const GatherExpertsArgs& args) {
  enqueue(stream, "gather_experts", platform_.operations().gather_experts, args);
}
void HostDevice::sample(Stream stream, const SampleArgs& args) {
  enqueue(stream, "sample", platform_.operations().sample, args);
}
void HostDevice::advance(Stream stream, const AdvanceArgs& args) {
  enqueue(stream, "advance", platform_.operations().advance, args);
}

}  // namespace krasis

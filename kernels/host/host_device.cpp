#include "kernels/host/host_device.h"

#include <cstring>
#include <fstream>
#include <stdexcept>

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

void HostDevice::enqueue(Stream stream, AnyOperation operation) {
  std::visit([&](const auto* args) { add(stream, *args); }, operation);
}

template <class Args>
void HostDevice::add(Stream stream, const Args& args) {
  const auto function = platform_.operations().of<Args>();
  if constexpr (Block<Args>) {
    if (!function) return args.expand([&](const auto& part) { run(stream, part); });
  }
  Accesses accesses = accesses_of(args);
  platform_.run(stream, {.name = Args::kName,
                         .toucher = Toucher::Kernel,
                         .reads = std::move(accesses.reads),
                         .writes = std::move(accesses.writes),
                         .later_reads = accesses.later_reads,
                         .run = [function, args] {
                           if (!function) throw std::runtime_error("this set of operations does not have it");
                           function(args);
                         }});
}

}  // namespace krasis

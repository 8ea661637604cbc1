#include "kernels/cuda/cuda_device.h"

namespace krasis {

Expected<Buffer> CudaDevice::allocate(std::string_view place, std::size_t bytes, MemorySpace space) {
  KRASIS_TRY(std::byte* const data, platform_.allocate(info_.index, place, bytes, space));
  return Buffer(this, space, data, bytes);
}
void CudaDevice::release(MemorySpace, std::byte* data, std::size_t) noexcept {
  platform_.release(info_.index, data);
}
std::vector<PlaceUsage> CudaDevice::memory_usage() const {
  return platform_.memory_usage(info_.index);
}
Expected<void> CudaDevice::register_host(std::string_view place, std::byte* data, std::size_t bytes) {
  return platform_.register_host(info_.index, place, data, bytes);
}
void CudaDevice::unregister_host(std::byte* data) {
  platform_.unregister_host(data);
}

Stream CudaDevice::create_stream(std::string_view name, Lane lane) {
  return platform_.create_stream(info_.index, name, lane);
}
Signal CudaDevice::create_signal(std::string_view name) {
  return platform_.create_signal(name);
}
Event CudaDevice::record(Stream stream) {
  return platform_.record(stream);
}
void CudaDevice::wait(Stream stream, Event event, std::string_view why) {
  platform_.wait(stream, event, why);
}
void CudaDevice::raise(Stream stream, Signal signal) {
  platform_.raise(stream, signal);
}
void CudaDevice::await(Stream stream, Signal signal, std::string_view why) {
  platform_.await(stream, signal, why);
}
void CudaDevice::copy_and_raise(Stream stream, std::span<const CopyArgs> copies, Signal signal) {
  if (!platform_.copy_and_raise(stream, copies, signal)) Device::copy_and_raise(stream, copies, signal);
}
void CudaDevice::await_and_add(Stream stream, Signal signal, std::string_view why, const AddArgs& sum, View<float> arrived) {
  if (!platform_.await_and_add(stream, signal, why, sum)) Device::await_and_add(stream, signal, why, sum, arrived);
}
Expected<void> CudaDevice::synchronize(Event event, std::string_view why) {
  return platform_.synchronize(event, why);
}
void CudaDevice::host_access(std::string_view, std::span<const Access>, std::span<const Access>) {
  platform_.host_access();
}

void CudaDevice::begin_recording() {
  platform_.begin_recording();
}
Recording CudaDevice::end_recording() {
  return platform_.end_recording();
}
void CudaDevice::replay(Recording recording) {
  platform_.replay(recording);
}

void CudaDevice::copy(Stream stream, View<std::byte> to, View<const std::byte> from, std::string_view name) {
  platform_.copy(stream, to, from, name);
}
void CudaDevice::host_task(Stream stream, std::string_view name, std::span<const Access>, std::span<const Access>,
                           std::function<void()> task) {
  platform_.host_task(stream, name, std::move(task));
}

void CudaDevice::enqueue(Stream stream, AnyOperation operation) {
  std::visit([&](const auto* args) { add(stream, *args); }, operation);
}

template <class Args>
void CudaDevice::add(Stream stream, const Args& args) {
  const auto function = platform_.operations().of<Args>();
  if constexpr (Block<Args>) {
    if (!function) return args.expand([&](const auto& part) { run(stream, part); });
  }
  if constexpr (std::is_same_v<Args, GatherExpertsArgs>) {
    if (!platform_.reads_directly(args.from)) {
      return platform_.refuse("This GPU's kernels cannot read the experts in host memory.",
                              "Set prefill_path to \"stream\".");
    }
  }
  if (!function) {
    return platform_.misuse("Operation '" + std::string(Args::kName) + "' is not in this set of operations.");
  }
  platform_.launch(stream, Args::kName, [function, args](const cuda::Launch& launch) { function(launch, args); });
}

}  // namespace krasis

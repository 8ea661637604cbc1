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

template <class Args>
void CudaDevice::enqueue(Stream stream, const char* name, void (*operation)(const cuda::Launch&, const Args&),
                         const Args& args) {
  if (!operation) {
    return platform_.misuse("Operation '" + std::string(name) + "' is not in this set of operations.");
  }
  platform_.launch(stream, name, [operation, args](const cuda::Launch& launch) { operation(launch, args); });
}

void CudaDevice::embedding(Stream stream, const EmbeddingArgs& args) {
  enqueue(stream, "embedding", platform_.operations().embedding, args);
}
void CudaDevice::rms_norm(Stream stream, const RmsNormArgs& args) {
  enqueue(stream, "rms_norm", platform_.operations().rms_norm, args);
}
void CudaDevice::head_norm(Stream stream, const HeadNormArgs& args) {
  enqueue(stream, "head_norm", platform_.operations().head_norm, args);
}
void CudaDevice::matmul(Stream stream, const MatmulArgs& args) {
  enqueue(stream, "matmul", platform_.operations().matmul, args);
}
void CudaDevice::swiglu(Stream stream, const SwiGluArgs& args) {
  enqueue(stream, "swiglu", platform_.operations().swiglu, args);
}
void CudaDevice::rotary(Stream stream, const RotaryArgs& args) {
  enqueue(stream, "rotary", platform_.operations().rotary, args);
}
void CudaDevice::kv_append(Stream stream, const KvAppendArgs& args) {
  enqueue(stream, "kv_append", platform_.operations().kv_append, args);
}
void CudaDevice::attention(Stream stream, const AttentionArgs& args) {
  enqueue(stream, "attention", platform_.operations().attention, args);
}
void CudaDevice::router(Stream stream, const RouterArgs& args) {
  enqueue(stream, "router", platform_.operations().router, args);
}
void CudaDevice::experts(Stream stream, const ExpertsArgs& args) {
  enqueue(stream, "experts", platform_.operations().experts, args);
}
void CudaDevice::add(Stream stream, const AddArgs& args) {
  enqueue(stream, "add", platform_.operations().add, args);
}
void CudaDevice::fill(Stream stream, const FillArgs& args) {
  enqueue(stream, "fill", platform_.operations().fill, args);
}
void CudaDevice::count_experts(Stream stream, const CountExpertsArgs& args) {
  enqueue(stream, "count_experts", platform_.operations().count_experts, args);
}
void CudaDevice::gather_experts(Stream stream, const GatherExpertsArgs& args) {
  if (!platform_.reads_directly(args.from)) {
    return platform_.refuse("This GPU's kernels cannot read the experts in host memory.", "Set prefill_path to \"stream\".");
  }
  enqueue(stream, "gather_experts", platform_.operations().gather_experts, args);
}
void CudaDevice::sample(Stream stream, const SampleArgs& args) {
  enqueue(stream, "sample", platform_.operations().sample, args);
}
void CudaDevice::advance(Stream stream, const AdvanceArgs& args) {
  enqueue(stream, "advance", platform_.operations().advance, args);
}

void CudaDevice::attention_block(Stream stream, const AttentionBlock& block) {
  if (!platform_.operations().attention_block) return Device::attention_block(stream, block);
  enqueue(stream, "attention_block", platform_.operations().attention_block, block);
}
void CudaDevice::mlp_block(Stream stream, const MlpBlock& block) {
  if (!platform_.operations().mlp_block) return Device::mlp_block(stream, block);
  enqueue(stream, "mlp_block", platform_.operations().mlp_block, block);
}
void CudaDevice::router_block(Stream stream, const RouterBlock& block) {
  if (!platform_.operations().router_block) return Device::router_block(stream, block);
  enqueue(stream, "router_block", platform_.operations().router_block, block);
}
void CudaDevice::head_block(Stream stream, const HeadBlock& block) {
  if (!platform_.operations().head_block) return Device::head_block(stream, block);
  enqueue(stream, "head_block", platform_.operations().head_block, block);
}
}  // namespace krasis

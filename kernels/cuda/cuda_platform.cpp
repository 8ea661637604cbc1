#include "kernels/cuda/cuda_platform.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_platform_impl.h"
#include "kernels/cuda/probe.h"

namespace krasis {
namespace {

/// Bytes for each logical device: what was asked for, or an equal share of what the others leave free on its GPU.
Expected<std::vector<std::size_t>> share_out(const std::vector<CudaLogicalDevice>& devices,
                                             const std::vector<CudaDeviceInfo>& gpus) {
  std::vector<std::size_t> budgets(devices.size());
  for (std::size_t gpu = 0; gpu < gpus.size(); ++gpu) {
    const auto here = [&](const CudaLogicalDevice& device) { return device.cuda_index == static_cast<int>(gpu); };
    std::size_t left = gpus[gpu].free_bytes, sharing = 0;
    for (const CudaLogicalDevice& device : devices) {
      if (!here(device)) continue;
      if (device.budget_bytes == CudaLogicalDevice::kAllThatIsFree) {
        ++sharing;
      } else if (device.budget_bytes > left) {
        return fail(ErrorCode::OutOfMemory,
                    "GPU " + std::to_string(gpu) + " (" + gpus[gpu].name + ") has " + mebibytes(gpus[gpu].free_bytes) +
                        " free, which is less than the memory budgets of its devices.",
                    "Lower the memory budget or close other programs that use the GPU.");
      } else {
        left -= device.budget_bytes;
      }
    }
    left -= std::min(left, CudaLogicalDevice::kReservedBytes);
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (!here(devices[i])) continue;
      const bool all = devices[i].budget_bytes == CudaLogicalDevice::kAllThatIsFree;
      budgets[i] = all ? left / sharing : devices[i].budget_bytes;
    }
  }
  return budgets;
}

}  // namespace

// The public class ---------------------------------------------------------------------------------------------------

CudaPlatform::CudaPlatform(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CudaPlatform::~CudaPlatform() = default;

Expected<std::unique_ptr<CudaPlatform>> CudaPlatform::create(const CudaPlatformOptions& options,
                                                             const CudaOperations& operations) {
  KRASIS_TRY(auto impl, Impl::create(options, operations));
  return std::unique_ptr<CudaPlatform>(new CudaPlatform(std::move(impl)));
}

int CudaPlatform::device_count() const {
  return static_cast<int>(impl_->devices().size());
}
Device& CudaPlatform::device(int index) {
  return *impl_->devices()[static_cast<std::size_t>(index)];
}
std::vector<TraceEntry> CudaPlatform::trace() const {
  return impl_->trace();
}
Expected<void> CudaPlatform::set_tracing(bool tracing) {
  return impl_->set_tracing(tracing);
}
PlatformActivity CudaPlatform::activity() const {
  return impl_->activity();
}
Expected<void> CudaPlatform::write_chrome_trace(const std::filesystem::path& path) const {
  return krasis::write_chrome_trace(impl_->trace(), path);
}

// Start and end ------------------------------------------------------------------------------------------------------

Expected<std::unique_ptr<CudaPlatform::Impl>> CudaPlatform::Impl::create(const CudaPlatformOptions& options,
                                                                         const CudaOperations& operations) {
  if (options.devices.empty()) {
    return fail(ErrorCode::InvalidArgument, "A CUDA platform without devices cannot be.", "Ask for at least one GPU.");
  }
  KRASIS_TRY(const std::vector<CudaDeviceInfo> gpus, cuda_devices());
  for (const CudaLogicalDevice& device : options.devices) {
    if (device.cuda_index < 0 || static_cast<std::size_t>(device.cuda_index) >= gpus.size()) {
      return fail(ErrorCode::NotFound,
                  "There is no GPU " + std::to_string(device.cuda_index) + ": this machine has " +
                      std::to_string(gpus.size()) + ".",
                  "Choose another GPU, or use the host device.");
    }
  }
  KRASIS_TRY(const std::vector<std::size_t> budgets, share_out(options.devices, gpus));
  std::unique_ptr<Impl> impl(new Impl(options, operations));
  KRASIS_CHECK(impl->open(budgets));
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    const auto& gpu = gpus[static_cast<std::size_t>(options.devices[i].cuda_index)];
    impl->devices_.push_back(
        std::make_unique<CudaDevice>(*impl, DeviceInfo{"cuda", gpu.name, static_cast<int>(i), budgets[i]}));
  }
  return impl;
}

void CudaPlatform::Impl::set_peer_access(int one, int other) {
  const char* wish = std::getenv("KRASIS_PEER_ACCESS");
  const bool direct = options_.peer_access && (!wish || std::string_view(wish) != "off");
  for (const auto& [from, to] : {std::pair{one, other}, std::pair{other, one}}) {
    int possible = 0;
    if (from == to || cudaDeviceCanAccessPeer(&possible, from, to) != cudaSuccess || possible == 0) continue;
    // Access is the process's: an earlier platform may have left it. Copies are right either way.
    if (cudaSetDevice(from) == cudaSuccess)
      direct ? cudaDeviceEnablePeerAccess(to, 0) : cudaDeviceDisablePeerAccess(to);
    cudaGetLastError();
  }
}

Expected<void> CudaPlatform::Impl::open(const std::vector<std::size_t>& budgets) {
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    const int cuda_index = options_.devices[i].cuda_index;
    DeviceState device{.cuda_index = cuda_index};
    std::size_t total = 0;
    if (cudaSetDevice(cuda_index) != cudaSuccess || cudaMemGetInfo(&device.free_at_start, &total) != cudaSuccess) {
      cudaGetLastError();  // then nothing is said of the driver
    }
    KRASIS_TRY(device.memory, cuda::Memory::create(cuda_index, budgets[i], options_.poison, addresses_));
    cudaError_t status = cuda::load_signal_kernels();
    const auto ask = [&](int& value, cudaDeviceAttr attribute) {
      if (status == cudaSuccess) status = cudaDeviceGetAttribute(&value, attribute, cuda_index);
    };
    ask(device.launch.multiprocessors, cudaDevAttrMultiProcessorCount);
    ask(device.launch.compute_major, cudaDevAttrComputeCapabilityMajor);
    if (status != cudaSuccess) return tl::unexpected(cuda::cuda_error("prepare a device", status));
    if (operations_.open_dense_products) device.dense = operations_.open_dense_products();
    device.launch.dense = device.dense.get();
    if (events_.try_emplace(cuda_index, cuda_index, false).second) {
      for (const auto& [peer, pool] : events_) set_peer_access(cuda_index, peer);
    }
    gpus_.push_back(std::move(device));
  }
  if (options_.trace) KRASIS_CHECK(set_tracing(true));
  return {};
}

CudaPlatform::Impl::~Impl() {
  // Nobody waits for anybody any longer; then what was enqueued runs out, and nothing is in use.
  for (const auto& state : streams_) {
    if (state->host) state->host->abandon();
  }
  signals_.stop_all();
  for (const auto& state : streams_) state->host.reset();
  for (const auto& state : streams_) {
    if (!state->launch.stream) continue;
    cudaStreamSynchronize(state->launch.stream);
    cudaStreamDestroy(state->launch.stream);
    if (state->counters) cudaFree(state->counters);
  }
  recordings_.clear();
  for (const auto& [data, registration] : registrations_) cuda::page_unlock(data);
  cudaGetLastError();
}

// Memory -------------------------------------------------------------------------------------------------------------

Expected<std::byte*> CudaPlatform::Impl::allocate(int device, std::string_view place, std::size_t bytes,
                                                  MemorySpace space) {
  return gpus_[static_cast<std::size_t>(device)].memory->allocate(place, bytes, space);
}

void CudaPlatform::Impl::release(int device, std::byte* data) {
  gpus_[static_cast<std::size_t>(device)].memory->release(data);
}

std::vector<PlaceUsage> CudaPlatform::Impl::memory_usage(int device) const {
  std::vector<PlaceUsage> usage = gpus_[static_cast<std::size_t>(device)].memory->usage();
  if (const std::size_t bytes = driver_bytes(device); bytes > 0) {
    usage.push_back({"driver", MemorySpace::Device, bytes, bytes});
  }
  return usage;
}

std::size_t CudaPlatform::Impl::driver_bytes(int device) const {
  const DeviceState& first = gpus_[static_cast<std::size_t>(device)];
  std::size_t allocated = 0, free = 0, total = 0;
  for (std::size_t i = 0; i < gpus_.size(); ++i) {
    if (gpus_[i].cuda_index != first.cuda_index) continue;
    if (i < static_cast<std::size_t>(device)) return 0;
    for (const PlaceUsage& place : gpus_[i].memory->usage()) {
      if (place.space == MemorySpace::Device) allocated += place.bytes;
    }
  }
  if (cudaSetDevice(first.cuda_index) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess) {
    cudaGetLastError();
    return first.most_by_driver;
  }
  if (first.free_at_start > free + allocated) {
    first.most_by_driver = std::max(first.most_by_driver, first.free_at_start - free - allocated);
  }
  return first.most_by_driver;
}

Expected<void> CudaPlatform::Impl::register_host(int device, std::string_view place, std::byte* data,
                                                 std::size_t bytes) {
  if (bytes == 0) return {};
  const auto known = registrations_.find(data);
  if (known != registrations_.end() && known->second.bytes == bytes) {  // several devices copy from the same weights
    ++known->second.count;
    return {};
  }
  if (addresses_.overlaps(data, bytes)) {
    return fail(ErrorCode::InvalidArgument,
                "Host memory for '" + std::string(place) + "' overlaps memory that is registered already.",
                "Register each range once, as a whole.");
  }
  const cudaError_t status = cudaSetDevice(gpus_[static_cast<std::size_t>(device)].cuda_index);
  if (status != cudaSuccess) return tl::unexpected(cuda::cuda_error("select a device", status));
  KRASIS_TRY(const cuda::AddressMap::Range range, cuda::page_lock(place, data, bytes));
  registrations_[data] = {bytes, 1};
  addresses_.add(data, range);
  return {};
}

void CudaPlatform::Impl::unregister_host(std::byte* data) {
  const auto found = registrations_.find(data);
  if (found == registrations_.end() || --found->second.count > 0) return;
  registrations_.erase(found);
  addresses_.remove(data);
  cuda::page_unlock(data);
}

}  // namespace krasis

#include <cuda_runtime.h>

#include "kernels/cuda/probe.h"

namespace krasis {
namespace {

tl::unexpected<Error> refused(const char* what, cudaError_t status) {
  return fail(ErrorCode::Io, std::string("CUDA could not ") + what + ": " + cudaGetErrorString(status) + ".",
              "Check the GPU with nvidia-smi, or use the host device.");
}

/// Selects a device and puts the caller's one back at the end.
class SelectedDevice {
 public:
  explicit SelectedDevice(int index) {
    cudaGetDevice(&previous_);
    status_ = cudaSetDevice(index);
  }
  ~SelectedDevice() { cudaSetDevice(previous_); }
  SelectedDevice(const SelectedDevice&) = delete;
  SelectedDevice& operator=(const SelectedDevice&) = delete;
  cudaError_t status() const { return status_; }

 private:
  int previous_ = 0;
  cudaError_t status_ = cudaSuccess;
};

Expected<CudaDeviceInfo> describe(int index) {
  cudaDeviceProp properties{};
  if (const auto status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) {
    return refused("describe a device", status);
  }
  char pci_bus_id[32] = {};
  if (const auto status = cudaDeviceGetPCIBusId(pci_bus_id, sizeof(pci_bus_id), index); status != cudaSuccess) {
    return refused("name a device's PCI address", status);
  }
  const SelectedDevice selected(index);
  if (selected.status() != cudaSuccess) return refused("select a device", selected.status());
  CudaDeviceInfo info{properties.name, 0, 0, properties.major, properties.minor, pci_bus_id};
  if (const auto status = cudaMemGetInfo(&info.free_bytes, &info.total_bytes); status != cudaSuccess) {
    return refused("ask for a device's memory", status);
  }
  return info;
}

}  // namespace

Expected<std::vector<CudaDeviceInfo>> cuda_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) return std::vector<CudaDeviceInfo>{};
  if (status == cudaErrorInsufficientDriver || status == cudaErrorSystemDriverMismatch ||
      status == cudaErrorStubLibrary) {
    int driver = 0;  // 0 without a driver, else e.g. 12040 for CUDA 12.4
    cudaDriverGetVersion(&driver);
    const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
    return fail(ErrorCode::Unsupported,
                driver == 0 ? "No NVIDIA driver was found, so no GPU can be used."
                            : "The NVIDIA driver supports CUDA " + version(driver) + ", but this program needs CUDA " +
                                  version(CUDART_VERSION) + ".",
                "Install a current NVIDIA driver, or use the host device.");
  }
  if (status != cudaSuccess) return refused("list the devices", status);
  std::vector<CudaDeviceInfo> devices;
  for (int index = 0; index < count; ++index) {
    KRASIS_TRY(auto info, describe(index));
    devices.push_back(std::move(info));
  }
  return devices;
}

}  // namespace krasis

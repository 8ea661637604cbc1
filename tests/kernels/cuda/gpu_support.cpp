#include "kernels/cuda/probe.h"
#include "platform_support.h"

namespace krasis::testing_support {
namespace {

const Expected<std::vector<CudaDeviceInfo>>& gpus() {
  static const auto devices = cuda_devices();
  return devices;
}

}  // namespace

std::string why_no_gpu() {
  if (!gpus()) return gpus().error().message();
  return gpus()->empty() ? "there is a driver, but no GPU" : "";
}

int gpu_count() {
  return gpus() ? static_cast<int>(gpus()->size()) : 1;
}

const CudaOperations& platform_operations() {
  static const CudaOperations table = [] {
    CudaOperations some;
    some.set<FillArgs>(cuda::run<FillArgs>);
    some.set<AddArgs>(cuda::run<AddArgs>);
    return some;
  }();
  return table;
}

}  // namespace krasis::testing_support

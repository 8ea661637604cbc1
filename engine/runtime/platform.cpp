#include "engine/runtime/platform.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/runtime/setup.h"
#include "kernels/host/host_platform.h"
#ifdef KRASIS_HAVE_CUDA
#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/cuda_platform.h"
#include "kernels/cuda/probe.h"
#endif

namespace krasis {
namespace {

std::size_t budget_of(const RunConfiguration& configuration) {
  return static_cast<std::size_t>(configuration.vram_budget_mib) << 20;
}

class OnHost final : public Platform {
 public:
  explicit OnHost(std::unique_ptr<HostPlatform> platform) : platform_(std::move(platform)) {}

  std::vector<Device*> devices() override {
    std::vector<Device*> devices;
    for (int i = 0; i < platform_->device_count(); ++i) devices.push_back(&platform_->device(i));
    return devices;
  }
  Expected<void> check() const override {
    const auto violations = platform_->violations();
    if (violations.empty()) return {};
    return fail(ErrorCode::Conflict,
                fmt::format("{} unordered accesses were found; the first: {}", violations.size(), violations.front().message()),
                "This is a defect of the program: please report it.");
  }
  std::vector<TraceEntry> trace() const override { return platform_->trace(); }

 private:
  std::unique_ptr<HostPlatform> platform_;
};

Expected<std::unique_ptr<Platform>> open_host(const RunConfiguration& configuration, const EngineOptions& options,
                                              const HostCompute& cpu) {
  HostPlatformOptions host;
  host.team = cpu.team;
  host.devices = configuration.device_count;
  host.budgets = {budget_of(configuration)};
  host.schedule = options.schedule_seed ? Schedule::Seeded : Schedule::Threads;
  host.seed = options.schedule_seed.value_or(0);
  host.check_order = options.check_order;
  host.trace = options.trace;
  KRASIS_TRY(auto platform, HostPlatform::create(host, *cpu.operations));
  return std::make_unique<OnHost>(std::move(platform));
}

#ifdef KRASIS_HAVE_CUDA

class OnCuda final : public Platform {
 public:
  explicit OnCuda(std::unique_ptr<CudaPlatform> platform) : platform_(std::move(platform)) {}

  std::vector<Device*> devices() override {
    std::vector<Device*> devices;
    for (int i = 0; i < platform_->device_count(); ++i) devices.push_back(&platform_->device(i));
    return devices;
  }
  Expected<void> check() const override { return {}; }
  std::vector<TraceEntry> trace() const override { return platform_->trace(); }

 private:
  std::unique_ptr<CudaPlatform> platform_;
};

Expected<std::unique_ptr<Platform>> open_cuda(const RunConfiguration& configuration, const EngineOptions& options) {
  KRASIS_TRY(const std::vector<CudaDeviceInfo> gpus, cuda_devices());
  if (gpus.empty()) {
    return fail(ErrorCode::Unsupported, "There is a driver, but no GPU that can be used.", "Choose the device \"host\".");
  }
  CudaPlatformOptions cuda;
  cuda.devices.clear();
  for (int i = 0; i < configuration.device_count; ++i) {  // more devices than GPUs share them
    cuda.devices.push_back({.cuda_index = i % static_cast<int>(gpus.size()), .budget_bytes = budget_of(configuration)});
  }
  cuda.trace = options.trace;
  cuda.poison = options.poison;
  KRASIS_TRY(auto platform, CudaPlatform::create(cuda));
  return std::make_unique<OnCuda>(std::move(platform));
}

#else

Expected<std::unique_ptr<Platform>> open_cuda(const RunConfiguration&, const EngineOptions&) {
  return fail(ErrorCode::Unsupported, "This build has no CUDA device.",
              "Build it where the CUDA Toolkit is installed, or choose the device \"host\".");
}

#endif

}  // namespace

Expected<std::unique_ptr<Platform>> Platform::open(const RunConfiguration& configuration, const EngineOptions& options,
                                                   const HostCompute& cpu) {
  if (configuration.device == "host") return open_host(configuration, options, cpu);
  if (configuration.device == "cuda") return open_cuda(configuration, options);
  return fail(ErrorCode::Unsupported, fmt::format("There is no device \"{}\".", configuration.device),
              "Choose \"host\" or \"cuda\".");
}

std::vector<AcceleratorInfo> accelerators(std::string* why_no_gpu) {
  const std::size_t memory = host_hardware().host_memory_bytes;
  std::vector<AcceleratorInfo> found{{"host", "", "", memory, memory}};
  std::string why;
#ifdef KRASIS_HAVE_CUDA
  if (const auto gpus = cuda_devices(); !gpus) {
    why = gpus.error().cause;
  } else if (gpus->empty()) {
    why = "There is a driver, but no GPU that can be used.";
  } else {
    for (const CudaDeviceInfo& gpu : *gpus) found.push_back({"cuda", gpu.name, gpu.pci_bus_id, gpu.total_bytes, gpu.free_bytes});
  }
#else
  why = "This build has no CUDA device.";
#endif
  if (why_no_gpu != nullptr) *why_no_gpu = why;
  return found;
}

Expected<AcceleratorCeilings> measure_accelerator(const std::string& kind) {
  AcceleratorCeilings ceilings;
#ifdef KRASIS_HAVE_CUDA
  if (kind == "cuda") {
    KRASIS_TRY(const CudaCeilings gpu, measure_ceilings(0, {.dense_bf16_tflops = dense_bf16_tflops}));
    for (const CopyCeiling& copy : gpu.copies) ceilings.h2d_gb_per_s = std::max(ceilings.h2d_gb_per_s, copy.h2d_gb_per_s);
    ceilings.device_read_gb_per_s = gpu.device_read_gb_per_s;
    ceilings.dense_tflop_per_s = gpu.dense_bf16_tflops.value_or(0);
  }
#endif
  (void)kind;
  return ceilings;
}

}  // namespace krasis

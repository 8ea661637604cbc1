#include "engine/runtime/platform.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "engine/config/parameters.h"
#include "engine/system/memory.h"
#include "engine/weights/host_pages.h"
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
  Expected<void> set_tracing(bool tracing) override {
    platform_->set_tracing(tracing);
    return {};
  }
  std::vector<TraceEntry> trace() const override { return platform_->trace(); }
  PlatformActivity activity() const override { return platform_->activity(); }

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
  host.spread = [nodes = cpu.numa_shards](std::byte* data, std::size_t bytes) {
    spread(PageSystem::real(), data, bytes, nodes);
  };
  KRASIS_TRY(auto platform, HostPlatform::create(host, *cpu.operations));
  return std::make_unique<OnHost>(std::move(platform));
}

#ifdef KRASIS_HAVE_CUDA

class OnCuda final : public Platform {
 public:
  OnCuda(std::unique_ptr<CudaPlatform> platform, std::vector<std::string> pci_bus_ids)
      : platform_(std::move(platform)), pci_bus_ids_(std::move(pci_bus_ids)) {}

  std::vector<Device*> devices() override {
    std::vector<Device*> devices;
    for (int i = 0; i < platform_->device_count(); ++i) devices.push_back(&platform_->device(i));
    return devices;
  }
  Expected<void> check() const override { return {}; }
  Expected<void> set_tracing(bool tracing) override { return platform_->set_tracing(tracing); }
  std::vector<TraceEntry> trace() const override { return platform_->trace(); }
  PlatformActivity activity() const override { return platform_->activity(); }
  std::vector<std::string> pci_bus_ids() const override { return pci_bus_ids_; }

 private:
  std::unique_ptr<CudaPlatform> platform_;
  std::vector<std::string> pci_bus_ids_;
};

/// The GPUs that a configuration chose, in its order; without a choice all of them.
Expected<std::vector<int>> chosen_gpus(const RunConfiguration& configuration, std::size_t count) {
  KRASIS_TRY(std::vector<int> chosen, gpu_indices(configuration.gpus));
  for (const int gpu : chosen) {
    if (static_cast<std::size_t>(gpu) < count) continue;
    return fail(ErrorCode::NotFound, fmt::format("There is no GPU {}: this machine has {}.", gpu, count),
                fmt::format("Choose among 0 to {} in gpus.", count - 1));
  }
  if (chosen.empty()) {
    chosen.resize(count);
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  return chosen;
}

Expected<std::unique_ptr<Platform>> open_cuda(const RunConfiguration& configuration, const EngineOptions& options) {
  KRASIS_TRY(const std::vector<CudaDeviceInfo> gpus, cuda_devices());
  if (gpus.empty()) {
    return fail(ErrorCode::Unsupported, "There is a driver, but no GPU that can be used.", "Choose the device \"host\".");
  }
  CudaPlatformOptions cuda;
  cuda.devices.clear();
  KRASIS_TRY(const std::vector<int> chosen, chosen_gpus(configuration, gpus.size()));
  std::vector<std::string> pci_bus_ids;
  for (std::size_t i = 0; i < static_cast<std::size_t>(configuration.device_count); ++i) {  // more devices than GPUs share them
    const int gpu = chosen[i % chosen.size()];
    cuda.devices.push_back({.cuda_index = gpu, .budget_bytes = budget_of(configuration)});
    if (i < chosen.size()) pci_bus_ids.push_back(gpus[static_cast<std::size_t>(gpu)].pci_bus_id);
  }
  cuda.trace = options.trace;
  cuda.poison = options.poison;
  KRASIS_TRY(auto platform, CudaPlatform::create(cuda));
  return std::make_unique<OnCuda>(std::move(platform), std::move(pci_bus_ids));
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
  const HostMemory memory = host_memory();
  std::vector<AcceleratorInfo> found{{"host", "", "", memory.total_bytes, memory.usable_bytes()}};
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

Expected<AcceleratorCeilings> measure_accelerator(const RunConfiguration& configuration) {
  AcceleratorCeilings ceilings;
#ifdef KRASIS_HAVE_CUDA
  if (configuration.device == "cuda") {
    KRASIS_TRY(const std::vector<int> chosen, gpu_indices(configuration.gpus));
    KRASIS_TRY(const CudaCeilings gpu, measure_ceilings(chosen.empty() ? 0 : chosen.front(), {.dense_bf16_tflops = dense_bf16_tflops}));
    for (const CopyCeiling& copy : gpu.copies) ceilings.h2d_gb_per_s = std::max(ceilings.h2d_gb_per_s, copy.h2d_gb_per_s);
    ceilings.device_read_gb_per_s = gpu.device_read_gb_per_s;
    ceilings.dense_tflop_per_s = gpu.dense_bf16_tflops.value_or(0);
  }
#endif
  (void)configuration;
  return ceilings;
}

}  // namespace krasis

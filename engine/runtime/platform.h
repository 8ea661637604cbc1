#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/config/run_configuration.h"
#include "engine/placement/plan.h"
#include "engine/runtime/decode.h"
#include "engine/runtime/engine.h"
#include "kernels/device.h"
#include "kernels/host/trace.h"

namespace krasis {

/// The devices that a configuration asks for: pretended ones of the host, or GPUs.
class Platform {
 public:
  /// Unsupported if this build or this machine has no such device; otherwise the errors of HostPlatform::create and
  /// CudaPlatform::create. `cpu` computes in the host device's place; a GPU does not need it.
  static Expected<std::unique_ptr<Platform>> open(const RunConfiguration& configuration, const EngineOptions& options,
                                                  const HostCompute& cpu);
  virtual ~Platform() = default;

  /// They live as long as the platform, and their buffers must die before it.
  virtual std::vector<Device*> devices() = 0;
  /// Conflict if an access was found that nothing orders (host device with check_order): then no output is a result.
  virtual Expected<void> check() const = 0;
  /// Starts a new trace, or ends tracing and forgets it; between steps, when nothing runs.
  virtual Expected<void> set_tracing(bool tracing) = 0;
  /// The operations that have run while tracing, in order of their start.
  virtual std::vector<TraceEntry> trace() const = 0;
  virtual PlatformActivity activity() const = 0;
  /// Of the GPUs, each once; empty for the host device.
  virtual std::vector<std::string> pci_bus_ids() const { return {}; }
};

/// An accelerator that a run could use.
struct AcceleratorInfo {
  std::string kind;  ///< "host" or "cuda", as the parameter `device` has it
  std::string name;
  std::string pci_bus_id;  ///< of a GPU
  std::size_t total_bytes = 0, free_bytes = 0;
};

/// The host device first, then the GPUs that can be used. `why_no_gpu` says why there are none. Creates a context on each
/// GPU, so it belongs into a worker.
std::vector<AcceleratorInfo> accelerators(std::string* why_no_gpu = nullptr);

/// What a GPU reaches. GB are 1e9 bytes; 0 = not known.
struct AcceleratorCeilings {
  double h2d_gb_per_s = 0;          ///< page-locked host memory to the GPU, large copies
  double device_read_gb_per_s = 0;  ///< its own memory
  double dense_tflop_per_s = 0;     ///< a large dense BF16 product
};

/// Measures the first GPU of the configuration, which should be idle: a second or two. All 0 for the host device.
Expected<AcceleratorCeilings> measure_accelerator(const RunConfiguration& configuration);

}  // namespace krasis

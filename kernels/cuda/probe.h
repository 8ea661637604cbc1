#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"

namespace krasis {

/// One CUDA device, as its driver describes it now.
struct CudaDeviceInfo {
  std::string name;
  std::size_t total_bytes = 0;
  std::size_t free_bytes = 0;  ///< at the time of the call, with this process's own context created
  int compute_major = 0;       ///< compute capability, e.g. 9.0
  int compute_minor = 0;
  std::string pci_bus_id;  ///< "0000:3b:00.0"
};

/// Lists the CUDA devices that this process may use, in CUDA's order; empty if a driver is there, but no device. Asking
/// for free memory creates a context on each device (some hundred MiB and milliseconds), so this belongs into a worker
/// process. Fails with Unsupported where there is no driver or an older one than this program needs, and with Io if the
/// driver refuses.
Expected<std::vector<CudaDeviceInfo>> cuda_devices();

}  // namespace krasis

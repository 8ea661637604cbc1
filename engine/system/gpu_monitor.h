#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/system/nvml.h"

namespace krasis {

/// The samples of one quantity; count 0 = never known.
struct SampledRange {
  int count = 0;
  double minimum = 0, mean = 0, maximum = 0;
  void add(double value);
};

/// What a GPU was like while it was watched.
struct GpuUse {
  std::string pci_bus_id;
  int samples = 0;
  SampledRange power_w, sm_clock_mhz, memory_clock_mhz, temperature_c, pcie_generation, pcie_width;
  std::optional<int> pcie_generation_max, pcie_width_max;
  std::map<std::string, int> reasons;  ///< why clocks were low -> in how many samples
};

/// Samples GPUs' states from a thread of its own: once when it is made, then at each interval, once more at the end.
class GpuMonitor {
 public:
  explicit GpuMonitor(const std::vector<std::string>& pci_bus_ids, const std::string& library = "libnvidia-ml.so.1",
                      std::chrono::milliseconds interval = std::chrono::milliseconds(500));
  /// Ends the sampling; one entry for each GPU.
  std::vector<GpuUse> stop();
  /// As Nvml's.
  const std::string& unknown_because() const { return nvml_.unknown_because(); }

 private:
  void sample();

  Nvml nvml_;
  std::vector<GpuUse> uses_;
  std::jthread thread_;
};

}  // namespace krasis

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace krasis {

/// What a GPU's driver tells of its state now. An empty value is unknown: the driver does not tell it for this GPU, or
/// the library is not there (Nvml::unknown_because()).
struct GpuState {
  std::optional<double> power_w;
  std::optional<int> sm_clock_mhz, memory_clock_mhz;
  std::optional<int> pcie_generation, pcie_generation_max;
  std::optional<int> pcie_width, pcie_width_max;  ///< lanes
  std::optional<int> temperature_c;
  /// Why the clocks are lower than they could be ("power cap", "thermal limit", ...); empty list = for no reason.
  std::optional<std::vector<std::string>> throttle_reasons;
};

/// A GPU as its driver lists it. No context is made, so asking costs none of its memory.
struct GpuFacts {
  std::string name;
  std::string pci_bus_id;
  std::uint64_t total_bytes = 0, free_bytes = 0;  ///< 0 = unknown
};

/// The names of the bits of nvmlDeviceGetCurrentClocksThrottleReasons; "gpu idle" is no throttling, but told, too.
std::vector<std::string> throttle_reason_names(std::uint64_t bits);
/// Whether a reason means that the GPU was slower than its settings allow: power, heat or its supply. Idle clocks and
/// clocks that someone set are not.
bool is_throttling(std::string_view reason);

/// NVIDIA's management library, which comes with the driver and is loaded when the program runs. Reading changes
/// nothing. Not thread-safe.
class Nvml {
 public:
  /// Never fails: without the library, everything is unknown.
  explicit Nvml(const std::string& library = "libnvidia-ml.so.1");
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  /// Empty if the library works, else a sentence.
  const std::string& unknown_because() const { return unknown_because_; }
  /// "550.54.15"; empty = unknown.
  std::string driver_version() const;
  /// All GPUs, also those that CUDA may not use (CUDA_VISIBLE_DEVICES), in the driver's order.
  std::vector<GpuFacts> gpus() const;
  /// @param pci_bus_id  as in CudaDeviceInfo or GpuFacts
  GpuState read(const std::string& pci_bus_id) const;

 private:
  struct Functions;
  std::unique_ptr<Functions> functions_;
  std::string unknown_because_;
};

}  // namespace krasis

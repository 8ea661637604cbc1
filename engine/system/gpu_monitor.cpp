#include "engine/system/gpu_monitor.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace krasis {
namespace {

template <class T>
void add(SampledRange& range, const std::optional<T>& value) {
  if (value) range.add(static_cast<double>(*value));
}

}  // namespace

void SampledRange::add(double value) {
  minimum = count == 0 ? value : std::min(minimum, value);
  maximum = count == 0 ? value : std::max(maximum, value);
  mean += (value - mean) / ++count;
}

GpuMonitor::GpuMonitor(const std::vector<std::string>& pci_bus_ids, const std::string& library,
                       std::chrono::milliseconds interval)
    : nvml_(library) {
  for (const std::string& id : pci_bus_ids) uses_.push_back({.pci_bus_id = id});
  if (!unknown_because().empty() || uses_.empty()) return;
  sample();
  thread_ = std::jthread([this, interval](std::stop_token stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, stop, interval, [&] { return stop.stop_requested(); })) sample();
    sample();
  });
}

std::vector<GpuUse> GpuMonitor::stop() {
  thread_ = {};
  return uses_;
}

void GpuMonitor::sample() {
  for (GpuUse& use : uses_) {
    const GpuState state = nvml_.read(use.pci_bus_id);
    ++use.samples;
    add(use.power_w, state.power_w);
    add(use.sm_clock_mhz, state.sm_clock_mhz);
    add(use.memory_clock_mhz, state.memory_clock_mhz);
    add(use.temperature_c, state.temperature_c);
    add(use.pcie_generation, state.pcie_generation);
    add(use.pcie_width, state.pcie_width);
    use.pcie_generation_max = state.pcie_generation_max;
    use.pcie_width_max = state.pcie_width_max;
    for (const std::string& reason : state.throttle_reasons.value_or(std::vector<std::string>{})) ++use.reasons[reason];
  }
}

}  // namespace krasis

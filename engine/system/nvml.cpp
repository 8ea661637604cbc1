#include "engine/system/nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace krasis {
namespace {

// From nvml.h, which toolkits need not have: NVML_SUCCESS, nvmlTemperatureSensors_t, nvmlClockType_t, nvmlPciInfo_t,
// nvmlMemory_t.
using Status = int;
using Handle = struct nvmlDevice_st*;
constexpr Status kSuccess = 0;
constexpr int kTemperatureOfGpu = 0;
constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;
struct PciInfo {
  char legacy_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char id[32];
};
struct Memory {
  unsigned long long total, free, used;
};

}  // namespace

struct Nvml::Functions {
  void* library = nullptr;
  Status (*init)() = nullptr;
  Status (*shutdown)() = nullptr;
  const char* (*error_string)(Status) = nullptr;
  Status (*handle_by_pci_bus_id)(const char*, Handle*) = nullptr;
  // What an old driver may lack:
  Status (*driver_version)(char*, unsigned) = nullptr;
  Status (*count)(unsigned*) = nullptr;
  Status (*handle_by_index)(unsigned, Handle*) = nullptr;
  Status (*device_name)(Handle, char*, unsigned) = nullptr;
  Status (*pci_info)(Handle, PciInfo*) = nullptr;
  Status (*memory_info)(Handle, Memory*) = nullptr;
  Status (*power_usage)(Handle, unsigned*) = nullptr;  // mW
  Status (*clock_info)(Handle, int, unsigned*) = nullptr;
  Status (*pcie_generation)(Handle, unsigned*) = nullptr;
  Status (*pcie_generation_max)(Handle, unsigned*) = nullptr;
  Status (*pcie_width)(Handle, unsigned*) = nullptr;
  Status (*pcie_width_max)(Handle, unsigned*) = nullptr;
  Status (*temperature)(Handle, int, unsigned*) = nullptr;
  Status (*throttle_reasons)(Handle, unsigned long long*) = nullptr;

  template <class Function>
  bool find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
  }
  ~Functions() {
    if (library) dlclose(library);
  }
};

std::vector<std::string> throttle_reason_names(std::uint64_t bits) {
  static constexpr const char* kNames[] = {
      "gpu idle",      "application clocks",        "power cap",   "hardware slowdown", "sync boost",
      "thermal limit", "hardware thermal slowdown", "power brake", "display clocks",
  };
  std::vector<std::string> names;
  for (std::size_t bit = 0; bit < std::size(kNames); ++bit) {
    if ((bits >> bit) & 1) names.emplace_back(kNames[bit]);
  }
  if (bits >> std::size(kNames)) names.emplace_back("another reason");
  return names;
}

bool is_throttling(std::string_view reason) {
  static constexpr std::string_view kReasons[] = {"power cap", "hardware slowdown", "thermal limit",
                                                  "hardware thermal slowdown", "power brake"};
  return std::ranges::find(kReasons, reason) != std::end(kReasons);
}

Nvml::Nvml(const std::string& library) : functions_(std::make_unique<Functions>()) {
  Functions& f = *functions_;
  f.library = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!f.library) {
    unknown_because_ = "NVIDIA's management library (" + library + ") is not on this machine.";
    return;
  }
  if (!f.find(f.init, "nvmlInit_v2") || !f.find(f.shutdown, "nvmlShutdown") ||
      !f.find(f.error_string, "nvmlErrorString") ||
      !f.find(f.handle_by_pci_bus_id, "nvmlDeviceGetHandleByPciBusId_v2")) {
    unknown_because_ = "NVIDIA's management library (" + library + ") is another one than this program knows.";
    return;
  }
  f.find(f.driver_version, "nvmlSystemGetDriverVersion");
  f.find(f.count, "nvmlDeviceGetCount_v2");
  f.find(f.handle_by_index, "nvmlDeviceGetHandleByIndex_v2");
  f.find(f.device_name, "nvmlDeviceGetName");
  f.find(f.pci_info, "nvmlDeviceGetPciInfo_v3");
  f.find(f.memory_info, "nvmlDeviceGetMemoryInfo");
  f.find(f.power_usage, "nvmlDeviceGetPowerUsage");
  f.find(f.clock_info, "nvmlDeviceGetClockInfo");
  f.find(f.pcie_generation, "nvmlDeviceGetCurrPcieLinkGeneration");
  f.find(f.pcie_generation_max, "nvmlDeviceGetMaxPcieLinkGeneration");
  f.find(f.pcie_width, "nvmlDeviceGetCurrPcieLinkWidth");
  f.find(f.pcie_width_max, "nvmlDeviceGetMaxPcieLinkWidth");
  f.find(f.temperature, "nvmlDeviceGetTemperature");
  if (!f.find(f.throttle_reasons, "nvmlDeviceGetCurrentClocksEventReasons")) {
    f.find(f.throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
  }
  if (const Status status = f.init(); status != kSuccess) {
    unknown_because_ = std::string("NVIDIA's management library does not start: ") + f.error_string(status) + ".";
  }
}

Nvml::~Nvml() {
  if (unknown_because_.empty()) functions_->shutdown();
}

std::string Nvml::driver_version() const {
  std::array<char, 96> text{};
  const Functions& f = *functions_;
  const bool known = unknown_because_.empty() && f.driver_version && f.driver_version(text.data(), text.size() - 1) == kSuccess;
  return known ? text.data() : "";
}

std::vector<GpuFacts> Nvml::gpus() const {
  std::vector<GpuFacts> gpus;
  const Functions& f = *functions_;
  unsigned count = 0;
  if (!unknown_because_.empty() || !f.count || !f.handle_by_index || f.count(&count) != kSuccess) return gpus;
  for (unsigned index = 0; index < count; ++index) {
    Handle gpu = nullptr;
    if (f.handle_by_index(index, &gpu) != kSuccess) continue;
    std::array<char, 128> name{};
    PciInfo pci{};
    Memory memory{};
    GpuFacts facts;
    if (f.device_name && f.device_name(gpu, name.data(), name.size() - 1) == kSuccess) facts.name = name.data();
    if (f.pci_info && f.pci_info(gpu, &pci) == kSuccess) facts.pci_bus_id = pci.id;
    if (f.memory_info && f.memory_info(gpu, &memory) == kSuccess) {
      facts.total_bytes = memory.total;
      facts.free_bytes = memory.free;
    }
    gpus.push_back(std::move(facts));
  }
  return gpus;
}

GpuState Nvml::read(const std::string& pci_bus_id) const {
  GpuState state;
  const Functions& f = *functions_;
  Handle gpu = nullptr;
  if (!unknown_because_.empty() || f.handle_by_pci_bus_id(pci_bus_id.c_str(), &gpu) != kSuccess) return state;
  const auto ask = [&](auto function, auto... arguments) -> std::optional<int> {
    unsigned value = 0;
    if (!function || function(gpu, arguments..., &value) != kSuccess) return std::nullopt;
    return static_cast<int>(value);
  };
  if (const auto milliwatts = ask(f.power_usage)) state.power_w = *milliwatts / 1000.0;
  state.sm_clock_mhz = ask(f.clock_info, kClockSm);
  state.memory_clock_mhz = ask(f.clock_info, kClockMemory);
  state.pcie_generation = ask(f.pcie_generation);
  state.pcie_generation_max = ask(f.pcie_generation_max);
  state.pcie_width = ask(f.pcie_width);
  state.pcie_width_max = ask(f.pcie_width_max);
  state.temperature_c = ask(f.temperature, kTemperatureOfGpu);
  unsigned long long reasons = 0;
  if (f.throttle_reasons && f.throttle_reasons(gpu, &reasons) == kSuccess) {
    state.throttle_reasons = throttle_reason_names(reasons);
  }
  return state;
}

}  // namespace krasis

#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "app/cli.h"
#include "engine/runtime/platform.h"
#include "engine/system/nvml.h"
#include "engine/system/system_check.h"
#include "kernels/host/operations/operations.h"

namespace krasis::cli {
namespace {

const char* glyph(Severity severity) {
  switch (severity) {
    case Severity::Ok: return "\u2713";
    case Severity::Info: return "i";
    case Severity::Warning: return "!";
    case Severity::Unknown: break;
  }
  return "?";
}

/// The GPUs, by the driver and by this program: what can be used, and what not and why.
std::vector<Finding> gpu_findings() {
  std::string why_no_gpu;
  const std::vector<AcceleratorInfo> usable = accelerators(&why_no_gpu);
  const Nvml nvml;
  const std::string driver = nvml.driver_version();
  std::vector<Finding> findings;
  for (std::size_t i = 1; i < usable.size(); ++i) {  // behind the host device
    const auto gib = [](std::size_t bytes) { return static_cast<double>(bytes) / 1073741824.0; };
    findings.push_back({"gpu", Severity::Ok, fmt::format("GPU {}: {}", i - 1, usable[i].name),
                        fmt::format("{:.1f} of {:.1f} GiB free, PCI {}{}.", gib(usable[i].free_bytes), gib(usable[i].total_bytes),
                                    usable[i].pci_bus_id, driver.empty() ? "" : ", driver " + driver),
                        ""});
  }
  if (!findings.empty()) return findings;
  std::string detail = why_no_gpu;
  for (const GpuFacts& gpu : nvml.gpus()) detail += fmt::format(" The driver {} knows {} ({}).", driver, gpu.name, gpu.pci_bus_id);
  const bool present = !nvml.gpus().empty();
  findings.push_back({"gpu", present ? Severity::Warning : Severity::Info, "No GPU can be used", detail,
                      present ? "Install a build with CUDA and a current driver." : ""});
  return findings;
}

int check(bool json) {
  std::vector<Finding> findings = gpu_findings();
  for (Finding& finding : check_system({}, simd_level())) findings.push_back(std::move(finding));
  if (json) {
    std::cout << to_json(findings) << "\n";
    return kDone;
  }
  for (const Finding& f : findings) {
    std::cout << fmt::format("{} {:<8} {}\n           {}\n", glyph(f.severity), to_string(f.severity), f.title, f.detail);
    if (!f.remedy.empty()) std::cout << fmt::format("           -> {}\n", f.remedy);
  }
  return kDone;
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("check", "Look at what of this machine's settings costs speed, and say what helps");
  command->add_flag("--json", *json, "An array of objects: id, severity (ok, info, warning, unknown), title, detail, remedy");
  command->callback([&run, json] { run = [json] { return check(*json); }; });
}

}  // namespace krasis::cli

#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "app/cli.h"
#include "engine/bench/environment.h"
#include "engine/bench/limits.h"
#include "engine/runtime/compute_threads.h"
#include "engine/runtime/setup.h"

namespace krasis::cli {
namespace {

std::string place_name(int device) { return device < 0 ? "host memory" : fmt::format("device {}", device); }
double mib(std::size_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

int inspect(const RunConfiguration& configuration) {
  const auto model = load_model_spec(model_folder(configuration.model, find_resources().embedded_model()));
  if (!model) return report(model.error());
  const protocol::MachineFacts machine = machine_facts();
  std::cout << fmt::format("Model    {} ({}): {}\n", model->name, model->model_type, model_summary(*model));
  for (const std::string& key : model->unknown_keys) std::cout << fmt::format("         unknown key in config.json: {}\n", key);
  std::cout << fmt::format("Machine  {}, {}\n\n", machine.machine, machine.kernel);

  Hardware hardware = host_hardware();
  const Ceilings ceilings = measure_ceilings(*make_thread_team(configuration.threads));
  hardware.h2d_gb_per_s = ceilings.copy_gb_per_s;
  hardware.host_read_gb_per_s = hardware.device_read_gb_per_s = ceilings.read_gb_per_s;
  const auto plan = make_plan(*model, configuration, hardware);
  if (!plan) return report(plan.error());
  for (const PlanPlace& place : plan->places) {
    std::cout << fmt::format("{:<12} {:>10.1f} of {:.1f} MiB{}\n", place_name(place.device), mib(place.needed_bytes), mib(place.budget_bytes),
                             place.fits() ? "" : "  OVER BUDGET");
    for (const PlanItem& item : plan->items) {
      if (item.device == place.device) std::cout << fmt::format("  {:<20} {:>10.2f} MiB  {}\n", item.place, mib(item.bytes), item.meaning);
    }
  }
  for (const std::string& advice : plan->advice) std::cout << "  would help: " << advice << "\n";
  std::cout << fmt::format("\nPrefill copies {:.1f} MiB over the link ({:.1f} GB/s measured); decode reads {:.2f} MiB a token ({:.1f} GB/s measured).\n",
                           mib(plan->prefill_copy_bytes), ceilings.copy_gb_per_s, mib(plan->decode_bytes_per_token), ceilings.read_gb_per_s);
  return plan->fits() ? kDone : kRunFailed;
}

}  // namespace

void add_inspect(CLI::App& app, Run& run) {
  auto configuration = std::make_shared<RunConfiguration>();
  CLI::App* command = app.add_subcommand("inspect", "Show a model, this machine, and what a configuration would put where");
  add_parameters(*command, *configuration);
  command->callback([&run, configuration] { run = [configuration] { return inspect(*configuration); }; });
}

}  // namespace krasis::cli

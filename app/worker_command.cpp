#include "app/cli.h"
#include "engine/worker/worker.h"

namespace krasis::cli {

void add_worker(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("worker", "Speak the worker protocol on standard input and output (for the window)");
  command->callback([&run] {
    run = [] { return run_worker({.resources = find_resources(), .cache_directory = cache_directory()}); };
  });
}

}  // namespace krasis::cli

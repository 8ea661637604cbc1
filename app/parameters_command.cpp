#include <iostream>

#include "app/cli.h"
#include "engine/config/parameter_page.h"

namespace krasis::cli {

void add_parameter_page(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("parameters", "Print what every parameter is, as Markdown");
  command->callback([&run] {
    run = [] {
      std::cout << parameter_page();
      return kDone;
    };
  });
}

}  // namespace krasis::cli

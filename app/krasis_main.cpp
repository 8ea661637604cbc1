#include <exception>
#include <iostream>

#include "app/cli.h"

int main(int argc, char** argv) {
  using namespace krasis::cli;
  CLI::App app("Krasis: hybrid GPU + CPU inference of mixture-of-experts models. Exit codes: 0 done, 1 error, 2 wrong usage, "
               "3 a run failed or did not pass, 130 interrupted.",
               "krasis");
  app.require_subcommand(1);
  app.set_version_flag("--version", KRASIS_VERSION);
  Run run;
  add_bench(app, run);
  add_chat(app, run);
  add_inspect(app, run);
  add_check(app, run);
  add_export(app, run);
  add_parameter_page(app, run);
  add_worker(app, run);
  try {
    app.parse(argc, argv);
    return run();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  } catch (const std::exception& error) {
    std::cerr << "krasis: " << error.what() << "\n";
    return kError;
  }
}

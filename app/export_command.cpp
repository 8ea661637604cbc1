#include <iostream>
#include <memory>

#include "app/cli.h"
#include "app/tables.h"

namespace krasis::cli {
namespace {

struct ExportOptions {
  std::string database, format = "md", text, sweep;
};

int export_runs(const ExportOptions& options) {
  auto database = results::Database::open(options.database, {.mode = results::OpenMode::ReadOnly});
  if (!database) return report(database.error());
  results::RunFilter filter;
  filter.text = options.text;
  if (!options.sweep.empty()) filter.sweep = options.sweep;
  auto table = table_of(*database, filter, options.format);
  if (!table) return report(table.error());
  std::cout << *table;
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Run& run) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "Print stored runs as a table");
  command->add_option("--database", options->database, "The results database")->required();
  command->add_option("-o,--output", options->format, "md, csv or json")->check(CLI::IsMember({"md", "csv", "json"}))->capture_default_str();
  command->add_option("--sweep", options->sweep, "Only the runs of this sweep");
  command->add_option("--filter", options->text, "Only runs whose model, tags, notes ... contain this text");
  command->callback([&run, options] { run = [options] { return export_runs(*options); }; });
}

}  // namespace krasis::cli

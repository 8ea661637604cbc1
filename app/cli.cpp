#include "app/cli.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "engine/config/parameters.h"

namespace krasis::cli {

int report(const Error& error) {
  std::cerr << "krasis: " << error.cause << "\n";
  if (!error.remedy.empty()) std::cerr << "        " << error.remedy << "\n";
  return kError;
}

std::filesystem::path own_path() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path("krasis") : path;
}

Resources find_resources() {
  if (const char* path = std::getenv("KRASIS_RESOURCES")) return {path};
  const auto installed = own_path().parent_path().parent_path() / "share" / "krasis";
  std::error_code error;
  if (std::filesystem::is_directory(installed / "models", error)) return {installed};
  return {KRASIS_SOURCE_RESOURCES};
}

std::filesystem::path cache_directory() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if ((xdg == nullptr || *xdg == '\0') && (home == nullptr || *home == '\0')) return {};
  const std::filesystem::path path = (xdg != nullptr && *xdg != '\0' ? std::filesystem::path(xdg) : std::filesystem::path(home) / ".cache") / "krasis";
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? std::filesystem::path() : path;
}

namespace {

CLI::Option* add_flag(CLI::App& command, std::string name, const Parameter& parameter,
                      RunConfiguration& configuration) {
  std::replace(name.begin(), name.end(), '_', '-');
  return command.add_option_function<std::string>("--" + name, [&](const std::string& text) {
    if (auto done = parameter.set(configuration, text); !done) throw CLI::ValidationError(done.error().message());
  });
}

}  // namespace

void add_parameters(CLI::App& command, RunConfiguration& configuration) {
  for (const Parameter& parameter : parameters()) {
    std::string help(parameter.help);
    if (const std::string range = parameter.range_text(); !range.empty()) help += " (" + range + ")";
    help += " [" + parameter.default_text() + "]";
    add_flag(command, std::string(parameter.name), parameter, configuration)
        ->description(help)
        ->type_name(parameter.unit.empty() ? "VALUE" : std::string(parameter.unit))
        ->group(std::string(name_of(parameter.group)));
  }
  for (const Parameter& renamed : renamed_parameters()) {
    add_flag(command, std::string(renamed.old_name), renamed, configuration)->group("");  // not in the help
  }
}

}  // namespace krasis::cli

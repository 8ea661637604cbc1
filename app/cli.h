#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/bench/session.h"
#include "engine/config/run_configuration.h"

/// What the subcommands of `krasis` share. Tables go to standard output, progress and errors to standard error.
namespace krasis::cli {

/// Exit codes: 0 done, 1 an error (its cause and remedy were printed), 2 wrong usage, 3 a run failed, crashed or did not
/// PASS, 130 interrupted.
enum ExitCode : int { kDone = 0, kError = 1, kUsage = 2, kRunFailed = 3, kInterrupted = 130 };

/// Prints cause and remedy; returns kError.
int report(const Error& error);

/// KRASIS_RESOURCES, or the installed folder beside the executable (../share/krasis), or the source tree's.
Resources find_resources();
/// $XDG_CACHE_HOME/krasis or ~/.cache/krasis; empty if neither can be made.
std::filesystem::path cache_directory();
/// The path of the running program.
std::filesystem::path own_path();

/// Adds one option for each parameter of the table ("--hcs-share") to a subcommand; parsed values go to `configuration`.
void add_parameters(CLI::App& command, RunConfiguration& configuration);

/// Each adds its subcommand and sets `run` when it was chosen.
using Run = std::function<int()>;
void add_worker(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);
void add_chat(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_check(CLI::App& app, Run& run);
void add_export(CLI::App& app, Run& run);
void add_parameter_page(CLI::App& app, Run& run);

}  // namespace krasis::cli

#pragma once

namespace krasis::ui {

/// Runs the workbench's window until it is closed; the result is the process's exit code. Understands `--database FILE`
/// and `--worker COMMAND` besides Qt's own options.
int run_workbench(int argc, char** argv);

}  // namespace krasis::ui

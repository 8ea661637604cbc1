#pragma once

#include <QString>
#include <QStringList>
#include <vector>

#include "engine/placement/plan.h"
#include "engine/system/system_check.h"
#include "ui/models/samples_model.h"

namespace krasis::ui {

/// What the window is given from outside. Nothing in ui/ looks for these things on its own.
struct Services {
  Hardware hardware;                      ///< for the plan, until a worker has said what its machine has
  std::vector<FactsModel::Fact> machine;  ///< what Home shows of this machine
  bool probe_devices = false;             ///< asks the worker at the start which devices there are
  QString worker_command;                 ///< command line of the worker, as a shell would split it
  bool worker_command_given = false;      ///< by the user, now: goes before the one in the settings
  QString resources;                      ///< folder with models/, presets/
  QString database;                       ///< results database to open first
  bool database_given = false;            ///< by the user, now: goes before the one in the settings
  QString settings_file;                  ///< INI file of the window's state; empty: the user's default
};

/// The name of the machine's fact about its GPU, which a worker knows better.
QString gpu_fact_name();

/// Findings as Home shows them, warnings first: what it is about; a glyph and the title, with the remedy in a second line;
/// detail and remedy on hover.
std::vector<FactsModel::Fact> facts_of(const std::vector<Finding>& findings);

/// Services of this machine: memory and processor from /proc, the findings of check_system(), the worker beside the executable, resources installed
/// beside it or in the source tree, the database in the user's data folder.
Services default_services(const QString& application_directory);

}  // namespace krasis::ui

#pragma once

#include <QObject>
#include <QTimer>
#include <optional>
#include <vector>

#include "engine/config/sweep.h"
#include "results_db/records.h"
#include "ui/models/sweep_models.h"

namespace krasis::ui {

class ConfigurationController;
class DatabaseService;
class QueueController;

/// A sweep: the form's configuration, the axes, the runs they expand to, and the way into the queue and into files.
class SweepController : public QObject {
  Q_OBJECT

 public:
  SweepController(ConfigurationController* configuration, QueueController* queue, DatabaseService* database,
                  QObject* parent = nullptr);
  AxesModel* axes() const { return axes_; }
  SweepRunsModel* runs() const { return runs_; }
  /// The sweep as a file holds it.
  Sweep document() const;
  QString name() const { return name_; }
  void set_name(const QString& name);

  /// Why nothing can be enqueued, a whole sentence; empty when it can.
  QString why_not_runnable() const;
  enum class Measured { Again, Skip };
  /// How many of the chosen runs have been measured with this very configuration.
  int measured_count();
  /// Queues the chosen runs. Returns how many. @param measured  what becomes of those that were measured already
  Expected<int> enqueue(Measured measured = Measured::Again);
  /// Replaces the axes and the form's configuration by those of a TOML file, the same that `krasis bench` reads.
  Expected<void> open(const QString& path);
  Expected<void> save(const QString& path) const;
  /// What put_configuration_back() would change, a whole sentence; empty when no file has replaced the configuration.
  QString replacement_text() const;
  /// Gives the form the configuration back that it had before a file replaced it. Axes stay.
  void put_configuration_back();
  QString first_sweep_path() const;

 signals:
  void changed();

 private:
  void rebuild();
  void schedule() { rebuild_.start(); }

  ConfigurationController* configuration_;
  QueueController* queue_;
  DatabaseService* database_;
  AxesModel* axes_;
  SweepRunsModel* runs_;
  Sweep opened_;  ///< what the file had beyond base and axes: exclusions, timeout
  std::optional<RunConfiguration> replaced_;  ///< of the form, before a file was opened
  QString name_;
  QString problem_;  ///< why the axes do not expand
  QTimer rebuild_;
};

}  // namespace krasis::ui

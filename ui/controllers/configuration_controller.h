#pragma once

#include <QHash>
#include <QObject>
#include <QString>
#include <QStringList>

#include "engine/config/parameters.h"
#include "engine/model/architecture.h"
#include "engine/placement/plan.h"
#include "results_db/records.h"
#include "ui/controllers/device_probe.h"
#include "ui/services.h"

namespace krasis::ui {

/// The config.json of what the parameter `model` names.
Expected<ModelSpec> resolve_model(const std::string& model, const QString& resources);
/// The files behind a model: a folder, or a config.json for synthetic weights.
QString model_path(const std::string& model, const QString& resources);
/// What is known of a model before a worker has read its weights: the fingerprint covers config.json and of each weight
/// file the name, the size and the first and last 64 KiB (with synthetic weights: config.json and the seed). The
/// worker's own replaces it when the run has loaded.
Expected<results::ModelRecord> model_record(const RunConfiguration& configuration, const QString& resources);

/// The configuration that the form shows, its problems and its plan. Chat and Sweep start from it.
class ConfigurationController : public QObject {
  Q_OBJECT

 public:
  explicit ConfigurationController(const Services* services, QObject* parent = nullptr);

  const RunConfiguration& configuration() const { return configuration_; }
  void set_configuration(const RunConfiguration& configuration);
  /// Sets one parameter as typed; a refused text is remembered as its problem until a good one comes.
  void set_text(const Parameter& parameter, const QString& text);

  /// Whether the text last typed for a parameter was refused: the configuration still has the value before.
  bool is_refused(std::string_view parameter) const;
  /// The parameter whose text is refused, and why; empty when none is.
  QString first_refusal() const;
  /// What stands under the field: why its text is refused or why the configuration cannot be; empty: nothing.
  QString problem_of(std::string_view parameter) const;
  /// Why nothing can run, a whole sentence; empty when it can. Over budget is no reason: see fits().
  QString why_not_runnable() const;
  bool fits() const { return plan_ && plan_->fits(); }

  const Expected<ModelSpec>& model() const { return model_; }
  const Expected<Plan>& plan() const { return plan_; }
  Expected<Plan> plan_of(const RunConfiguration& configuration);
  const Services& services() const { return *services_; }
  /// What the worker found; what needs a GPU is refused where there is none. Plans count with its machine's memory, which
  /// is this machine's only where the worker is not behind ssh; until it is known, and where an older worker does not say
  /// it, with the window's own (Services::hardware).
  void set_devices(const FoundDevices& devices);
  const FoundDevices& devices() const { return devices_; }

 signals:
  void changed();

 private:
  void update();
  Hardware hardware() const;
  /// What the configuration asks for and the worker's machine has not.
  std::vector<Problem> missing_devices(const RunConfiguration& configuration) const;

  const Services* services_;
  FoundDevices devices_;
  RunConfiguration configuration_;
  QHash<QString, QString> refused_;   ///< parameter -> why its text was refused
  QHash<QString, QString> problems_;  ///< parameter -> why the configuration cannot be
  Expected<ModelSpec> model_;
  Expected<Plan> plan_;
  std::string loaded_model_;
};

}  // namespace krasis::ui

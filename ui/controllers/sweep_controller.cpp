#include "ui/controllers/sweep_controller.h"

#include <QFile>
#include <algorithm>
#include <map>
#include <set>

#include "engine/config/configuration_io.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "results_db/from_worker.h"
#include "ui/controllers/queue_controller.h"
#include "ui/format.h"

namespace krasis::ui {
namespace {

QString over_budget_text(const Plan& plan) {
  QStringList parts;
  for (const auto& place : plan.places) {
    if (place.fits()) continue;
    const auto over = static_cast<qint64>(place.needed_bytes - place.budget_bytes);
    parts << (place.device < 0 ? SweepController::tr("host memory over by %1").arg(format_bytes(over))
                               : SweepController::tr("device %1 over by %2").arg(place.device).arg(format_bytes(over)));
  }
  return parts.join(QStringLiteral(", "));
}

}  // namespace

SweepController::SweepController(ConfigurationController* configuration, QueueController* queue,
                                 DatabaseService* database, QObject* parent)
    : QObject(parent),
      configuration_(configuration),
      queue_(queue),
      database_(database),
      axes_(new AxesModel(this)),
      runs_(new SweepRunsModel(this)) {
  rebuild_.setSingleShot(true);
  rebuild_.setInterval(0);
  connect(&rebuild_, &QTimer::timeout, this, &SweepController::rebuild);
  connect(axes_, &AxesModel::axes_changed, this, &SweepController::schedule);
  connect(configuration_, &ConfigurationController::changed, this, &SweepController::schedule);
  connect(database_, &DatabaseService::changed, this, &SweepController::schedule);
  connect(runs_, &SweepRunsModel::choice_changed, this, &SweepController::changed);
  rebuild();
}

void SweepController::set_name(const QString& name) {
  if (name_ == name) return;
  name_ = name;
  emit changed();
}

Sweep SweepController::document() const {
  Sweep sweep = opened_;
  sweep.title = name_.toStdString();
  sweep.base = configuration_->configuration();
  sweep.axes.clear();
  for (const auto& axis : axes_->rows()) {
    if (axis.included && !axis.values.empty()) sweep.axes.push_back({std::string(axis.parameter->name), axis.values});
  }
  return sweep;
}

void SweepController::rebuild() {
  axes_->set_defaults(configuration_->configuration());
  std::set<std::string> measured;
  if (database_->is_open()) {
    results::RunFilter done;
    done.statuses = {results::RunStatus::Done};
    if (const auto runs = database_->database().runs(done)) {
      for (const auto& run : *runs) measured.insert(run.configuration_json);
    }
  }
  std::vector<const Parameter*> columns;
  for (const auto& axis : axes_->rows()) {
    if (axis.included) columns.push_back(axis.parameter);
  }
  problem_ = axes_->first_problem();
  if (problem_.isEmpty()) problem_ = configuration_->first_refusal();
  std::vector<SweepRun> expanded;
  if (!problem_.isEmpty()) {
    // What was typed means nothing yet, and the value before it is not what is wanted.
  } else if (auto configurations = expand(document()); !configurations) {
    problem_ = format_error(configurations.error());
  } else {
    for (auto& configuration : *configurations) {
      SweepRun run;
      run.configuration = std::move(configuration);
      const auto problems = validate(run.configuration);
      if (!problems.empty()) {
        run.problem = format_error(problems.front().error);
      } else if (const auto plan = configuration_->plan_of(run.configuration); !plan) {
        run.problem = format_error(plan.error());
      } else {
        run.over_budget = over_budget_text(*plan);
        for (const auto& place : plan->places) {
          const auto needed = static_cast<qint64>(place.needed_bytes);
          if (place.device < 0) run.host_bytes = needed;
          else run.device_bytes = std::max(run.device_bytes, needed);
        }
      }
      run.measured = measured.contains(to_json(run.configuration));
      expanded.push_back(std::move(run));
    }
  }
  runs_->set_runs(std::move(expanded), std::move(columns));
  emit changed();
}

QString SweepController::why_not_runnable() const {
  if (!problem_.isEmpty()) return problem_;
  if (!database_->writable()) return database_->read_only_reason();
  if (!runs_->chosen().empty()) return {};
  for (const auto& run : runs_->runs()) {
    if (!run.problem.isEmpty()) return run.problem;
  }
  return tr("No run is chosen.");
}

int SweepController::measured_count() {
  if (rebuild_.isActive()) rebuild();
  const auto& runs = runs_->runs();
  return static_cast<int>(std::count_if(
      runs.begin(), runs.end(), [](const auto& run) { return run.chosen && run.problem.isEmpty() && run.measured; }));
}

Expected<int> SweepController::enqueue(Measured measured) {
  if (rebuild_.isActive()) rebuild();
  std::vector<results::NewRun> runs;
  std::map<std::string, results::ModelRecord> models;
  for (const auto& row : runs_->runs()) {
    if (!row.chosen || !row.problem.isEmpty() || (row.measured && measured == Measured::Skip)) continue;
    const auto& configuration = row.configuration;
    const std::string key = configuration.model + '\n' + std::to_string(configuration.synthetic_seed);
    if (!models.contains(key)) {
      KRASIS_TRY(models[key], model_record(configuration, configuration_->services().resources));
    }
    runs.push_back(results::new_run_of(configuration, name_.toStdString()));
    runs.back().model = models[key];
  }
  KRASIS_CHECK(queue_->enqueue(runs));
  return static_cast<int>(runs.size());
}

QString SweepController::first_sweep_path() const {
  return configuration_->services().resources + QStringLiteral("/presets/first-sweep.toml");
}

}  // namespace krasis::ui

// Sweeps as TOML files, the same that `krasis bench` reads.
#include <QFile>
#include <QSaveFile>

#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/sweep_controller.h"

namespace krasis::ui {

Expected<void> SweepController::open(const QString& path) {
  QFile file(path);
  if (!file.open(QIODevice::ReadOnly)) {
    return fail(ErrorCode::Io, "The sweep " + path.toStdString() + " could not be read.", file.errorString().toStdString() + ".");
  }
  KRASIS_TRY(auto sweep, sweep_from_toml(file.readAll().toStdString()));
  name_ = QString::fromStdString(sweep.title);
  axes_->clear();
  for (const auto& axis : sweep.axes) axes_->set_axis_values(axis.parameter, axis.values);
  opened_ = sweep;
  configuration_->set_configuration(sweep.base);
  rebuild();
  return {};
}

Expected<void> SweepController::save(const QString& path) const {
  QSaveFile file(path);
  const std::string text = to_toml(document());
  if (!file.open(QIODevice::WriteOnly) || file.write(text.data(), static_cast<qint64>(text.size())) < 0 || !file.commit()) {
    return fail(ErrorCode::Io, "The sweep could not be written to " + path.toStdString() + ".",
                file.errorString().toStdString() + ".");
  }
  return {};
}

}  // namespace krasis::ui

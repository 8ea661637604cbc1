// Sweeps as TOML files, the same that `krasis bench` reads.
#include <QFile>
#include <QSaveFile>
#include <utility>

#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/sweep_controller.h"
#include "ui/format.h"
#include "ui/models/results_model.h"

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
  if (const RunConfiguration& before = configuration_->configuration(); !(before == sweep.base)) replaced_ = before;
  configuration_->set_configuration(sweep.base);
  rebuild();
  return {};
}

QString SweepController::replacement_text() const {
  if (!replaced_) return {};
  constexpr qsizetype kShown = 3;
  QStringList changes;
  for (const auto& parameter : parameters()) {
    const QString now = QString::fromStdString(parameter.display(configuration_->configuration()));
    const QString before = QString::fromStdString(parameter.display(*replaced_));
    if (now == before) continue;
    const auto label = QString::fromUtf8(parameter.label.data(), static_cast<qsizetype>(parameter.label.size()));
    changes << tr("%1 %2 (was %3)").arg(label, shown_value(parameter.name, now), shown_value(parameter.name, before));
  }
  if (changes.isEmpty()) return {};
  const qsizetype more = changes.size() - kShown;
  QString text = changes.mid(0, kShown).join(QStringLiteral(", "));
  if (more > 0) text = tr("%1 and %2 more").arg(text).arg(more);
  return tr("The file has replaced the configuration: %1.").arg(text);
}

void SweepController::put_configuration_back() {
  if (!replaced_) return;
  configuration_->set_configuration(*std::exchange(replaced_, std::nullopt));
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

#include "ui/models/stage_progress.h"

#include <QCoreApplication>
#include <QLocale>

namespace krasis::ui {
namespace {

QString tr(const char* text) { return QCoreApplication::translate("StageProgress", text); }

double share_by_count(const protocol::Stage& stage, const RunConfiguration& configuration) {
  const int all = configuration.warmups + configuration.repetitions + 1;
  std::int64_t done = stage.index;
  if (stage.stage != "warm-up") done += configuration.warmups;
  if (stage.stage == "verdict") done = all - 1;
  return static_cast<double>(done) / all;
}

QString part_text(const protocol::Stage& stage) {
  if (stage.part.empty() || stage.all <= 0) return {};
  const QLocale locale;
  const QString done = locale.toString(static_cast<qlonglong>(stage.done));
  const QString all = locale.toString(static_cast<qlonglong>(stage.all));
  if (stage.part == "prompt") {
    return tr("prompt %1 of %2 tokens, %3 %").arg(done, all).arg(100 * stage.done / stage.all);
  }
  if (stage.part == "text") return tr("token %1 of %2").arg(done, all);
  if (stage.part == "reference") return tr("judging %1 of %2 positions").arg(done, all);
  return {};
}

}  // namespace

StageProgress progress_of(const protocol::Stage& stage, const RunConfiguration& configuration) {
  StageProgress progress{.share = stage.share};
  if (stage.share > 0) {
    progress.left_s = stage.left_s;
  } else {
    progress.share = share_by_count(stage, configuration);
  }
  progress.text = part_text(stage);
  if (stage.count > 1 || progress.text.isEmpty()) {
    const QString number = tr("%1 of %2").arg(stage.index + 1).arg(stage.count);
    progress.text = progress.text.isEmpty() ? number : number + QStringLiteral(", ") + progress.text;
  }
  return progress;
}

}  // namespace krasis::ui

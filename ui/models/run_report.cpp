#include "ui/models/run_report.h"

#include <QCoreApplication>
#include <QJsonDocument>
#include <QStringList>

#include "ui/models/results_model.h"

namespace krasis::ui {
namespace {

QString tr(const char* text) {
  return QCoreApplication::translate("RunReport", text);
}

QString from(const std::string& text) {
  return QString::fromStdString(text);
}

}  // namespace

QString failure_text(const results::FailureRecord& failure) {
  if (failure.cause.empty()) return {};
  QStringList lines{from(failure.cause)};
  if (!failure.remedy.empty()) lines << from(failure.remedy);
  if (!failure.stage.empty()) lines << tr("Stage: %1").arg(from(failure.stage));
  if (failure.signal != 0) lines << tr("Signal: %1").arg(failure.signal);
  return lines.join(QLatin1Char('\n'));
}

QString run_report(const results::RunRecord& run, const std::vector<results::LogLine>& last_lines) {
  QStringList lines;
  lines << tr("Run %1: %2, %3").arg(from(run.short_id()), from(run.model.name), configuration_label(run.parameters));
  lines << tr("%1, created %2, started %3, ended %4")
               .arg(status_text(run.status), from(run.created_at), from(run.started_at), from(run.finished_at));
  if (run.environment) {
    const auto& e = *run.environment;
    lines << tr("Machine: %1; %2; %3; build %4").arg(from(e.machine), from(e.gpu), from(e.kernel), from(e.build));
  }
  if (const QString why = failure_text(run.failure); !why.isEmpty()) lines << why;
  lines << QString() << tr("Last lines of the log:");
  for (const auto& line : last_lines) {
    lines << QStringLiteral("%1 %2 %3: %4").arg(from(line.time), from(line.level), from(line.stage), from(line.text));
  }
  if (last_lines.empty()) lines << tr("none");
  const auto json = QJsonDocument::fromJson(QByteArray::fromStdString(run.configuration_json));
  lines << QString() << tr("Configuration:") << QString::fromUtf8(json.toJson(QJsonDocument::Indented));
  return lines.join(QLatin1Char('\n'));
}

}  // namespace krasis::ui

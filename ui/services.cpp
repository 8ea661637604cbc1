#include "ui/services.h"

#include <QCoreApplication>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QStandardPaths>
#include <QSysInfo>
#include <QThread>

#include "ui/format.h"

namespace krasis::ui {
namespace {

QString value_after(const QString& path, const QByteArray& key) {
  QFile file(path);
  if (!file.open(QIODevice::ReadOnly)) return {};
  const QByteArray all = file.readAll();
  for (const QByteArray& line : all.split('\n')) {
    if (line.startsWith(key)) return QString::fromUtf8(line.mid(line.indexOf(':') + 1)).trimmed();
  }
  return {};
}

qint64 kib_of(const QByteArray& key) {
  return value_after(QStringLiteral("/proc/meminfo"), key).section(QLatin1Char(' '), 0, 0).toLongLong() * 1024;
}

QString tr(const char* text) { return QCoreApplication::translate("Services", text); }

bool has_gpu() { return QFileInfo::exists(QStringLiteral("/dev/nvidia0")); }

}  // namespace

Services default_services(const QString& application_directory) {
  Services services;
  const QDir bin(application_directory);
  services.hardware.devices = 16;  // the host device pretends as many as are asked for
  services.hardware.host_memory_bytes = static_cast<std::size_t>(kib_of("MemAvailable"));
  const QString cpu = value_after(QStringLiteral("/proc/cpuinfo"), "model name");
  services.machine = {
      {tr("Processor"), cpu.isEmpty() ? QSysInfo::currentCpuArchitecture() : cpu},
      {tr("Threads"), QString::number(QThread::idealThreadCount())},
      {tr("Memory"), tr("%1, %2 available").arg(format_bytes(kib_of("MemTotal")), format_bytes(kib_of("MemAvailable")))},
      {tr("GPU"), has_gpu() ? tr("NVIDIA device present") : tr("none found; the host device works")},
      {tr("System"), QSysInfo::prettyProductName() + QStringLiteral(", ") + QSysInfo::kernelType() + QLatin1Char(' ') +
                         QSysInfo::kernelVersion()},
  };
  services.worker_command = QStringLiteral("\"%1\" worker").arg(bin.filePath(QStringLiteral("krasis")));
  services.resources = qEnvironmentVariable("KRASIS_RESOURCES");
  if (services.resources.isEmpty()) {
    const QString installed = bin.filePath(QStringLiteral("../share/krasis"));
    services.resources = QFileInfo::exists(installed) ? QDir::cleanPath(installed)
                                                      : QStringLiteral(KRASIS_SOURCE_RESOURCES);
  }
  services.database = QStandardPaths::writableLocation(QStandardPaths::AppDataLocation) + QStringLiteral("/results.db");
  return services;
}

}  // namespace krasis::ui

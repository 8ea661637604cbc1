#include "ui/services.h"

#include <QCoreApplication>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QStandardPaths>
#include <QSysInfo>
#include <QThread>
#include <algorithm>

#include "engine/system/memory.h"
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

QString tr(const char* text) { return QCoreApplication::translate("Services", text); }

/// "64 GiB, 60 GiB available"
QString memory_text(const HostMemory& memory) {
  if (memory.total_bytes == UINT64_MAX) return tr("not known");
  const auto usable = std::min(memory.usable_bytes(), memory.total_bytes);
  return tr("%1, %2 available")
      .arg(format_bytes(static_cast<qint64>(memory.total_bytes)), format_bytes(static_cast<qint64>(usable)));
}

bool has_gpu() { return QFileInfo::exists(QStringLiteral("/dev/nvidia0")); }

QString subject_of(const std::string& id) {
  static const struct {
    const char* id;
    const char* name;
  } kSubjects[] = {{"governor", QT_TRANSLATE_NOOP("Services", "Clock")},
                   {"smt", QT_TRANSLATE_NOOP("Services", "SMT")},
                   {"transparent_huge_pages", QT_TRANSLATE_NOOP("Services", "Huge pages")},
                   {"huge_page_pool", QT_TRANSLATE_NOOP("Services", "Page pool")},
                   {"numa", QT_TRANSLATE_NOOP("Services", "NUMA")},
                   {"memory", QT_TRANSLATE_NOOP("Services", "Free memory")},
                   {"instruction_sets", QT_TRANSLATE_NOOP("Services", "Instructions")},
                   {"cpu_quota", QT_TRANSLATE_NOOP("Services", "CPU quota")},
                   {"cpu_affinity", QT_TRANSLATE_NOOP("Services", "CPU affinity")}};
  for (const auto& subject : kSubjects) {
    if (id == subject.id) return tr(subject.name);
  }
  return QString::fromStdString(id);
}

QString glyph_of(Severity severity) {
  switch (severity) {
    case Severity::Ok: return QStringLiteral("\u2713");
    case Severity::Info: return QStringLiteral("\u2139");
    case Severity::Warning: return QStringLiteral("\u26a0");
    case Severity::Unknown: break;
  }
  return QStringLiteral("?");
}

int rank_of(Severity severity) {
  switch (severity) {
    case Severity::Warning: return 0;
    case Severity::Info: return 1;
    case Severity::Unknown: return 2;
    case Severity::Ok: break;
  }
  return 3;
}

}  // namespace

std::vector<FactsModel::Fact> facts_of(const std::vector<Finding>& findings) {
  std::vector<Finding> sorted = findings;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Finding& a, const Finding& b) { return rank_of(a.severity) < rank_of(b.severity); });
  std::vector<FactsModel::Fact> facts;
  for (const Finding& f : sorted) {
    const QString remedy = QString::fromStdString(f.remedy);
    FactsModel::Fact fact{subject_of(f.id), glyph_of(f.severity) + QLatin1Char(' ') + QString::fromStdString(f.title),
                          QString::fromStdString(f.detail)};
    if (!remedy.isEmpty()) {
      fact.value += QStringLiteral("\n\u2192 ") + remedy;
      fact.tip += QStringLiteral("\n") + remedy;
    }
    facts.push_back(std::move(fact));
  }
  return facts;
}

QString gpu_fact_name() { return tr("GPU"); }

Services default_services(const QString& application_directory) {
  Services services;
  const QDir bin(application_directory);
  services.hardware.devices = 16;  // the host device pretends as many as are asked for
  const HostMemory memory = host_memory();
  services.hardware.host_memory_bytes = memory.usable_bytes();
  const QString cpu = value_after(QStringLiteral("/proc/cpuinfo"), "model name");
  services.machine = {
      {tr("Processor"), cpu.isEmpty() ? QSysInfo::currentCpuArchitecture() : cpu},
      {tr("Threads"), QString::number(QThread::idealThreadCount())},
      {tr("Memory"), memory_text(memory)},
      {gpu_fact_name(), has_gpu() ? tr("NVIDIA device present") : tr("none found; the host device works")},
      {tr("System"), QSysInfo::prettyProductName() + QStringLiteral(", ") + QSysInfo::kernelType() + QLatin1Char(' ') +
                         QSysInfo::kernelVersion()},
  };
  for (auto& fact : facts_of(check_system())) services.machine.push_back(std::move(fact));
  services.probe_devices = true;
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

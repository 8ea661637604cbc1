#include "ui/application.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QFileInfo>

#include "ui/main_window.h"
#include "ui/services.h"

namespace krasis::ui {

int run_workbench(int argc, char** argv) {
  QApplication application(argc, argv);
  QApplication::setOrganizationName(QStringLiteral("krasis"));
  QApplication::setApplicationName(QStringLiteral("krasis-workbench"));
  QApplication::setApplicationDisplayName(QApplication::translate("application", "Krasis Workbench"));
  QApplication::setDesktopFileName(QStringLiteral("krasis-workbench"));

  QCommandLineParser parser;
  parser.setApplicationDescription(
      QApplication::translate("application", "Measures hybrid GPU and CPU inference of mixture-of-experts models."));
  parser.addHelpOption();
  const QCommandLineOption database(QStringLiteral("database"),
                                    QApplication::translate("application", "Results database to open."),
                                    QStringLiteral("FILE"));
  const QCommandLineOption worker(QStringLiteral("worker"),
                                  QApplication::translate("application", "Command that starts a worker."),
                                  QStringLiteral("COMMAND"));
  parser.addOptions({database, worker});
  parser.process(application);

  Services services = default_services(QApplication::applicationDirPath());
  if (parser.isSet(worker)) services.worker_command = parser.value(worker);
  services.worker_command_given = parser.isSet(worker);
  if (parser.isSet(database)) services.database = QFileInfo(parser.value(database)).absoluteFilePath();
  services.database_given = parser.isSet(database);
  MainWindow window(services);
  window.show();
  return QApplication::exec();
}

}  // namespace krasis::ui

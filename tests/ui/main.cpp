#include <gtest/gtest.h>

#include <QApplication>
#include <QLocale>
#include <QStandardPaths>

#include "tests/support/temporary_directory.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (qEnvironmentVariableIsEmpty("DISPLAY") && qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) {
    qputenv("QT_QPA_PLATFORM", "offscreen");
  }
  QStandardPaths::setTestModeEnabled(true);  // never the user's own settings
  QLocale::setDefault(QLocale(QLocale::English, QLocale::UnitedStates));
  const krasis::test::TemporaryDirectory runtime;  // workers of other tests are nothing to wait for
  qputenv("XDG_RUNTIME_DIR", runtime.path().c_str());
  QApplication application(argc, argv);
  QApplication::setOrganizationName("krasis-test");
  QApplication::setApplicationName("krasis-test");
  return RUN_ALL_TESTS();
}

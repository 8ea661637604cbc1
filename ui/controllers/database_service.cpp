#include "ui/controllers/database_service.h"

#include <QDir>
#include <QFileInfo>

namespace krasis::ui {

DatabaseService::DatabaseService(QObject* parent) : QObject(parent) {
  poll_.setInterval(2000);
  connect(&poll_, &QTimer::timeout, this, &DatabaseService::poll);
  announce_.setSingleShot(true);
  announce_.setInterval(100);
  connect(&announce_, &QTimer::timeout, this, &DatabaseService::changed);
}

namespace {

Expected<void> check_path(const QFileInfo& file, DatabaseService::Opening opening) {
  const std::string path = file.absoluteFilePath().toStdString();
  if (opening == DatabaseService::Opening::Existing && !file.exists()) {
    return fail(ErrorCode::NotFound, "There is no file " + path + ".",
                "Choose a database that exists, or make one with File > New results database.");
  }
  if (opening == DatabaseService::Opening::New && file.exists()) {
    return fail(ErrorCode::Conflict, path + " exists already.",
                "Open it with File > Open results database, or choose another name.");
  }
  if (opening == DatabaseService::Opening::New && !file.absoluteDir().exists()) {
    return fail(ErrorCode::NotFound, "There is no folder " + file.absolutePath().toStdString() + ".",
                "Choose a folder that exists.");
  }
  return {};
}

}  // namespace

Expected<void> DatabaseService::open(const QString& path, Opening opening) {
  const QFileInfo file(path);
  KRASIS_CHECK(check_path(file, opening));
  if (opening == Opening::ExistingOrNew) QDir().mkpath(file.absolutePath());
  KRASIS_TRY(auto database, results::Database::open(path.toStdString(), {.program = "Krasis Workbench"}));
  if (writable()) (void)database_->end_measuring();  // the one that was open: others may measure with it now
  database_.emplace(std::move(database));
  counter_ = database_->change_counter().value_or(-1);
  poll_.start();
  emit opened();
  emit changed();
  return {};
}

QString DatabaseService::path() const {
  return database_ ? QString::fromStdString(database_->path().string()) : QString();
}

QString DatabaseService::read_only_reason() const {
  return database_ ? QString::fromStdString(database_->read_only_reason()) : tr("No database is open.");
}

void DatabaseService::announce_change() {
  if (!announce_.isActive()) announce_.start();
}

void DatabaseService::poll() {
  if (!database_) return;
  const auto counter = database_->change_counter();
  if (counter && *counter != counter_) {
    counter_ = *counter;
    announce_change();
  }
}

}  // namespace krasis::ui

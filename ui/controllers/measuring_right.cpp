#include "ui/controllers/measuring_right.h"

#include <utility>

#include "ui/controllers/database_service.h"

namespace krasis::ui {

MeasuringRight::MeasuringRight(DatabaseService* database, QObject* parent) : QObject(parent), database_(database) {
  timer_.setInterval(results::kRenewSeconds * 1000);
  connect(&timer_, &QTimer::timeout, this, &MeasuringRight::tend);
  connect(database_, &DatabaseService::changed, this, &MeasuringRight::look);
  connect(database_, &DatabaseService::opened, this, [this] {
    held_ = false;  // the database that was open has it back
    look();
  });
  timer_.start();
  look();
}

Expected<void> MeasuringRight::take() {
  auto taken = database_->database().begin_measuring();
  held_ = taken.has_value();
  look();
  return taken;
}

void MeasuringRight::give_back() {
  if (std::exchange(held_, false) && database_->writable()) (void)database_->database().end_measuring();
}

/// A process that is gone changes nothing in the database: its end is only seen by looking.
void MeasuringRight::tend() {
  if (held_) (void)database_->database().begin_measuring();
  look();
}

void MeasuringRight::look() {
  QString other;
  if (database_->is_open()) {
    const auto measurer = database_->database().measurer();
    if (measurer && *measurer && !(*measurer)->here) other = QString::fromStdString(results::description(**measurer));
  }
  if (other == other_) return;
  other_ = other;
  emit other_changed();
}

}  // namespace krasis::ui

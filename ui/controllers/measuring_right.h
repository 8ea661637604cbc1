#pragma once

#include <QObject>
#include <QTimer>

#include "base/error.h"

namespace krasis::ui {

class DatabaseService;

/// The window's right to measure with the database that is open: taken before a run, renewed while it is held, given
/// back when the queue rests, so that another window or `krasis bench` may measure.
class MeasuringRight : public QObject {
  Q_OBJECT

 public:
  explicit MeasuringRight(DatabaseService* database, QObject* parent = nullptr);
  /// Conflict, with who has it, while somebody else measures.
  Expected<void> take();
  void give_back();
  /// Who else measures with the database, as the beginning of a sentence; empty: nobody else does.
  QString other() const { return other_; }

 signals:
  void other_changed();

 private:
  void look();
  void tend();

  DatabaseService* database_;
  QTimer timer_;
  bool held_ = false;
  QString other_;
};

}  // namespace krasis::ui

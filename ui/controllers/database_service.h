#pragma once

#include <QObject>
#include <QString>
#include <QTimer>
#include <optional>

#include "results_db/database.h"

namespace krasis::ui {

/// The results database of the window: one connection, used by the GUI thread only (repetitions are small), and the news
/// of its changes, be they made here or by another process.
class DatabaseService : public QObject {
  Q_OBJECT

 public:
  explicit DatabaseService(QObject* parent = nullptr);
  enum class Opening {
    Existing,       ///< NotFound when there is no such file: a mistyped path makes no empty database
    New,            ///< Conflict when there is one, NotFound when its folder is not there
    ExistingOrNew,  ///< makes the folder, too; for the path that the program itself proposes
  };
  /// Opens `path`. On failure the former database stays open, and nothing was made.
  Expected<void> open(const QString& path, Opening opening = Opening::ExistingOrNew);
  bool is_open() const { return database_.has_value(); }
  /// Only while is_open().
  results::Database& database() { return *database_; }
  QString path() const;
  bool writable() const { return database_ && !database_->read_only(); }
  /// Why nothing can be written; empty if it can be.
  QString read_only_reason() const;

  /// To be called after a change through database(): tells everybody at most ten times a second.
  void announce_change();

 signals:
  void opened();
  void changed();

 private:
  void poll();

  std::optional<results::Database> database_;
  QTimer poll_, announce_;
  std::int64_t counter_ = -1;
};

}  // namespace krasis::ui

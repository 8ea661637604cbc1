#pragma once

#include <QAbstractTableModel>
#include <string>
#include <vector>

#include "results_db/records.h"

namespace krasis::ui {

/// One run in the queue, running, or ended since the window opened.
struct QueueRow {
  results::RunId id = 0;  ///< in the database that is open; other files have runs with the same number
  QString title;   ///< "embedded, INT4/INT4 LGS 2 HCS off"
  results::RunStatus status = results::RunStatus::Queued;
  double progress = 0;     ///< 0..1
  QString stage;           ///< "repetition 2 of 3"
  double eta_s = -1;       ///< of this run; negative: not known
  QString failure;         ///< cause, remedy, stage, signal, last lines; empty: none
  std::string uuid;        ///< which run it is, whatever the file
};

/// The queue as a table. Rows are added at the end, updated in place, and taken out when they are removed.
class QueueModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Columns { Status, Run, Progress, Stage, Eta, ColumnCount };
  enum Roles { RunIdRole = Qt::UserRole + 1, ProgressRole, StatusRole };

  using QAbstractTableModel::QAbstractTableModel;
  /// Adds the row, or replaces the one with its id.
  void put(const QueueRow& row);
  void remove(results::RunId id);
  void clear();
  const QueueRow* row(results::RunId id) const;
  const std::vector<QueueRow>& rows() const { return rows_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 signals:
  /// Before the row goes: a view's selection must not move on to the next one by itself.
  void about_to_remove(qlonglong run);

 private:
  std::vector<QueueRow>::iterator find(results::RunId id);
  std::vector<QueueRow> rows_;
};

/// The log of all runs of this session, oldest first, at most 5,000 lines.
class LogModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Columns { Time, Level, Stage, Text, ColumnCount };
  using QAbstractTableModel::QAbstractTableModel;
  void append(const results::LogLine& line);
  void set_lines(std::vector<results::LogLine> lines);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  static constexpr int kMaximumLines = 5000;
  std::vector<results::LogLine> lines_;
};

}  // namespace krasis::ui

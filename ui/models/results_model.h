#pragma once

#include <QAbstractTableModel>
#include <QSortFilterProxyModel>
#include <vector>

#include "results_db/records.h"
#include "ui/models/filter_expression.h"

namespace krasis::ui {

/// The runs of the results database, one row each; parameters are columns in the order of the parameter table.
class ResultsModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Roles {
    SortRole = Qt::UserRole + 1,  ///< a number where there is one, so that 10.5 sorts after 9.8
    RunIdRole,
    VerdictRole,  ///< int of results::Verdict
    StatusRole,   ///< int of results::RunStatus
  };
  enum class Kind { Identity, Parameter, Metric, State };

  explicit ResultsModel(QObject* parent = nullptr);
  /// Replaces everything; keeps the rows' identity (no reset) when only values of the same runs changed.
  void set_runs(std::vector<results::RunSummary> runs);
  const std::vector<results::RunSummary>& runs() const { return runs_; }
  const results::RunSummary* run(results::RunId id) const;
  int row_of(results::RunId id) const;  ///< -1: not there

  int column_of(const QString& key) const;  ///< "lgs", "decode", ..., also a parameter's old name; -1: no such column
  QString key_of(int column) const { return columns_[static_cast<std::size_t>(column)].key; }
  Kind kind_of(int column) const { return columns_[static_cast<std::size_t>(column)].kind; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  struct Column {
    QString key, title;
    Kind kind;
  };
  struct Cell {
    QString text;
    QVariant sort;
    QString tip;
  };
  std::vector<Cell> cells_of(const results::RunSummary& summary) const;

  std::vector<Column> columns_;
  std::vector<results::RunSummary> runs_;
  std::vector<std::vector<Cell>> cells_;  ///< [row][column], made once for each change of the data
};

/// Filters by a FilterExpression and sorts by SortRole.
class ResultsFilter : public QSortFilterProxyModel {
  Q_OBJECT

 public:
  explicit ResultsFilter(QObject* parent = nullptr);
  void set_filter(const QString& text);
  /// Leaves out the runs that failed, crashed or ran out of memory.
  void set_hide_failed(bool hide);
  bool hides_failed() const { return hide_failed_; }
  /// Runs in the order that is shown.
  std::vector<results::RunSummary> shown_runs() const;
  /// Parameter and identity columns in which all shown rows agree; never figures, verdict or status.
  std::vector<bool> constant_columns() const;

 protected:
  bool filterAcceptsRow(int source_row, const QModelIndex& source_parent) const override;
  bool lessThan(const QModelIndex& left, const QModelIndex& right) const override;

 private:
  const ResultsModel* results() const { return static_cast<const ResultsModel*>(sourceModel()); }
  FilterExpression expression_;
  bool hide_failed_ = false;
};

/// A parameter's value as results::describe() writes it, with decimals as the user's locale has them.
QString shown_value(std::string_view parameter, const QString& value);
/// "PASS", "FAIL" or an em dash, with a glyph.
QString verdict_text(results::Verdict verdict);
/// "Done", "Crashed", ... as the user reads them.
QString status_text(results::RunStatus status);
/// Short name of a configuration for axes and rows: "INT4/INT4 LGS 2 HCS off".
QString configuration_label(const results::RunParameters& parameters);

}  // namespace krasis::ui

#pragma once

#include <QAbstractTableModel>
#include <QHash>
#include <functional>
#include <optional>
#include <vector>

#include "engine/config/parameters.h"
#include "engine/placement/plan.h"

namespace krasis::ui {

/// One axis of a sweep as the editor holds it.
struct AxisRow {
  const Parameter* parameter = nullptr;
  bool included = false;
  QString text;                     ///< as typed: "2,4,8" or "1..8"; decimals "0.25,0.5" or "0,25; 0,5"
  std::vector<std::string> values;  ///< of `text`; empty when it is refused
  QString problem;                  ///< why the text is refused
};

/// The parameters that can be swept, each with a tick and its values.
class AxesModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Columns { Name, Values, Count, ColumnCount };

  explicit AxesModel(QObject* parent = nullptr);
  const std::vector<AxisRow>& rows() const { return rows_; }
  /// Ticks the axis and sets its values, given as typed.
  void set_axis(std::string_view parameter, const QString& values);
  /// The same with values as Parameter::text writes them.
  void set_axis_values(std::string_view parameter, const std::vector<std::string>& values);
  void clear();
  /// The values that an axis gets when it is ticked without any: the configuration's own.
  void set_defaults(const RunConfiguration& configuration) { defaults_ = configuration; }
  QString first_problem() const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role = Qt::EditRole) override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 signals:
  void axes_changed();

 private:
  void parse(AxisRow& row);
  std::vector<AxisRow> rows_;
  RunConfiguration defaults_;
};

/// One run of an expanded sweep.
struct SweepRun {
  RunConfiguration configuration;
  bool chosen = true;
  QString problem;       ///< why it cannot be; empty: it can
  QString over_budget;   ///< where and by how much; empty: it fits
  bool measured = false; ///< a run with this configuration is done in the database
  qint64 host_bytes = 0, device_bytes = 0;  ///< of the largest device
};

/// What a sweep expands to, with a checkbox each.
class SweepRunsModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum FixedColumns { Chosen, FirstParameter };
  enum Roles { ProblemRole = Qt::UserRole + 1, OverBudgetRole };

  using QAbstractTableModel::QAbstractTableModel;
  /// Replaces the runs; ticks of runs that stay are kept, also when there were none in between. `parameters` are the
  /// columns after the first.
  void set_runs(std::vector<SweepRun> runs, std::vector<const Parameter*> parameters);
  const std::vector<SweepRun>& runs() const { return runs_; }
  /// Chosen and possible, in order.
  std::vector<RunConfiguration> chosen() const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role = Qt::EditRole) override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 signals:
  void choice_changed();

 private:
  int state_column() const { return FirstParameter + static_cast<int>(parameters_.size()); }
  QString state_text(const SweepRun& run) const;

  std::vector<SweepRun> runs_;
  std::vector<SweepRun> former_;  ///< the last ones that were not none
  std::vector<const Parameter*> parameters_;
};

}  // namespace krasis::ui

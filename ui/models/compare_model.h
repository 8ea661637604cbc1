#pragma once

#include <QAbstractTableModel>
#include <optional>
#include <vector>

#include "results_db/compare.h"

namespace krasis::ui {

/// A pinned baseline and up to five other runs, one column each; rows are the parameters that differ (or all), then the
/// figures with their change against the baseline.
class CompareModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  static constexpr int kMaximumOthers = 5;
  enum Roles { ChangeRole = Qt::UserRole + 1 };  ///< int of results::Change, for figures of other runs

  using QAbstractTableModel::QAbstractTableModel;
  void set_runs(std::optional<results::RunSummary> baseline, std::vector<results::RunSummary> others);
  void set_show_all(bool show_all);
  bool is_empty() const { return !baseline_; }
  /// Whole sentences with the run they are about: why the figures may not be comparable.
  QStringList warnings() const;
  /// The table as GitHub Markdown.
  QString markdown() const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  void choose_rows();
  /// Of column 1, the baseline, or another run's.
  const results::MetricCell& cell_of(const results::MetricComparison& metric, int column) const;
  QString metric_text(const results::MetricComparison& metric, int column) const;
  QString metric_tip(const results::MetricComparison& metric, int column) const;

  std::optional<results::RunSummary> baseline_;
  std::vector<results::RunSummary> others_;
  results::Comparison comparison_;
  std::vector<std::size_t> shown_;  ///< indices into comparison_.parameters
  bool show_all_ = false;
};

}  // namespace krasis::ui

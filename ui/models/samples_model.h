#pragma once

#include <QAbstractTableModel>
#include <vector>

#include "results_db/records.h"

namespace krasis::ui {

/// The repetitions of one run, warm-ups first, as they were measured.
class SamplesModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Columns { Number, Prefill, Ttft, Decode, MsPerToken, Slowest, Output, ColumnCount };

  using QAbstractTableModel::QAbstractTableModel;
  void set_repetitions(std::vector<results::Repetition> repetitions);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<results::Repetition> repetitions_;
};

/// Names and values: a run's configuration, its environment, the machine.
class FactsModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  struct Fact {
    QString name, value;
    QString tip;  ///< shown on hover; empty: what the cell says
  };

  using QAbstractTableModel::QAbstractTableModel;
  void set_facts(std::vector<Fact> facts);
  /// Every key of a JSON object (nested ones as "a.b") as a fact; nothing for text that is no object.
  static std::vector<Fact> from_json(std::string_view json);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<Fact> facts_;
};

}  // namespace krasis::ui

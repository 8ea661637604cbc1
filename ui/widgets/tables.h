#pragma once

#include <QStyledItemDelegate>

class QAbstractItemModel;
class QTableView;

namespace krasis::ui {

/// A table as all pages have it: whole rows selected, no grid, sortable by click, keyboard and accessible name set.
QTableView* make_table(const QString& object_name, const QString& accessible_name, QAbstractItemModel* model,
                       QWidget* parent);
/// Makes every column as wide as its contents need, at most 40 characters.
void fit_columns(QTableView* table);

/// Verdict and status as coloured text (the glyph and the word carry it too); rows with verdict FAIL are greyed.
class ResultDelegate : public QStyledItemDelegate {
  Q_OBJECT

 public:
  using QStyledItemDelegate::QStyledItemDelegate;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override;
};

/// A progress bar in a cell, from QueueModel::ProgressRole.
class ProgressDelegate : public QStyledItemDelegate {
  Q_OBJECT

 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};

/// Figures coloured by better or worse, from CompareModel::ChangeRole.
class ChangeDelegate : public QStyledItemDelegate {
  Q_OBJECT

 public:
  using QStyledItemDelegate::QStyledItemDelegate;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override;
};

}  // namespace krasis::ui

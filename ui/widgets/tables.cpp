#include "ui/widgets/tables.h"

#include <QApplication>
#include <QHeaderView>
#include <QPainter>
#include <QTableView>
#include <algorithm>

#include "results_db/compare.h"
#include "ui/models/compare_model.h"
#include "ui/models/queue_model.h"
#include "ui/models/results_model.h"
#include "ui/theme.h"

namespace krasis::ui {

using results::RunStatus;
using results::Verdict;

QTableView* make_table(const QString& object_name, const QString& accessible_name, QAbstractItemModel* model,
                       QWidget* parent) {
  auto* table = new QTableView(parent);
  table->setObjectName(object_name);
  table->setAccessibleName(accessible_name);
  table->setModel(model);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setSelectionMode(QAbstractItemView::ExtendedSelection);
  table->setShowGrid(false);
  table->setAlternatingRowColors(true);
  table->setWordWrap(false);
  table->setTabKeyNavigation(false);  // Tab leaves the table
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
  table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
  table->verticalHeader()->hide();
  table->verticalHeader()->setDefaultSectionSize(table->fontMetrics().height() + 8);
  table->horizontalHeader()->setHighlightSections(false);
  table->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  return table;
}

void fit_columns(QTableView* table) {
  // Hidden columns are sized too: they may be shown later. (columnWidth() would say 0 for them.)
  const int widest = table->fontMetrics().averageCharWidth() * 40;
  class Hint : public QTableView {
   public:
    using QTableView::sizeHintForColumn;
  };
  for (int c = 0; c < table->model()->columnCount(); ++c) {
    const int contents = (table->*&Hint::sizeHintForColumn)(c);
    const int wanted = std::max(contents, table->horizontalHeader()->sectionSizeHint(c)) + 8;
    table->setColumnWidth(c, std::min(wanted, widest));
  }
}

void ResultDelegate::initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const {
  QStyledItemDelegate::initStyleOption(option, index);
  const auto verdict = static_cast<Verdict>(index.data(ResultsModel::VerdictRole).toInt());
  const auto status = static_cast<RunStatus>(index.data(ResultsModel::StatusRole).toInt());
  const auto* proxy = qobject_cast<const QAbstractProxyModel*>(index.model());
  const auto* model = qobject_cast<const ResultsModel*>(proxy ? proxy->sourceModel() : index.model());
  if (!model) return;
  const QString key = model->key_of(index.column());
  auto set = [option](Tone tone) { option->palette.setColor(QPalette::Text, tone_color(tone, option->palette)); };
  if (key == QLatin1String("verdict")) {
    if (verdict == Verdict::Pass) set(Tone::Good);
    if (verdict == Verdict::Fail) set(Tone::Bad);
    option->font.setBold(verdict != Verdict::None);
  } else if (key == QLatin1String("status")) {
    const bool bad = status == RunStatus::Failed || status == RunStatus::Crashed || status == RunStatus::OutOfMemory;
    if (bad) set(Tone::Bad);
  } else if (verdict == Verdict::Fail) {
    set(Tone::Muted);
    option->font.setItalic(true);
  }
}

void ProgressDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
  const auto status = static_cast<RunStatus>(index.data(QueueModel::StatusRole).toInt());
  if (status == RunStatus::Queued) return QStyledItemDelegate::paint(painter, option, index);
  QStyleOptionViewItem background = option;
  initStyleOption(&background, index);
  background.text.clear();
  QApplication::style()->drawControl(QStyle::CE_ItemViewItem, &background, painter);
  QStyleOptionProgressBar bar;
  bar.state = option.state | QStyle::State_Horizontal;
  bar.palette = option.palette;
  bar.rect = option.rect.adjusted(2, 2, -2, -2);
  bar.minimum = 0;
  bar.maximum = 100;
  bar.progress = static_cast<int>(index.data(QueueModel::ProgressRole).toDouble() * 100 + 0.5);
  bar.text = index.data().toString();
  bar.textVisible = true;
  bar.textAlignment = Qt::AlignCenter;
  bar.fontMetrics = option.fontMetrics;
  painter->save();
  QApplication::style()->drawControl(QStyle::CE_ProgressBar, &bar, painter);
  painter->restore();
}

void ChangeDelegate::initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const {
  QStyledItemDelegate::initStyleOption(option, index);
  const QVariant change = index.data(CompareModel::ChangeRole);
  if (!change.isValid()) return;
  const auto kind = static_cast<results::Change>(change.toInt());
  const Tone tone = kind == results::Change::Better  ? Tone::Good
                    : kind == results::Change::Worse ? Tone::Bad
                                                     : Tone::Muted;  // nothing that could be told apart from noise
  option->palette.setColor(QPalette::Text, tone_color(tone, option->palette));
}

}  // namespace krasis::ui

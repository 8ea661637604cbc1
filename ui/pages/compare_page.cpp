#include "ui/pages/compare_page.h"

#include <QCheckBox>
#include <QClipboard>
#include <QEvent>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

#include "ui/controllers/database_service.h"
#include "ui/models/compare_model.h"
#include "ui/widgets/empty_state.h"
#include "ui/widgets/tables.h"

namespace krasis::ui {

ComparePage::ComparePage(DatabaseService* database, QWidget* parent)
    : QWidget(parent), database_(database), model_(new CompareModel(this)), stack_(new QStackedWidget(this)) {
  setObjectName(QStringLiteral("comparePage"));
  auto* comparison = new QWidget(stack_);
  table_ = make_table(QStringLiteral("compareTable"), tr("Comparison"), model_, comparison);
  table_->setItemDelegate(new ChangeDelegate(table_));
  warnings_ = new QLabel(comparison);
  warnings_->setObjectName(QStringLiteral("compareWarnings"));
  warnings_->setAccessibleName(tr("Warnings about the comparison"));
  warnings_->setWordWrap(true);
  warnings_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  show_all_ = new QCheckBox(tr("Show &all parameters"), comparison);
  show_all_->setObjectName(QStringLiteral("showAllParameters"));
  show_all_->setAccessibleName(tr("Show all parameters"));
  clear_ = new QPushButton(tr("C&lear"), comparison);
  clear_->setObjectName(QStringLiteral("clearComparison"));
  clear_->setAccessibleName(tr("Clear the comparison"));
  copy_ = new QPushButton(tr("Copy &Markdown"), comparison);
  copy_->setObjectName(QStringLiteral("copyComparison"));
  copy_->setAccessibleName(tr("Copy the comparison as Markdown"));
  auto* bar = new QHBoxLayout;
  bar->addWidget(show_all_);
  bar->addStretch();
  bar->addWidget(clear_);
  bar->addWidget(copy_);
  auto* inner = new QVBoxLayout(comparison);
  inner->setContentsMargins(0, 0, 0, 0);
  inner->addLayout(bar);
  inner->addWidget(warnings_);
  inner->addWidget(table_, 1);

  auto* none = new EmptyState(QStringLiteral("noComparison"), tr("Nothing to compare yet"),
                              tr("Select two or more runs on the Results page and press Compare (Ctrl+D)."),
                              tr("Go to Results"), stack_);
  stack_->addWidget(none);
  stack_->addWidget(comparison);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(stack_);

  connect(none, &EmptyState::triggered, this, &ComparePage::results_page_requested);
  connect(show_all_, &QCheckBox::toggled, model_, &CompareModel::set_show_all);
  connect(copy_, &QPushButton::clicked, this, &ComparePage::copy_markdown);
  connect(clear_, &QPushButton::clicked, this, &ComparePage::clear);
  // Its runs are others, though they may have the same ids.
  connect(database_, &DatabaseService::opened, this, &ComparePage::clear);
  connect(database_, &DatabaseService::changed, this, &ComparePage::reload);
  connect(model_, &QAbstractItemModel::modelReset, table_, [this] { fit_columns(table_); });
}

void ComparePage::clear() {
  baseline_ = 0;
  others_.clear();
  reload();
}

void ComparePage::set_baseline(qlonglong run) {
  baseline_ = run;
  others_.removeAll(run);
  reload();
  emit message(tr("Baseline chosen. Select other runs and press Compare."));
}

void ComparePage::compare(const QList<qlonglong>& runs) {
  others_ = runs;
  if (baseline_ == 0 && !others_.isEmpty()) baseline_ = others_.constFirst();
  others_.removeAll(baseline_);
  if (others_.size() > CompareModel::kMaximumOthers) {
    others_.resize(CompareModel::kMaximumOthers);
    emit message(tr("At most %1 runs are compared with the baseline; the first ones are shown.")
                     .arg(CompareModel::kMaximumOthers));
  }
  reload();
}

void ComparePage::reload() {
  std::optional<results::RunSummary> baseline;
  std::vector<results::RunSummary> others;
  if (database_->is_open() && baseline_ != 0) {
    if (auto summary = database_->database().summary(baseline_)) baseline = std::move(*summary);
    for (const auto id : std::as_const(others_)) {
      if (auto summary = database_->database().summary(id)) others.push_back(std::move(*summary));
    }
  }
  model_->set_runs(std::move(baseline), std::move(others));
  stack_->setCurrentIndex(model_->is_empty() ? 0 : 1);
  QStringList lines;
  if (!model_->is_empty()) {
    for (const QString& warning : model_->warnings()) lines << QStringLiteral("\u26a0 ") + warning;
  }
  warnings_->setText(lines.join(QLatin1Char('\n')));
  warnings_->setVisible(!lines.isEmpty());
}

void ComparePage::copy_markdown() {
  if (model_->is_empty()) return;
  QGuiApplication::clipboard()->setText(model_->markdown());
  emit message(tr("Comparison copied as Markdown"));
}

}  // namespace krasis::ui

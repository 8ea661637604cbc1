#include "ui/pages/sweep_page.h"

#include <QFileDialog>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QMessageBox>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>

#include "ui/controllers/sweep_controller.h"
#include "ui/format.h"
#include "ui/theme.h"
#include "ui/widgets/tables.h"

namespace krasis::ui {

SweepPage::SweepPage(SweepController* sweep, QWidget* parent) : QWidget(parent), sweep_(sweep) {
  setObjectName(QStringLiteral("sweepPage"));
  auto* splitter = new QSplitter(Qt::Horizontal, this);
  splitter->setObjectName(QStringLiteral("sweepSplitter"));
  splitter->setChildrenCollapsible(false);
  splitter->addWidget(make_axes());
  splitter->addWidget(make_runs());
  splitter->setStretchFactor(0, 2);
  splitter->setStretchFactor(1, 3);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(splitter);
  connect(sweep_, &SweepController::changed, this, &SweepPage::refresh);
  refresh();
}

QWidget* SweepPage::make_axes() {
  auto* panel = new QWidget(this);
  auto* name_label = new QLabel(tr("Na&me:"), panel);
  name_ = new QLineEdit(panel);
  name_->setObjectName(QStringLiteral("sweepName"));
  name_->setAccessibleName(tr("Name of the sweep"));
  name_->setPlaceholderText(tr("a name for its rows, may be empty"));
  name_label->setBuddy(name_);
  auto* first = new QPushButton(tr("&First sweep"), panel);
  first->setObjectName(QStringLiteral("firstSweep"));
  first->setAccessibleName(tr("First sweep"));
  first->setToolTip(tr("The preset: LGS 1,2,4, hot cache off and on, GPU format INT4 and INT8"));
  auto* open = new QPushButton(tr("&Open\u2026"), panel);
  open->setObjectName(QStringLiteral("openSweepFile"));
  open->setAccessibleName(tr("Open a sweep file"));
  auto* save = new QPushButton(tr("&Save\u2026"), panel);
  save->setObjectName(QStringLiteral("saveSweepFile"));
  save->setAccessibleName(tr("Save the sweep as a file"));
  auto* clear = new QPushButton(tr("C&lear"), panel);
  clear->setObjectName(QStringLiteral("clearAxes"));
  clear->setAccessibleName(tr("Clear the axes"));
  auto* files = new QHBoxLayout;
  for (auto* button : {first, open, save, clear}) files->addWidget(button);
  auto* axes = make_table(QStringLiteral("axesTable"), tr("Axes: tick a parameter and type its values"), sweep_->axes(), panel);
  axes->setSelectionBehavior(QAbstractItemView::SelectItems);
  axes->setSelectionMode(QAbstractItemView::SingleSelection);
  axes->setEditTriggers(QAbstractItemView::AllEditTriggers);
  axes->horizontalHeader()->setStretchLastSection(true);
  axes->setColumnWidth(0, 140);
  axes->setColumnWidth(1, 110);
  replaced_ = new QLabel(panel);
  replaced_->setObjectName(QStringLiteral("replacedConfiguration"));
  replaced_->setWordWrap(true);
  put_back_ = new QPushButton(tr("Put it &back"), panel);
  put_back_->setObjectName(QStringLiteral("putBackConfiguration"));
  put_back_->setAccessibleName(tr("Put the former configuration back"));
  auto* replaced = new QHBoxLayout;
  replaced->addWidget(replaced_, 1);
  replaced->addWidget(put_back_, 0, Qt::AlignTop);
  auto* names = new QHBoxLayout;
  names->addWidget(name_label);
  names->addWidget(name_, 1);
  auto* layout = new QVBoxLayout(panel);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addLayout(names);
  layout->addLayout(files);
  layout->addLayout(replaced);
  layout->addWidget(axes, 1);
  connect(name_, &QLineEdit::textChanged, sweep_, &SweepController::set_name);
  connect(first, &QPushButton::clicked, this, &SweepPage::load_first_sweep);
  connect(open, &QPushButton::clicked, this, &SweepPage::choose_file_to_open);
  connect(save, &QPushButton::clicked, this, &SweepPage::choose_file_to_save);
  connect(put_back_, &QPushButton::clicked, sweep_, &SweepController::put_configuration_back);
  connect(clear, &QPushButton::clicked, sweep_->axes(), &AxesModel::clear);
  return panel;
}

QWidget* SweepPage::make_runs() {
  auto* panel = new QWidget(this);
  runs_ = make_table(QStringLiteral("sweepRuns"), tr("Runs of the sweep; untick what is not wanted"), sweep_->runs(), panel);
  runs_->horizontalHeader()->setStretchLastSection(true);
  summary_ = new QLabel(panel);
  summary_->setObjectName(QStringLiteral("sweepSummary"));
  summary_->setWordWrap(true);
  reason_ = new QLabel(panel);
  reason_->setObjectName(QStringLiteral("sweepReason"));
  reason_->setAccessibleName(tr("Why nothing can be enqueued"));
  reason_->setWordWrap(true);
  enqueue_ = new QPushButton(tr("&Enqueue"), panel);
  enqueue_->setObjectName(QStringLiteral("enqueue"));
  enqueue_->setAccessibleName(tr("Enqueue"));
  auto* bottom = new QHBoxLayout;
  bottom->addWidget(summary_, 1);
  bottom->addWidget(enqueue_);
  auto* layout = new QVBoxLayout(panel);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addWidget(runs_, 1);
  layout->addWidget(reason_);
  layout->addLayout(bottom);
  connect(sweep_->runs(), &QAbstractItemModel::modelReset, runs_, [this] { fit_columns(runs_); });
  connect(enqueue_, &QPushButton::clicked, this, &SweepPage::enqueue);
  return panel;
}

void SweepPage::refresh() {
  if (name_->text() != sweep_->name()) {
    const QSignalBlocker blocker(name_);
    name_->setText(sweep_->name());
  }
  const auto chosen = sweep_->runs()->chosen().size();
  qsizetype over = 0;
  for (const auto& run : sweep_->runs()->runs()) over += run.chosen && !run.over_budget.isEmpty() ? 1 : 0;
  const int all = sweep_->runs()->rowCount();
  QString text = all == 1 ? tr("%1 of 1 run chosen").arg(chosen) : tr("%1 of %2 runs chosen").arg(chosen).arg(all);
  if (over > 0) text += tr(", %1 over budget (they are tried anyway)").arg(over);
  summary_->setText(text);
  const QString why = sweep_->why_not_runnable();
  QPalette colors = palette();
  colors.setColor(QPalette::WindowText, tone_color(Tone::Bad, palette()));
  reason_->setPalette(colors);
  reason_->setText(why);
  reason_->setVisible(!why.isEmpty());
  enqueue_->setEnabled(why.isEmpty());
  enqueue_->setToolTip(why.isEmpty() ? tr("Ctrl+Return") : why);
  enqueue_->setText(chosen > 0 ? counted(static_cast<qint64>(chosen), tr("&Enqueue 1 run"), tr("&Enqueue %1 runs"))
                               : tr("&Enqueue"));
  const QString replaced = sweep_->replacement_text();
  replaced_->setText(replaced);
  replaced_->setVisible(!replaced.isEmpty());
  put_back_->setVisible(!replaced.isEmpty());
}

void SweepPage::enqueue() {
  if (!enqueue_->isEnabled()) return;
  if (sweep_->measured_count() > 0) return ask_about_measured();
  put_in_queue(SweepController::Measured::Again);
}

void SweepPage::put_in_queue(SweepController::Measured measured) {
  const auto queued = sweep_->enqueue(measured);
  emit message(queued ? counted(*queued, tr("1 run enqueued"), tr("%1 runs enqueued")) : format_error(queued.error()));
}

void SweepPage::ask_about_measured() {
  const int measured = sweep_->measured_count();
  const int others = static_cast<int>(sweep_->runs()->chosen().size()) - measured;
  const QString question =
      counted(measured, tr("One of the chosen runs has been measured with this very configuration."),
              tr("%1 of the chosen runs have been measured with this very configuration."));
  auto* box = new QMessageBox(QMessageBox::Question, tr("Already measured"), question, QMessageBox::NoButton, this);
  box->setObjectName(QStringLiteral("measuredBox"));
  box->setAttribute(Qt::WA_DeleteOnClose);
  const auto add = [&](const QString& name, const QString& text, QMessageBox::ButtonRole role) {
    auto* button = box->addButton(text, role);
    button->setObjectName(name);
    return button;
  };
  auto* again = add(QStringLiteral("measureAgain"), tr("&Measure again"), QMessageBox::AcceptRole);
  auto* rest = add(QStringLiteral("measureOthers"), tr("&Only the others (%1)").arg(others), QMessageBox::AcceptRole);
  auto* cancel = add(QStringLiteral("measureNone"), tr("&Cancel"), QMessageBox::RejectRole);
  rest->setEnabled(others > 0);
  box->setDefaultButton(others > 0 ? rest : cancel);
  box->setEscapeButton(cancel);
  connect(again, &QPushButton::clicked, this, [this] { put_in_queue(SweepController::Measured::Again); });
  connect(rest, &QPushButton::clicked, this, [this] { put_in_queue(SweepController::Measured::Skip); });
  box->open();
}

void SweepPage::open_file(const QString& path) {
  if (const auto opened = sweep_->open(path); !opened) emit message(format_error(opened.error()));
}

void SweepPage::load_first_sweep() { open_file(sweep_->first_sweep_path()); }

void SweepPage::choose_file_to_open() {
  const QString path = QFileDialog::getOpenFileName(this, tr("Sweep"), {}, tr("Sweeps (*.toml)"));
  if (!path.isEmpty()) open_file(path);
}

void SweepPage::choose_file_to_save() {
  const QString path = QFileDialog::getSaveFileName(this, tr("Sweep"), QStringLiteral("sweep.toml"), tr("Sweeps (*.toml)"));
  if (path.isEmpty()) return;
  const auto saved = sweep_->save(path);
  emit message(saved ? tr("Saved as %1").arg(path) : format_error(saved.error()));
}

}  // namespace krasis::ui

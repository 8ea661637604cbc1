#include "ui/docks/queue_dock.h"

#include <QCheckBox>
#include <QClipboard>
#include <QDir>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollBar>
#include <QTableView>
#include <QVBoxLayout>
#include <algorithm>

#include "ui/controllers/queue_controller.h"
#include "ui/theme.h"
#include "ui/widgets/tables.h"

namespace krasis::ui {

using results::RunStatus;

QueueDock::QueueDock(QueueController* controller, QueueModel* model, QWidget* parent)
    : QDockWidget(tr("Queue"), parent), controller_(controller), model_(model) {
  setObjectName(QStringLiteral("queueDock"));
  auto* content = new QWidget(this);
  table_ = make_table(QStringLiteral("queueTable"), tr("Queue"), model_, content);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setItemDelegateForColumn(QueueModel::Progress, new ProgressDelegate(table_));
  table_->setColumnWidth(QueueModel::Status, 110);
  table_->setColumnWidth(QueueModel::Run, 300);
  table_->setColumnWidth(QueueModel::Progress, 140);
  table_->setColumnWidth(QueueModel::Stage, 360);
  table_->horizontalHeader()->setStretchLastSection(true);
  const auto button = [content](const QString& name, const QString& text, const QString& tip) {
    auto* b = new QPushButton(text, content);
    b->setObjectName(name);
    b->setAccessibleName(QString(text).remove(QLatin1Char('&')));
    b->setToolTip(tip);
    return b;
  };
  pause_ = button(QStringLiteral("pauseQueue"), tr("&Pause"), tr("Stops after the run that is running"));
  pause_->setCheckable(true);
  cancel_ = button(QStringLiteral("cancelRun"), tr("Ca&ncel run"), tr("Cancels the selected run"));
  cancel_all_ = button(QStringLiteral("cancelAll"), tr("Cancel &all"), tr("Cancels the running run and empties the queue"));
  retry_ = button(QStringLiteral("retryFailed"), tr("&Retry failed"), tr("Queues every run again that did not end well"));
  report_ = button(QStringLiteral("copyReport"), tr("Cop&y report"), tr("What went wrong with the selected run, as text"));
  traces_ = new QCheckBox(tr("Write &traces"), content);
  traces_->setObjectName(QStringLiteral("writeTraces"));
  traces_->setAccessibleName(tr("Write traces"));
  failure_ = new QLabel(content);
  failure_->setObjectName(QStringLiteral("queueFailure"));
  failure_->setAccessibleName(tr("Why the selected run failed"));
  failure_->setWordWrap(true);
  failure_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  failure_->hide();
  auto* bar = new QHBoxLayout;
  for (auto* b : {pause_, cancel_, cancel_all_, retry_, report_}) bar->addWidget(b);
  bar->addWidget(traces_);
  bar->addStretch();
  auto* layout = new QVBoxLayout(content);
  layout->setContentsMargins(4, 4, 4, 4);
  layout->addLayout(bar);
  layout->addWidget(table_, 1);
  layout->addWidget(failure_);
  setWidget(content);

  connect(pause_, &QPushButton::toggled, controller_, &QueueController::set_paused);
  connect(traces_, &QCheckBox::toggled, controller_, &QueueController::set_writes_traces);
  connect(cancel_, &QPushButton::clicked, this, [this] { controller_->cancel(selected_run()); });
  connect(cancel_all_, &QPushButton::clicked, controller_, &QueueController::cancel_all);
  connect(retry_, &QPushButton::clicked, controller_, &QueueController::retry_failed);
  connect(report_, &QPushButton::clicked, this, &QueueDock::copy_report);
  connect(controller_, &QueueController::changed, this, &QueueDock::update_buttons);
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, &QueueDock::update_buttons);
  update_buttons();
}

qlonglong QueueDock::selected_run() const {
  const auto rows = table_->selectionModel()->selectedRows();
  return rows.isEmpty() ? 0 : rows.constFirst().data(QueueModel::RunIdRole).toLongLong();
}

void QueueDock::update_buttons() {
  const auto& rows = model_->rows();
  const auto* selected = model_->row(selected_run());
  const auto waits = [](const QueueRow& r) { return !results::is_final(r.status); };
  const auto failed = [](const QueueRow& r) { return results::is_final(r.status) && r.status != RunStatus::Done; };
  const QSignalBlocker blocker(pause_);
  const QSignalBlocker traces_blocker(traces_);
  traces_->setChecked(controller_->writes_traces());
  traces_->setToolTip(tr("Runs that start now write a timeline of copies and computation for Perfetto or chrome://tracing:\n%1")
                          .arg(QDir::toNativeSeparators(controller_->trace_folder() + QStringLiteral("/RUN.trace.json"))));
  pause_->setChecked(controller_->is_paused());
  pause_->setText(controller_->is_paused() ? tr("&Resume") : tr("&Pause"));
  cancel_->setEnabled(selected && waits(*selected));
  cancel_all_->setEnabled(std::any_of(rows.begin(), rows.end(), waits));
  retry_->setEnabled(std::any_of(rows.begin(), rows.end(), failed));
  report_->setEnabled(selected && failed(*selected));
  const QString failure = selected ? selected->failure : QString();
  QPalette colors = palette();
  colors.setColor(QPalette::WindowText, tone_color(Tone::Bad, palette()));
  failure_->setPalette(colors);
  failure_->setText(failure);
  failure_->setVisible(!failure.isEmpty());
}

void QueueDock::copy_report() {
  const auto* row = model_->row(selected_run());
  if (!row) return;
  QGuiApplication::clipboard()->setText(row->title + QLatin1Char('\n') + row->failure + QLatin1Char('\n'));
}

LogDock::LogDock(LogModel* model, QWidget* parent) : QDockWidget(tr("Log"), parent) {
  setObjectName(QStringLiteral("logDock"));
  auto* table = make_table(QStringLiteral("logTable"), tr("Log"), model, this);
  table->setAlternatingRowColors(false);
  table->setColumnWidth(LogModel::Time, 110);
  table->setColumnWidth(LogModel::Level, 70);
  table->setColumnWidth(LogModel::Stage, 90);
  table->horizontalHeader()->setStretchLastSection(true);
  setWidget(table);
  connect(model, &QAbstractItemModel::rowsInserted, table, [table] {
    const auto* bar = table->verticalScrollBar();
    if (bar->value() >= bar->maximum() - 2) table->scrollToBottom();
  });
}

}  // namespace krasis::ui

#include "ui/docks/queue_dock.h"

#include <QCheckBox>
#include <QClipboard>
#include <QDir>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QPlainTextEdit>
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
  // Beside the table and with its own scroll bar: a long text must not move the buttons.
  failure_ = new QPlainTextEdit(content);
  failure_->setObjectName(QStringLiteral("queueFailure"));
  failure_->setAccessibleName(tr("Why the selected run failed"));
  failure_->setReadOnly(true);
  failure_->setTabChangesFocus(true);
  failure_->setMinimumHeight(0);
  failure_->hide();
  auto* middle = new QHBoxLayout;
  middle->addWidget(table_, 3);
  middle->addWidget(failure_, 2);
  auto* layout = new QVBoxLayout(content);
  layout->setContentsMargins(4, 4, 4, 4);
  layout->addWidget(make_buttons());
  layout->addLayout(middle, 1);
  setWidget(content);
  wire();
  update_buttons();
}

QWidget* QueueDock::make_buttons() {
  auto* bar = new QWidget(this);
  const auto button = [bar](const QString& name, const QString& text, const QString& tip) {
    auto* b = new QPushButton(text, bar);
    b->setObjectName(name);
    b->setAccessibleName(QString(text).remove(QLatin1Char('&')));
    b->setToolTip(tip);
    return b;
  };
  pause_ = button(QStringLiteral("pauseQueue"), tr("&Pause"), {});
  cancel_ = button(QStringLiteral("cancelRun"), tr("Ca&ncel run"), tr("Cancels the selected run"));
  cancel_all_ =
      button(QStringLiteral("cancelAll"), tr("Cancel &all"), tr("Cancels the running run and empties the queue"));
  retry_run_ = button(QStringLiteral("retryRun"), tr("R&etry run"), tr("Queues the selected run again"));
  retry_ =
      button(QStringLiteral("retryFailed"), tr("&Retry failed"),
             tr("Queues every run again that failed, crashed or ran out of memory; not those that were cancelled"));
  report_ =
      button(QStringLiteral("copyReport"), tr("Cop&y report"),
             tr("What went wrong with the selected run, the last lines of its log and its configuration, as text"));
  traces_ = new QCheckBox(tr("Write &traces"), bar);
  traces_->setObjectName(QStringLiteral("writeTraces"));
  traces_->setAccessibleName(tr("Write traces"));
  auto* layout = new QHBoxLayout(bar);
  layout->setContentsMargins(0, 0, 0, 0);
  for (auto* b : {pause_, cancel_, cancel_all_, retry_run_, retry_, report_}) layout->addWidget(b);
  layout->addWidget(traces_);
  layout->addStretch();
  return bar;
}

void QueueDock::wire() {
  connect(pause_, &QPushButton::clicked, this, [this] { controller_->set_paused(!controller_->is_paused()); });
  connect(traces_, &QCheckBox::toggled, controller_, &QueueController::set_writes_traces);
  connect(cancel_, &QPushButton::clicked, this, [this] { controller_->cancel(selected_run()); });
  connect(cancel_all_, &QPushButton::clicked, controller_, &QueueController::cancel_all);
  connect(retry_run_, &QPushButton::clicked, this, [this] { controller_->retry(selected_run()); });
  connect(retry_, &QPushButton::clicked, controller_, &QueueController::retry_failed);
  connect(report_, &QPushButton::clicked, this,
          [this] { QGuiApplication::clipboard()->setText(controller_->report_of(selected_run())); });
  connect(controller_, &QueueController::changed, this, &QueueDock::update_buttons);
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, &QueueDock::update_buttons);
  // The view would select the next row, and a second click on "Cancel run" would cancel that one, too.
  connect(model_, &QueueModel::about_to_remove, this, [this](qlonglong run) {
    if (run == selected_run()) table_->selectionModel()->clear();
  });
}

qlonglong QueueDock::selected_run() const {
  const auto rows = table_->selectionModel()->selectedRows();
  return rows.isEmpty() ? 0 : rows.constFirst().data(QueueModel::RunIdRole).toLongLong();
}

void QueueDock::update_buttons() {
  const auto& rows = model_->rows();
  const auto* selected = model_->row(selected_run());
  const auto waits = [](const QueueRow& r) { return !results::is_final(r.status); };
  const auto failed = [](const QueueRow& r) { return results::is_failure(r.status); };
  const bool ended_badly = selected && !waits(*selected) && selected->status != RunStatus::Done;
  const QSignalBlocker traces_blocker(traces_);
  traces_->setChecked(controller_->writes_traces());
  traces_->setToolTip(tr("Runs that start now write a timeline of copies and computation for Perfetto or chrome://tracing:\n%1")
                          .arg(QDir::toNativeSeparators(controller_->trace_folder() + QStringLiteral("/RUN.trace.json"))));
  update_pause();
  cancel_->setEnabled(selected && waits(*selected));
  cancel_all_->setEnabled(std::any_of(rows.begin(), rows.end(), waits));
  retry_run_->setEnabled(ended_badly);
  retry_->setEnabled(std::any_of(rows.begin(), rows.end(), failed));
  report_->setEnabled(ended_badly);
  update_failure(selected ? selected->failure : QString());
}

void QueueDock::update_pause() {
  const bool paused = controller_->is_paused();
  pause_->setText(paused ? tr("&Resume") : tr("&Pause"));
  pause_->setAccessibleName(paused ? tr("Resume the queue") : tr("Pause the queue"));
  pause_->setToolTip(paused ? tr("Starts the next run") : tr("Stops after the run that is running"));
}

void QueueDock::update_failure(const QString& text) {
  QPalette colors = palette();
  colors.setColor(QPalette::Text, tone_color(Tone::Bad, palette()));
  failure_->setPalette(colors);
  if (failure_->toPlainText() != text) failure_->setPlainText(text);  // keeps the scroll position otherwise
  failure_->setVisible(!text.isEmpty());
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

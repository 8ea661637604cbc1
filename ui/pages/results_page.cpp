#include "ui/pages/results_page.h"

#include <QAction>
#include <QCheckBox>
#include <QClipboard>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QScrollBar>
#include <QSplitter>
#include <QStackedWidget>
#include <QTabWidget>
#include <QTableView>
#include <QVBoxLayout>

#include "results_db/export_markdown.h"
#include "results_db/telemetry.h"
#include "ui/controllers/database_service.h"
#include "ui/format.h"
#include "ui/models/chart_data.h"
#include "ui/models/queue_model.h"
#include "ui/models/results_model.h"
#include "ui/models/samples_model.h"
#include "ui/widgets/empty_state.h"
#include "ui/widgets/metric_chart.h"
#include "ui/widgets/tables.h"

namespace krasis::ui {
namespace {

enum State { Table, NoResults, NothingMatches };

}  // namespace

ResultsPage::ResultsPage(DatabaseService* database, QWidget* parent)
    : QWidget(parent),
      database_(database),
      model_(new ResultsModel(this)),
      filter_(new ResultsFilter(this)),
      samples_(new SamplesModel(this)),
      configuration_(new FactsModel(this)),
      telemetry_(new FactsModel(this)),
      environment_(new FactsModel(this)),
      log_(new LogModel(this)) {
  setObjectName(QStringLiteral("resultsPage"));
  filter_->setSourceModel(model_);
  auto* splitter = new QSplitter(Qt::Vertical, this);
  splitter->setObjectName(QStringLiteral("resultsSplitter"));
  splitter->setChildrenCollapsible(false);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(make_toolbar());
  layout->addWidget(splitter, 1);
  splitter->addWidget(make_table_stack());
  splitter->addWidget(make_details());
  splitter->setStretchFactor(0, 3);
  splitter->setStretchFactor(1, 4);

  connect(database_, &DatabaseService::opened, this, &ResultsPage::forget);
  connect(database_, &DatabaseService::changed, this, &ResultsPage::reload);
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, &ResultsPage::show_details);
  connect(prefill_chart_, &MetricChart::run_clicked, this, &ResultsPage::select_run);
  connect(decode_chart_, &MetricChart::run_clicked, this, &ResultsPage::select_run);
  reload();
}

QWidget* ResultsPage::make_toolbar() {
  auto* bar = new QWidget(this);
  auto* layout = new QHBoxLayout(bar);
  layout->setContentsMargins(0, 0, 0, 0);
  auto* label = new QLabel(tr("&Filter:"), bar);
  filter_edit_ = new QLineEdit(bar);
  filter_edit_->setObjectName(QStringLiteral("resultsFilter"));
  filter_edit_->setAccessibleName(tr("Filter of runs"));
  filter_edit_->setPlaceholderText(tr("words, or conditions such as lgs=2 decode>8 verdict=pass"));
  filter_edit_->setClearButtonEnabled(true);
  label->setBuddy(filter_edit_);
  show_constant_ = new QCheckBox(tr("Show &constant columns"), bar);
  show_constant_->setObjectName(QStringLiteral("showConstantColumns"));
  show_constant_->setAccessibleName(tr("Show constant columns"));
  hide_failed_ = new QCheckBox(tr("&Hide failed"), bar);
  hide_failed_->setObjectName(QStringLiteral("hideFailed"));
  hide_failed_->setAccessibleName(tr("Hide failed runs"));
  hide_failed_->setToolTip(tr("Leaves out, here and on Home, the runs that failed, crashed or ran out of memory"));
  count_ = new QLabel(bar);
  count_->setObjectName(QStringLiteral("resultsCount"));
  baseline_ = new QPushButton(tr("Set as &baseline"), bar);
  baseline_->setObjectName(QStringLiteral("setBaseline"));
  compare_ = new QPushButton(tr("C&ompare"), bar);
  compare_->setObjectName(QStringLiteral("compareSelected"));
  copy_ = new QPushButton(tr("Copy &Markdown"), bar);
  copy_->setObjectName(QStringLiteral("copyMarkdown"));
  for (auto* button : {baseline_, compare_, copy_}) button->setAccessibleName(button->text().remove(QLatin1Char('&')));
  copy_->setToolTip(tr("The selected rows, or all shown ones, as a GitHub Markdown table"));
  compare_->setToolTip(tr("The selected runs side by side; the first is the baseline unless one is pinned"));
  layout->addWidget(label);
  layout->addWidget(filter_edit_, 1);
  layout->addWidget(hide_failed_);
  layout->addWidget(show_constant_);
  layout->addWidget(count_);
  layout->addWidget(baseline_);
  layout->addWidget(compare_);
  layout->addWidget(copy_);
  connect(filter_edit_, &QLineEdit::textChanged, this, &ResultsPage::apply_filter);
  connect(hide_failed_, &QCheckBox::toggled, this, [this](bool hide) {
    filter_->set_hide_failed(hide);
    refilter();
    emit hide_failed_changed(hide);
  });
  connect(show_constant_, &QCheckBox::toggled, this, &ResultsPage::update_columns);
  connect(copy_, &QPushButton::clicked, this, &ResultsPage::copy_markdown);
  connect(baseline_, &QPushButton::clicked, this, [this] {
    const auto runs = selected_runs();
    if (!runs.empty()) emit baseline_chosen(runs.front().run.id);
  });
  connect(compare_, &QPushButton::clicked, this, [this] {
    QList<qlonglong> ids;
    for (const auto& summary : selected_runs()) ids << summary.run.id;
    emit compare_requested(ids);
  });
  return bar;
}

QWidget* ResultsPage::make_table_stack() {
  stack_ = new QStackedWidget(this);
  stack_->setMinimumHeight(120);
  table_ = make_table(QStringLiteral("resultsTable"), tr("Runs"), filter_, stack_);
  table_->setSortingEnabled(true);
  table_->setItemDelegate(new ResultDelegate(table_));
  table_->horizontalHeader()->setSectionsMovable(true);
  table_->sortByColumn(model_->column_of(QStringLiteral("time")), Qt::AscendingOrder);
  stack_->addWidget(table_);
  auto* none = new EmptyState(QStringLiteral("noResults"), tr("No results yet"),
                              tr("Measure a model: choose values on the Sweep page and enqueue the runs."),
                              tr("Go to Sweep"), stack_);
  stack_->addWidget(none);
  auto* nothing = new EmptyState(QStringLiteral("nothingMatches"), tr("No run matches the filter"),
                                 tr("The filter hides every run."), tr("Clear filter"), stack_);
  stack_->addWidget(nothing);
  connect(none, &EmptyState::triggered, this, &ResultsPage::sweep_page_requested);
  connect(nothing, &EmptyState::triggered, this, [this] {
    filter_edit_->clear();
    hide_failed_->setChecked(false);
  });
  auto* again = new QAction(tr("R&un again"), table_);
  table_->addAction(again);
  table_->setContextMenuPolicy(Qt::ActionsContextMenu);
  connect(again, &QAction::triggered, this, &ResultsPage::run_again);
  return stack_;
}

QWidget* ResultsPage::make_details() {
  details_ = new QTabWidget(this);
  details_->setObjectName(QStringLiteral("resultsDetails"));
  details_->setAccessibleName(tr("Charts and details of the selected run"));
  auto* charts = new QSplitter(Qt::Horizontal, details_);
  charts->setChildrenCollapsible(false);
  prefill_chart_ = new MetricChart(MetricChart::Form::Bars, charts);
  prefill_chart_->setObjectName(QStringLiteral("prefillChart"));
  decode_chart_ = new MetricChart(MetricChart::Form::Lines, charts);
  decode_chart_->setObjectName(QStringLiteral("decodeChart"));
  charts->addWidget(prefill_chart_);
  charts->addWidget(decode_chart_);
  details_->addTab(charts, tr("Chart"));
  const auto add = [this](const QString& name, const QString& title, QAbstractItemModel* model) {
    auto* table = make_table(name, title, model, details_);
    table->horizontalHeader()->setStretchLastSection(true);
    details_->addTab(table, title);
    connect(model, &QAbstractItemModel::modelReset, table, [table] { fit_columns(table); });
  };
  add(QStringLiteral("samplesTable"), tr("Samples"), samples_);
  add(QStringLiteral("telemetryTable"), tr("Telemetry"), telemetry_);
  add(QStringLiteral("configurationTable"), tr("Configuration"), configuration_);
  add(QStringLiteral("environmentTable"), tr("Environment"), environment_);
  add(QStringLiteral("runLogTable"), tr("Log"), log_);
  return details_;
}

/// Another database: its runs may have the ids of those that were selected.
void ResultsPage::forget() {
  table_->clearSelection();
  model_->set_runs({});
  columns_fitted_ = false;
}

bool ResultsPage::hides_failed() const {
  return hide_failed_->isChecked();
}

void ResultsPage::set_hide_failed(bool hide) {
  hide_failed_->setChecked(hide);
}

void ResultsPage::run_again() {
  QList<qlonglong> ids;
  for (const auto& summary : selected_runs()) {
    if (results::is_final(summary.run.status)) ids << summary.run.id;
  }
  if (ids.isEmpty()) return emit message(tr("Select runs that have ended."));
  emit run_again_requested(ids);
}

void ResultsPage::reload() {
  if (!database_->is_open()) return update_states();
  auto summaries = database_->database().summaries();
  if (!summaries) {
    emit message(QString::fromStdString(summaries.error().message()));
    return;
  }
  // Queued runs live in the queue; here a row is something that was measured or tried.
  std::erase_if(*summaries, [](const auto& s) { return s.run.status == results::RunStatus::Queued; });
  model_->set_runs(std::move(*summaries));
  update_states();
  update_columns();
  if (!columns_fitted_ && model_->rowCount() > 0) {
    fit_columns(table_);
    columns_fitted_ = true;
  }
  update_charts();
  show_details();
}

void ResultsPage::apply_filter(const QString& text) {
  filter_->set_filter(text);
  refilter();
}

void ResultsPage::refilter() {
  update_states();
  update_columns();
  update_charts();
}

void ResultsPage::update_states() {
  const int all = model_->rowCount();
  const int shown = filter_->rowCount();
  stack_->setCurrentIndex(all == 0 ? NoResults : shown == 0 ? NothingMatches : Table);
  details_->setVisible(all != 0);
  count_->setText(shown == all ? counted(all, tr("1 run"), tr("%1 runs")) : tr("%1 of %2 runs").arg(shown).arg(all));
  const bool any = !selected_runs().empty();
  copy_->setEnabled(shown > 0);
  baseline_->setEnabled(any);
  compare_->setEnabled(any);
}

void ResultsPage::update_columns() {
  const auto constant = filter_->constant_columns();
  for (int column = 0; column < filter_->columnCount(); ++column) {
    table_->setColumnHidden(column, constant[static_cast<std::size_t>(column)] && !show_constant_->isChecked());
  }
}

void ResultsPage::update_charts() {
  const auto shown = filter_->shown_runs();
  prefill_chart_->set_data(prefill_chart(shown));
  decode_chart_->set_data(decode_chart(shown));
}

std::vector<results::RunSummary> ResultsPage::selected_runs() const {
  std::vector<results::RunSummary> runs;
  auto rows = table_->selectionModel()->selectedRows();
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.row() < b.row(); });
  for (const auto& row : rows) {
    if (const auto* summary = model_->run(row.data(ResultsModel::RunIdRole).toLongLong())) runs.push_back(*summary);
  }
  return runs;
}

void ResultsPage::show_details() {
  const auto runs = selected_runs();
  baseline_->setEnabled(!runs.empty());
  compare_->setEnabled(!runs.empty());
  const results::RunId id = runs.empty() ? 0 : runs.front().run.id;
  prefill_chart_->select_run(id);
  decode_chart_->select_run(id);
  if (runs.empty()) {
    samples_->set_repetitions({});
    telemetry_->set_facts({});
    configuration_->set_facts({});
    environment_->set_facts({});
    log_->set_lines({});
    return;
  }
  const auto& run = runs.front().run;
  samples_->set_repetitions(database_->database().repetitions(id).value_or(std::vector<results::Repetition>{}));
  log_->set_lines(database_->database().log(id).value_or(std::vector<results::LogLine>{}));
  std::vector<FactsModel::Fact> telemetry;
  for (const auto& line : results::describe_telemetry(run.telemetry_json)) {
    telemetry.push_back({QString::fromStdString(line.group + ": " + line.name), QString::fromStdString(line.value),
                         QString::fromStdString(line.meaning)});
  }
  telemetry_->set_facts(std::move(telemetry));
  auto facts = FactsModel::from_json(run.configuration_json);
  for (auto& fact : FactsModel::from_json(run.plan_json)) facts.push_back({tr("plan.%1").arg(fact.name), fact.value});
  configuration_->set_facts(std::move(facts));
  std::vector<FactsModel::Fact> environment;
  if (run.environment) {
    const auto& e = *run.environment;
    environment = {{tr("Machine"), QString::fromStdString(e.machine)}, {tr("CPU"), QString::fromStdString(e.cpu)},
                   {tr("GPU"), QString::fromStdString(e.gpu)},         {tr("Driver"), QString::fromStdString(e.driver)},
                   {tr("Kernel"), QString::fromStdString(e.kernel)},   {tr("Build"), QString::fromStdString(e.build)}};
    for (auto& fact : FactsModel::from_json(e.facts_json)) environment.push_back(std::move(fact));
    for (auto& fact : FactsModel::from_json(e.ceilings_json)) environment.push_back(std::move(fact));
  }
  environment_->set_facts(std::move(environment));
}

void ResultsPage::select_run(qlonglong run) {
  for (int row = 0; row < filter_->rowCount(); ++row) {
    if (filter_->index(row, 0).data(ResultsModel::RunIdRole).toLongLong() != run) continue;
    table_->selectRow(row);
    table_->scrollTo(filter_->index(row, 0));
    return;
  }
}

void ResultsPage::focus_filter() {
  filter_edit_->setFocus(Qt::ShortcutFocusReason);
  filter_edit_->selectAll();
}

void ResultsPage::copy_markdown() {
  auto runs = selected_runs();
  if (runs.empty()) runs = filter_->shown_runs();
  if (runs.empty()) {
    emit message(tr("There is no run to copy."));
    return;
  }
  QGuiApplication::clipboard()->setText(QString::fromStdString(results::export_markdown(runs)));
  emit message(
      counted(static_cast<qint64>(runs.size()), tr("1 run copied as Markdown"), tr("%1 runs copied as Markdown")));
}

}  // namespace krasis::ui

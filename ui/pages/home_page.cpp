#include "ui/pages/home_page.h"

#include <QCheckBox>
#include <QDir>
#include <QFileDialog>
#include <QGroupBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QListWidget>
#include <QPushButton>
#include <QTableView>
#include <QVBoxLayout>

#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "ui/format.h"
#include "ui/models/results_model.h"
#include "ui/models/samples_model.h"
#include "ui/theme.h"
#include "ui/widgets/tables.h"

namespace krasis::ui {

HomePage::HomePage(ConfigurationController* configuration, DatabaseService* database, ResultsModel* results,
                   QWidget* parent)
    : QWidget(parent), configuration_(configuration), database_(database), results_(results) {
  setObjectName(QStringLiteral("homePage"));
  auto* title = new QLabel(tr("Krasis Workbench"), this);
  QFont font = title->font();
  font.setPointSizeF(font.pointSizeF() * 1.6);
  title->setFont(font);
  auto* question = new QLabel(tr("Which placement and which quantization run this model fastest on this machine?"), this);
  question->setWordWrap(true);
  const auto button = [this](const QString& name, const QString& text) {
    auto* b = new QPushButton(text, this);
    b->setObjectName(name);
    b->setAccessibleName(QString(text).remove(QLatin1Char('&')));
    return b;
  };
  auto* run = button(QStringLiteral("runBuiltIn"), tr("&Run the built-in model"));
  run->setToolTip(tr("Opens the first sweep: LGS, hot cache and quantization of the embedded model, 12 runs"));
  run->setDefault(true);
  auto* chat = button(QStringLiteral("chatBuiltIn"), tr("Chat with the &built-in model"));
  auto* sweep = button(QStringLiteral("newSweep"), tr("&New sweep"));
  auto* buttons = new QHBoxLayout;
  for (auto* b : {run, chat, sweep}) buttons->addWidget(b);
  buttons->addStretch();
  auto* upper = new QHBoxLayout;
  upper->addWidget(make_machine(), 1);
  upper->addWidget(make_models(), 1);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(title);
  layout->addWidget(question);
  layout->addLayout(buttons);
  layout->addLayout(upper, 2);
  layout->addWidget(make_recent(), 3);
  const auto choose_embedded = [this] {
    RunConfiguration configuration_now = configuration_->configuration();
    configuration_now.model = "embedded";
    configuration_->set_configuration(configuration_now);
  };
  connect(run, &QPushButton::clicked, this, &HomePage::run_first_sweep);
  connect(chat, &QPushButton::clicked, this, [this, choose_embedded] {
    choose_embedded();
    emit chat_requested();
  });
  connect(sweep, &QPushButton::clicked, this, &HomePage::sweep_requested);
  refresh_models();
}

QWidget* HomePage::make_machine() {
  auto* box = new QGroupBox(tr("This machine"), this);
  machine_ = new FactsModel(box);
  machine_->set_facts(configuration_->services().machine);
  auto* table = make_table(QStringLiteral("machineTable"), tr("This machine"), machine_, box);
  table->horizontalHeader()->hide();
  table->horizontalHeader()->setStretchLastSection(true);
  table->setFocusPolicy(Qt::TabFocus);
  table->resizeColumnToContents(0);
  table->setWordWrap(true);  // remedies are sentences
  table->verticalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  auto* layout = new QVBoxLayout(box);
  layout->addWidget(table);
  return box;
}

void HomePage::set_devices(const FoundDevices& devices) {
  if (!devices.known) return;
  std::vector<FactsModel::Fact> facts;
  for (const auto& fact : configuration_->services().machine) {
    if (fact.name != gpu_fact_name()) {
      facts.push_back(fact);
      continue;
    }
    if (devices.gpus.empty()) facts.push_back({fact.name, tr("none; the host device works"), devices.why_no_gpu});
    for (const auto& gpu : devices.gpus) {
      const QString name = devices.gpus.size() > 1 ? tr("GPU %1").arg(gpu.index) : fact.name;
      QString value = tr("%1, %2").arg(QString::fromStdString(gpu.name), format_bytes(gpu.memory_bytes));
      if (!devices.driver.isEmpty()) value = tr("%1, driver %2").arg(value, devices.driver);
      facts.push_back({name, value, {}});
    }
  }
  machine_->set_facts(std::move(facts));
}

QWidget* HomePage::make_models() {
  auto* box = new QGroupBox(tr("Models"), this);
  models_ = new QListWidget(box);
  models_->setObjectName(QStringLiteral("modelList"));
  models_->setAccessibleName(tr("Models; Return chooses one"));
  models_->setWordWrap(true);
  auto* add = new QPushButton(tr("&Add a model folder\u2026"), box);
  add->setObjectName(QStringLiteral("addModelFolder"));
  add->setAccessibleName(tr("Add a model folder"));
  auto* layout = new QVBoxLayout(box);
  layout->addWidget(models_, 1);
  layout->addWidget(add, 0, Qt::AlignLeft);
  connect(add, &QPushButton::clicked, this, &HomePage::add_model_folder);
  connect(models_, &QListWidget::itemActivated, this, [this](const QListWidgetItem* item) {
    RunConfiguration configuration = configuration_->configuration();
    configuration.model = item->data(Qt::UserRole).toString().toStdString();
    configuration_->set_configuration(configuration);
  });
  return box;
}

QWidget* HomePage::make_recent() {
  auto* box = new QGroupBox(tr("Recent runs"), this);
  auto* newest = new ResultsFilter(box);
  newest->setSourceModel(results_);
  newest->sort(results_->column_of(QStringLiteral("time")), Qt::DescendingOrder);
  recent_ = make_table(QStringLiteral("recentRuns"), tr("Recent runs"), newest, box);
  recent_->setItemDelegate(new ResultDelegate(recent_));
  const QStringList shown{QStringLiteral("time"),    QStringLiteral("model"),      QStringLiteral("lgs"),
                          QStringLiteral("hcs"),     QStringLiteral("gpu_format"), QStringLiteral("cpu_format"),
                          QStringLiteral("prefill"), QStringLiteral("decode"),     QStringLiteral("verdict"),
                          QStringLiteral("status")};
  for (int c = 0; c < results_->columnCount(); ++c) recent_->setColumnHidden(c, !shown.contains(results_->key_of(c)));
  no_runs_ = new QLabel(tr("Nothing was run yet. The built-in model needs no download and no GPU."), box);
  no_runs_->setObjectName(QStringLiteral("noRuns"));
  no_runs_->setWordWrap(true);
  hide_failed_ = new QCheckBox(tr("&Hide failed"), box);
  hide_failed_->setObjectName(QStringLiteral("hideFailedRecent"));
  hide_failed_->setAccessibleName(tr("Hide failed runs"));
  connect(hide_failed_, &QCheckBox::toggled, this, [this, newest](bool hide) {
    newest->set_hide_failed(hide);
    emit hide_failed_changed(hide);
  });
  auto* layout = new QVBoxLayout(box);
  layout->addWidget(no_runs_);
  layout->addWidget(hide_failed_);
  layout->addWidget(recent_, 1);
  const auto update = [this] {
    const bool any = results_->rowCount() > 0;
    hide_failed_->setVisible(any);
    recent_->setVisible(any);
    no_runs_->setVisible(!any);
    if (any) fit_columns(recent_);
  };
  connect(results_, &QAbstractItemModel::rowsInserted, this, update);
  connect(results_, &QAbstractItemModel::modelReset, this, update);
  connect(recent_, &QTableView::activated, this, [this](const QModelIndex& index) {
    emit run_chosen(index.data(ResultsModel::RunIdRole).toLongLong());
  });
  update();
  return box;
}

void HomePage::set_hide_failed(bool hide) {
  hide_failed_->setChecked(hide);
}

void HomePage::set_model_folders(const QStringList& folders) {
  folders_ = folders;
  refresh_models();
}

void HomePage::add_model_folder() {
  const QString path = QFileDialog::getExistingDirectory(this, tr("Model folder in Hugging Face layout"));
  if (path.isEmpty() || folders_.contains(path)) return;
  folders_ << path;
  refresh_models();
}

void HomePage::refresh_models() {
  models_->clear();
  QStringList all{QStringLiteral("embedded")};
  all << folders_;
  for (const QString& name : all) {
    const auto model = resolve_model(name.toStdString(), configuration_->services().resources);
    const QString about =
        model ? QString::fromStdString(model_summary(*model)) : QStringLiteral("\u26a0 ") + format_error(model.error());
    auto* item = new QListWidgetItem(QStringLiteral("%1\n%2").arg(name, about), models_);
    item->setData(Qt::UserRole, name);
  }
}

}  // namespace krasis::ui

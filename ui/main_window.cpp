#include "ui/main_window.h"

#include <QEvent>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QLabel>
#include <QListWidget>
#include <QPointer>
#include <QProgressBar>
#include <QSettings>
#include <QStackedWidget>
#include <QStatusBar>
#include <QVBoxLayout>
#include <algorithm>
#include <array>

#include "ui/controllers/chat_controller.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "ui/controllers/device_probe.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/sweep_controller.h"
#include "ui/docks/configuration_dock.h"
#include "ui/docks/queue_dock.h"
#include "ui/format.h"
#include "ui/pages/chat_page.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/home_page.h"
#include "ui/pages/results_page.h"
#include "ui/pages/sweep_page.h"
#include "ui/theme.h"
#include "ui/widgets/notice_bar.h"

namespace krasis::ui {
namespace {

constexpr int kLayoutVersion = 1;
constexpr std::array<const char*, MainWindow::PageCount> kIcons{"home", "chat", "sweep", "results", "compare"};

}  // namespace

MainWindow::MainWindow(Services services, QWidget* parent) : QMainWindow(parent), services_(std::move(services)) {
  setObjectName(QStringLiteral("mainWindow"));
  setWindowTitle(tr("Krasis Workbench"));
  setWindowIcon(QIcon(QStringLiteral(":/icons/krasis.svg")));
  settings_ = services_.settings_file.isEmpty()
                  ? std::make_unique<QSettings>()
                  : std::make_unique<QSettings>(services_.settings_file, QSettings::IniFormat);
  if (!services_.worker_command_given) {
    services_.worker_command = settings_->value(QStringLiteral("worker_command"), services_.worker_command).toString();
  }
  const QString usual_database = services_.database;
  if (!services_.database_given) {
    services_.database = settings_->value(QStringLiteral("database"), services_.database).toString();
  }
  make_controllers();
  make_pages();
  make_docks();
  make_status_bar();
  wire();
  wire_turns();
  make_menus();
  update_icons();
  reset_layout();
  restore_saved_state();
  open_remembered_database(usual_database);
  show_page(Home);
  update_status();
  probe_devices();
}

MainWindow::~MainWindow() = default;

void MainWindow::make_controllers() {
  database_ = new DatabaseService(this);
  configuration_ = new ConfigurationController(&services_, this);
  probe_ = new DeviceProbe(this);
  const auto command = WorkerCommand::parse(services_.worker_command);
  run_worker_ = new WorkerController(command, this);
  chat_worker_ = new WorkerController(command, this);
  queue_model_ = new QueueModel(this);
  log_model_ = new LogModel(this);
  queue_ = new QueueController(database_, run_worker_, queue_model_, log_model_, this);
  sweep_ = new SweepController(configuration_, queue_, database_, this);
  chat_ = new ChatController(chat_worker_, this);
}

void MainWindow::make_pages() {
  auto* central = new QWidget(this);
  page_bar_ = new QListWidget(central);
  page_bar_->setObjectName(QStringLiteral("pageBar"));
  page_bar_->setAccessibleName(tr("Pages"));
  page_bar_->setIconSize(QSize(24, 24));
  page_bar_->setFrameShape(QFrame::NoFrame);
  page_bar_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  for (const QString& title : {tr("Home"), tr("Chat"), tr("Sweep"), tr("Results"), tr("Compare")}) {
    auto* item = new QListWidgetItem(title, page_bar_);
    item->setSizeHint(QSize(110, 40));
    item->setToolTip(tr("%1 (Ctrl+%2)").arg(title).arg(page_bar_->count()));
  }
  page_bar_->setFixedWidth(124);
  banner_ = new QLabel(central);
  banner_->setObjectName(QStringLiteral("banner"));
  banner_->setAccessibleName(tr("Notice"));
  banner_->setWordWrap(true);
  banner_->setMargin(6);
  banner_->setAutoFillBackground(true);
  banner_->hide();
  make_queue_notice();
  pages_ = new QStackedWidget(central);
  pages_->setObjectName(QStringLiteral("pages"));
  results_page_ = new ResultsPage(database_, pages_);
  home_page_ = new HomePage(configuration_, database_, results_page_->model(), pages_);
  chat_page_ = new ChatPage(chat_, configuration_, pages_);
  sweep_page_ = new SweepPage(sweep_, pages_);
  compare_page_ = new ComparePage(database_, pages_);
  for (QWidget* page : {static_cast<QWidget*>(home_page_), static_cast<QWidget*>(chat_page_),
                        static_cast<QWidget*>(sweep_page_), static_cast<QWidget*>(results_page_),
                        static_cast<QWidget*>(compare_page_)}) {
    pages_->addWidget(page);
  }
  auto* right = new QVBoxLayout;
  right->setContentsMargins(0, 0, 0, 0);
  right->addWidget(banner_);
  right->addWidget(queue_notice_);
  right->addWidget(pages_, 1);
  auto* layout = new QHBoxLayout(central);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  layout->addWidget(page_bar_);
  layout->addLayout(right, 1);
  setCentralWidget(central);
}

void MainWindow::make_docks() {
  setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
  configuration_dock_ = new ConfigurationDock(configuration_, this);
  queue_dock_ = new QueueDock(queue_, queue_model_, this);
  log_dock_ = new LogDock(log_model_, this);
}

void MainWindow::make_status_bar() {
  worker_label_ = new QLabel(this);
  worker_label_->setObjectName(QStringLiteral("workerState"));
  database_label_ = new QLabel(this);
  database_label_->setObjectName(QStringLiteral("databaseState"));
  progress_label_ = new QLabel(this);
  progress_label_->setObjectName(QStringLiteral("queueProgress"));
  progress_ = new QProgressBar(this);
  progress_->setObjectName(QStringLiteral("queueProgressBar"));
  progress_->setAccessibleName(tr("Progress of the queue"));
  progress_->setMaximumWidth(140);
  progress_->setTextVisible(false);
  for (auto* label : {worker_label_, database_label_, progress_label_}) statusBar()->addPermanentWidget(label);
  statusBar()->addPermanentWidget(progress_);
}

void MainWindow::wire() {
  connect(probe_, &DeviceProbe::found, configuration_, &ConfigurationController::set_devices);
  connect(probe_, &DeviceProbe::found, home_page_, &HomePage::set_devices);
  connect(page_bar_, &QListWidget::currentRowChanged, pages_, &QStackedWidget::setCurrentIndex);
  connect(home_page_, &HomePage::chat_requested, this, [this] {
    show_page(Chat);
    chat_page_->focus_composer();
  });
  connect(home_page_, &HomePage::sweep_requested, this, [this] { show_page(Sweep); });
  connect(home_page_, &HomePage::run_first_sweep, this, [this] {
    show_page(Sweep);
    sweep_page_->load_first_sweep();
  });
  connect(home_page_, &HomePage::run_chosen, this, [this](qlonglong run) {
    show_page(Results);
    results_page_->select_run(run);
  });
  connect(results_page_, &ResultsPage::sweep_page_requested, this, [this] { show_page(Sweep); });
  connect(results_page_, &ResultsPage::baseline_chosen, compare_page_, &ComparePage::set_baseline);
  connect(results_page_, &ResultsPage::compare_requested, this, [this](const QList<qlonglong>& runs) {
    compare_page_->compare(runs);
    show_page(Compare);
  });
  connect(compare_page_, &ComparePage::results_page_requested, this, [this] { show_page(Results); });
  connect(results_page_, &ResultsPage::message, this, &MainWindow::show_message);
  connect(compare_page_, &ComparePage::message, this, &MainWindow::show_message);
  connect(sweep_page_, &SweepPage::message, this, &MainWindow::show_message);
  connect(queue_, &QueueController::message, this, &MainWindow::show_message);
  connect(queue_, &QueueController::changed, this, &MainWindow::update_status);
  connect(queue_, &QueueController::changed, this, &MainWindow::update_queue_notice);
  connect(results_page_, &ResultsPage::run_again_requested, this, [this](const QList<qlonglong>& runs) {
    for (const auto run : runs) queue_->retry(run);
  });
  connect(results_page_, &ResultsPage::hide_failed_changed, home_page_, &HomePage::set_hide_failed);
  connect(home_page_, &HomePage::hide_failed_changed, results_page_, &ResultsPage::set_hide_failed);
  connect(run_worker_, &WorkerController::state_changed, this, &MainWindow::update_status);
  connect(chat_worker_, &WorkerController::state_changed, this, &MainWindow::update_status);
  connect(chat_worker_, &WorkerController::logged, log_model_, &LogModel::append);
  connect(database_, &DatabaseService::opened, this, &MainWindow::update_status);
}

void MainWindow::show_page(Page page) { page_bar_->setCurrentRow(page); }

void MainWindow::probe_devices() {
  if (services_.probe_devices) probe_->start(WorkerCommand::parse(services_.worker_command));
}

void MainWindow::show_message(const QString& text) { statusBar()->showMessage(text, 8000); }

void MainWindow::send_or_run() {
  // A shortcut leaves the focus where it is, and a field that is still being typed in is read when it loses it.
  if (const QPointer<QWidget> focused = focusWidget()) {
    focused->clearFocus();
    if (focused && focused->isVisible()) focused->setFocus();
  }
  if (pages_->currentIndex() == Chat) return chat_page_->send();
  if (pages_->currentIndex() == Sweep) sweep_page_->enqueue();
}

void MainWindow::open_remembered_database(const QString& usual) {
  const QString remembered = services_.database;
  if (remembered == usual || QFileInfo::exists(remembered)) {
    open_database(remembered);
    return;
  }
  services_.database = usual;
  if (!open_database(usual)) return;
  banner_->setText(QStringLiteral("\u26a0 ") +
                   tr("The database %1 is not there any more; %2 was opened.").arg(remembered, usual));
  banner_->show();
}

bool MainWindow::open_database(const QString& path, DatabaseService::Opening opening) {
  if (queue_->is_running()) {
    show_message(tr("A run is being stored. Cancel it or wait before opening another database."));
    return false;
  }
  const auto opened = database_->open(path, opening);
  if (!opened) {
    banner_->setText(QStringLiteral("\u26a0 ") + tr("The database %1 was not opened. %2").arg(path, format_error(opened.error())));
    banner_->show();
    return false;
  }
  const QString reason = database_->read_only_reason();
  banner_->setText(QStringLiteral("\u26a0 ") + tr("Read-only: %1").arg(reason));
  banner_->setVisible(!reason.isEmpty());
  return true;
}

void MainWindow::update_status() {
  const auto text = [](WorkerController::State state) {
    switch (state) {
      case WorkerController::State::Stopped: return tr("not running");
      case WorkerController::State::Starting: return tr("starting");
      case WorkerController::State::Loading: return tr("loading");
      case WorkerController::State::Busy: return tr("busy");
      case WorkerController::State::Idle: return tr("ready");
    }
    return QString();
  };
  // The one that does something is the one to show.
  const auto shown = std::max(run_worker_->state(), chat_worker_->state(), [](auto a, auto b) {
    const auto rank = [](WorkerController::State s) { return s == WorkerController::State::Idle ? 0.5 : static_cast<double>(s); };
    return rank(a) < rank(b);
  });
  worker_label_->setText(tr("Worker: %1").arg(text(shown)));
  const QString path = database_->path();
  setWindowTitle(path.isEmpty() ? tr("Krasis Workbench")
                                : tr("%1 \u2014 Krasis Workbench").arg(QFileInfo(path).fileName()));
  database_label_->setText(path.isEmpty() ? tr("No database") : QFileInfo(path).fileName());
  database_label_->setToolTip(path);
  const int total = queue_->total();
  const bool active = queue_->done() < total;
  const double eta = queue_->eta_s();
  QString progress;
  if (active) {
    progress = QStringLiteral("%1/%2").arg(queue_->done()).arg(total);
    if (queue_->is_paused()) progress = tr("%1, paused").arg(progress);
    else if (eta >= 0) progress = tr("%1, ETA %2").arg(progress, format_duration(eta));
  } else if (total > 0) {
    progress = tr("%1/%1 done").arg(total);
  }
  progress_label_->setText(progress);
  progress_->setVisible(active);
  progress_->setRange(0, std::max(1, total));
  progress_->setValue(queue_->done());
}

void MainWindow::update_icons() {
  for (int i = 0; i < PageCount; ++i) {
    page_bar_->item(i)->setIcon(themed_icon(QLatin1String(kIcons[static_cast<std::size_t>(i)]), palette()));
  }
  QPalette colors = palette();
  colors.setColor(QPalette::Window, palette().color(QPalette::AlternateBase));
  colors.setColor(QPalette::WindowText, tone_color(Tone::Warning, palette()));
  banner_->setPalette(colors);
}

void MainWindow::save_state() {
  settings_->setValue(QStringLiteral("layout_version"), kLayoutVersion);
  settings_->setValue(QStringLiteral("geometry"), saveGeometry());
  settings_->setValue(QStringLiteral("state"), saveState(kLayoutVersion));
  settings_->setValue(QStringLiteral("model_folders"), home_page_->model_folders());
  settings_->setValue(QStringLiteral("write_traces"), queue_->writes_traces());
  settings_->setValue(QStringLiteral("hide_failed"), results_page_->hides_failed());
  if (database_->is_open()) settings_->setValue(QStringLiteral("database"), database_->path());
}

void MainWindow::restore_saved_state() {
  queue_->set_writes_traces(settings_->value(QStringLiteral("write_traces")).toBool());
  results_page_->set_hide_failed(settings_->value(QStringLiteral("hide_failed")).toBool());
  home_page_->set_model_folders(settings_->value(QStringLiteral("model_folders")).toStringList());
  if (settings_->value(QStringLiteral("layout_version")).toInt() != kLayoutVersion) return;
  restoreGeometry(settings_->value(QStringLiteral("geometry")).toByteArray());
  restoreState(settings_->value(QStringLiteral("state")).toByteArray(), kLayoutVersion);
}

void MainWindow::reset_layout() {
  addDockWidget(Qt::RightDockWidgetArea, configuration_dock_);
  addDockWidget(Qt::BottomDockWidgetArea, queue_dock_);
  addDockWidget(Qt::BottomDockWidgetArea, log_dock_);
  for (QDockWidget* dock : {static_cast<QDockWidget*>(configuration_dock_), static_cast<QDockWidget*>(queue_dock_),
                            static_cast<QDockWidget*>(log_dock_)}) {
    dock->setFloating(false);
    dock->show();
  }
  tabifyDockWidget(queue_dock_, log_dock_);
  queue_dock_->raise();
  if (!isVisible()) resize(1280, 800);
  resizeDocks({configuration_dock_}, {330}, Qt::Horizontal);
  resizeDocks({queue_dock_}, {170}, Qt::Vertical);
}

void MainWindow::changeEvent(QEvent* event) {
  QMainWindow::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && page_bar_) update_icons();
}

}  // namespace krasis::ui

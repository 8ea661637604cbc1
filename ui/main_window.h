#pragma once

#include <QMainWindow>
#include <memory>

#include "ui/controllers/database_service.h"
#include "ui/services.h"

class QLabel;
class QListWidget;
class QProgressBar;
class QPushButton;
class QSettings;
class QStackedWidget;

namespace krasis::ui {

class ChatController;
class ChatPage;
class ComparePage;
class ConfigurationController;
class ConfigurationDock;
class DeviceProbe;
class HomePage;
class LogDock;
class LogModel;
class NoticeBar;
class QueueController;
class QueueDock;
class QueueModel;
class ResultsPage;
class SweepController;
class SweepPage;
class WorkerController;

/// The window: pages, docks, status bar, menus. It only wires.
class MainWindow : public QMainWindow {
  Q_OBJECT

 public:
  enum Page { Home, Chat, Sweep, Results, Compare, PageCount };

  explicit MainWindow(Services services, QWidget* parent = nullptr);
  ~MainWindow() override;

  void show_page(Page page);
  /// Opens another results database; on failure says why and keeps the former.
  bool open_database(const QString& path, DatabaseService::Opening opening = DatabaseService::Opening::ExistingOrNew);
  ConfigurationController* configuration() const { return configuration_; }
  QueueController* queue() const { return queue_; }
  SweepController* sweep() const { return sweep_; }
  ChatController* chat() const { return chat_; }
  DatabaseService* database() const { return database_; }
  QueueModel* queue_model() const { return queue_model_; }

 protected:
  void closeEvent(QCloseEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void make_controllers();
  void make_pages();
  void make_docks();
  void make_status_bar();
  void make_menus();
  void make_queue_notice();
  void wire();
  void wire_turns();
  void update_turns();
  void update_status();
  void update_queue_notice();
  void update_icons();
  void show_message(const QString& text);
  void send_or_run();
  /// The database of the settings, or the usual one when that file is not there any more.
  void open_remembered_database(const QString& usual);
  void choose_database();
  void choose_new_database();
  void choose_worker_command();
  void probe_devices();
  void ask_to_quit();
  void save_state();
  void restore_saved_state();
  void reset_layout();
  void show_keys();

  Services services_;
  std::unique_ptr<QSettings> settings_;
  DatabaseService* database_ = nullptr;
  ConfigurationController* configuration_ = nullptr;
  DeviceProbe* probe_ = nullptr;
  WorkerController* run_worker_ = nullptr;
  WorkerController* chat_worker_ = nullptr;
  QueueModel* queue_model_ = nullptr;
  LogModel* log_model_ = nullptr;
  QueueController* queue_ = nullptr;
  SweepController* sweep_ = nullptr;
  ChatController* chat_ = nullptr;
  QListWidget* page_bar_ = nullptr;
  QStackedWidget* pages_ = nullptr;
  HomePage* home_page_ = nullptr;
  ChatPage* chat_page_ = nullptr;
  SweepPage* sweep_page_ = nullptr;
  ResultsPage* results_page_ = nullptr;
  ComparePage* compare_page_ = nullptr;
  ConfigurationDock* configuration_dock_ = nullptr;
  QueueDock* queue_dock_ = nullptr;
  LogDock* log_dock_ = nullptr;
  QLabel* worker_label_ = nullptr;
  QLabel* database_label_ = nullptr;
  QLabel* measurer_label_ = nullptr;
  QLabel* progress_label_ = nullptr;
  QProgressBar* progress_ = nullptr;
  QLabel* banner_ = nullptr;
  NoticeBar* queue_notice_ = nullptr;
  QPushButton* queue_resume_ = nullptr;
  QPushButton* queue_discard_ = nullptr;
  QPushButton* queue_command_ = nullptr;
  bool may_quit_ = false;  ///< though a run is going: the user said so
};

}  // namespace krasis::ui

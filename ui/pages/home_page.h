#pragma once

#include <QWidget>

class QCheckBox;
class QLabel;
class QListWidget;
class QPushButton;
class QTableView;

namespace krasis::ui {

class ConfigurationController;
class DatabaseService;
class FactsModel;
struct FoundDevices;
class ResultsFilter;
class ResultsModel;

/// The machine, the models and what was run last.
class HomePage : public QWidget {
  Q_OBJECT

 public:
  HomePage(ConfigurationController* configuration, DatabaseService* database, ResultsModel* results,
           QWidget* parent = nullptr);
  void set_model_folders(const QStringList& folders);
  QStringList model_folders() const { return folders_; }
  /// Shows what the worker found in the place of the guess.
  void set_devices(const FoundDevices& devices);

 public slots:
  void add_model_folder();
  void set_hide_failed(bool hide);

 signals:
  void run_first_sweep();
  void chat_requested();
  void sweep_requested();
  void run_chosen(qlonglong run);
  void hide_failed_changed(bool hide);

 private:
  void refresh_models();
  QWidget* make_machine();
  QWidget* make_models();
  QWidget* make_recent();

  ConfigurationController* configuration_;
  DatabaseService* database_;
  ResultsModel* results_;
  QStringList folders_;
  FactsModel* machine_ = nullptr;
  QListWidget* models_ = nullptr;
  QTableView* recent_ = nullptr;
  QLabel* no_runs_ = nullptr;
  QCheckBox* hide_failed_ = nullptr;
};

}  // namespace krasis::ui

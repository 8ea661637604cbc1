#pragma once

#include <QWidget>

#include "results_db/records.h"

class QCheckBox;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QStackedWidget;
class QTableView;
class QTabWidget;

namespace krasis::ui {

class DatabaseService;
class FactsModel;
class LogModel;
class MetricChart;
class ResultsFilter;
class ResultsModel;
class SamplesModel;

/// The table of runs with its filter, and below it the charts and everything about the selected run.
class ResultsPage : public QWidget {
  Q_OBJECT

 public:
  explicit ResultsPage(DatabaseService* database, QWidget* parent = nullptr);
  /// Selected runs in the order that is shown.
  std::vector<results::RunSummary> selected_runs() const;
  ResultsModel* model() const { return model_; }
  bool hides_failed() const;

 public slots:
  void set_hide_failed(bool hide);
  /// Asks for copies of the selected runs in the queue.
  void run_again();
  void focus_filter();
  /// The selected rows, or all shown ones, as Markdown on the clipboard.
  void copy_markdown();
  void select_run(qlonglong run);

 signals:
  void baseline_chosen(qlonglong run);
  void compare_requested(const QList<qlonglong>& runs);
  void sweep_page_requested();
  void run_again_requested(const QList<qlonglong>& runs);
  void hide_failed_changed(bool hide);
  void message(const QString& text);

 private:
  void forget();
  void reload();
  void refilter();
  void apply_filter(const QString& text);
  void update_columns();
  void update_states();
  void update_charts();
  void show_details();
  QWidget* make_toolbar();
  QWidget* make_table_stack();
  QWidget* make_details();

  DatabaseService* database_;
  ResultsModel* model_;
  ResultsFilter* filter_;
  SamplesModel* samples_;
  FactsModel* configuration_;
  FactsModel* telemetry_;
  FactsModel* environment_;
  LogModel* log_;
  QLineEdit* filter_edit_ = nullptr;
  QCheckBox* show_constant_ = nullptr;
  QCheckBox* hide_failed_ = nullptr;
  QPushButton* copy_ = nullptr;
  QPushButton* compare_ = nullptr;
  QPushButton* baseline_ = nullptr;
  QTableView* table_ = nullptr;
  QStackedWidget* stack_ = nullptr;
  QTabWidget* details_ = nullptr;
  QLabel* count_ = nullptr;
  MetricChart* prefill_chart_ = nullptr;
  MetricChart* decode_chart_ = nullptr;
  bool columns_fitted_ = false;
};

}  // namespace krasis::ui

#pragma once

#include <QList>
#include <QWidget>

class QCheckBox;
class QLabel;
class QPushButton;
class QStackedWidget;
class QTableView;

namespace krasis::ui {

class CompareModel;
class DatabaseService;

/// A pinned baseline and other runs side by side.
class ComparePage : public QWidget {
  Q_OBJECT

 public:
  explicit ComparePage(DatabaseService* database, QWidget* parent = nullptr);
  CompareModel* model() const { return model_; }

 public slots:
  void set_baseline(qlonglong run);
  /// Compares runs with the baseline; without one, the first run becomes it.
  void compare(const QList<qlonglong>& runs);
  void copy_markdown();

 signals:
  void results_page_requested();
  void message(const QString& text);

 private:
  void clear();
  void reload();

  DatabaseService* database_;
  CompareModel* model_;
  qlonglong baseline_ = 0;
  QList<qlonglong> others_;
  QStackedWidget* stack_;
  QTableView* table_;
  QLabel* warnings_;
  QCheckBox* show_all_;
  QPushButton* copy_;
  QPushButton* clear_;
};

}  // namespace krasis::ui

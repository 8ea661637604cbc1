#pragma once

#include <QDockWidget>

class QCheckBox;
class QPlainTextEdit;
class QPushButton;
class QTableView;

namespace krasis::ui {

class LogModel;
class QueueController;
class QueueModel;

/// The queue: what runs, what waits, what went wrong.
class QueueDock : public QDockWidget {
  Q_OBJECT

 public:
  QueueDock(QueueController* controller, QueueModel* model, QWidget* parent = nullptr);

 private:
  QWidget* make_buttons();
  void wire();
  qlonglong selected_run() const;
  void update_buttons();
  void update_pause();
  void update_failure(const QString& text);

  QueueController* controller_;
  QueueModel* model_;
  QTableView* table_;
  QPushButton *pause_, *cancel_, *cancel_all_, *retry_run_, *retry_, *report_;
  QCheckBox* traces_;
  QPlainTextEdit* failure_;
};

/// Everything that workers said, newest last.
class LogDock : public QDockWidget {
  Q_OBJECT

 public:
  explicit LogDock(LogModel* model, QWidget* parent = nullptr);
};

}  // namespace krasis::ui

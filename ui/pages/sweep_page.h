#pragma once

#include <QWidget>

#include "ui/controllers/sweep_controller.h"

class QLabel;
class QLineEdit;
class QPushButton;
class QTableView;

namespace krasis::ui {

/// Axes on the left, the runs they expand to on the right, and the button that queues them.
class SweepPage : public QWidget {
  Q_OBJECT

 public:
  explicit SweepPage(SweepController* sweep, QWidget* parent = nullptr);

 public slots:
  void enqueue();
  void load_first_sweep();
  void open_file(const QString& path);
  void choose_file_to_open();
  void choose_file_to_save();

 signals:
  void message(const QString& text);

 private:
  void refresh();
  void put_in_queue(SweepController::Measured measured);
  void ask_about_measured();
  QWidget* make_axes();
  QWidget* make_runs();

  SweepController* sweep_;
  QLineEdit* name_ = nullptr;
  QLabel* replaced_ = nullptr;  ///< what an opened file changed in the configuration
  QPushButton* put_back_ = nullptr;
  QTableView* runs_ = nullptr;
  QLabel* summary_ = nullptr;
  QLabel* reason_ = nullptr;
  QPushButton* enqueue_ = nullptr;
};

}  // namespace krasis::ui

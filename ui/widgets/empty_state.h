#pragma once

#include <QWidget>

class QLabel;
class QPushButton;

namespace krasis::ui {

/// What a page shows when it has nothing: a picture, why, and the button that leads on.
class EmptyState : public QWidget {
  Q_OBJECT

 public:
  /// @param action  text of the button; empty: none
  EmptyState(const QString& name, const QString& title, const QString& text, const QString& action, QWidget* parent);
  QPushButton* button() const { return button_; }

 signals:
  void triggered();

 protected:
  void changeEvent(QEvent* event) override;

 private:
  void draw_picture();
  QLabel* picture_;
  QPushButton* button_ = nullptr;
};

}  // namespace krasis::ui

#pragma once

#include <QFrame>

class QHBoxLayout;
class QLabel;
class QPushButton;

namespace krasis::ui {

/// A bar above the pages that says what the user has to decide, with the buttons that decide it. It stays until the
/// text is taken away, whatever else is reported meanwhile. Hidden without a text.
class NoticeBar : public QFrame {
  Q_OBJECT

 public:
  explicit NoticeBar(const QString& object_name, QWidget* parent = nullptr);
  /// Adds a button at the right end.
  QPushButton* add_button(const QString& object_name, const QString& text);
  void set_text(const QString& text);

 protected:
  void changeEvent(QEvent* event) override;

 private:
  void update_colors();

  QLabel* label_;
  QHBoxLayout* layout_;
};

}  // namespace krasis::ui

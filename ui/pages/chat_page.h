#pragma once

#include <QList>
#include <QWidget>

class QLabel;
class QPlainTextEdit;
class QProgressBar;
class QPushButton;
class QScrollArea;
class QSpinBox;
class QStackedWidget;
class QVBoxLayout;

namespace krasis::ui {

class ChatController;
class ConfigurationController;
class MessageWidget;
class NoticeBar;

/// A conversation with the configured model.
class ChatPage : public QWidget {
  Q_OBJECT

 public:
  ChatPage(ChatController* chat, ConfigurationController* configuration, QWidget* parent = nullptr);

 public slots:
  void send();
  void new_chat();
  void regenerate();
  void focus_composer();
  /// What is being measured now, a sentence's beginning ("Run 1a2b3c4d (...)"), for the bar over the composer; empty:
  /// nothing is. While a question waits for it, the bar offers to pause the queue.
  void set_measuring(const QString& what, bool queue_pauses);

 signals:
  /// The user would rather have the answer than the rest of the queue.
  void pause_queue_asked();

 private:
  void add_message(int index);
  void update_message(int index);
  void clear_transcript();
  void update_state(const QString& text);
  QWidget* make_transcript();
  QWidget* make_composer();
  QWidget* make_measuring_bar();
  void update_measuring_bar();

  ChatController* chat_;
  ConfigurationController* configuration_;
  QStackedWidget* stack_ = nullptr;
  QScrollArea* scroll_ = nullptr;
  QVBoxLayout* transcript_ = nullptr;
  QList<MessageWidget*> widgets_;
  QPlainTextEdit* composer_ = nullptr;
  QPlainTextEdit* system_ = nullptr;
  QSpinBox* max_tokens_ = nullptr;
  QPushButton* send_ = nullptr;
  QPushButton* stop_ = nullptr;
  QLabel* live_ = nullptr;
  QLabel* reason_ = nullptr;
  QProgressBar* context_ = nullptr;
  NoticeBar* measuring_bar_ = nullptr;
  QPushButton* pause_queue_ = nullptr;
  QPushButton* wait_ = nullptr;
  QString measuring_;          ///< set_measuring()
  bool queue_pauses_ = false;  ///< set_measuring()
  bool waits_ = false;         ///< the user said so
};

}  // namespace krasis::ui

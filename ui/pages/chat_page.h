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

 private:
  void add_message(int index);
  void update_message(int index);
  void clear_transcript();
  void update_state(const QString& text);
  QWidget* make_transcript();
  QWidget* make_composer();

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
};

}  // namespace krasis::ui

#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>
#include <vector>

#include "ui/controllers/worker_controller.h"

namespace krasis::ui {

/// One message of the transcript.
struct ChatMessage {
  ChatTurn turn;
  bool complete = true;
  AnswerFigures figures;  ///< of complete answers
  QString error;          ///< why an answer broke off; empty: it did not
};

/// A conversation with the model that the configuration names. Text arrives at most 15 times a second.
class ChatController : public QObject {
  Q_OBJECT

 public:
  static constexpr int kBatchMilliseconds = 67;

  explicit ChatController(WorkerController* worker, QObject* parent = nullptr);
  const std::vector<ChatMessage>& messages() const { return messages_; }
  bool is_answering() const { return answering_; }
  QString system_prompt() const { return system_prompt_; }
  void set_system_prompt(const QString& text) { system_prompt_ = text; }
  /// Tokens of the conversation in the model's context after the last answer; 0: not known yet.
  qint64 context_tokens() const { return context_tokens_; }

 public slots:
  /// Adds the user's message and asks for an answer.
  void send(const QString& text, const krasis::RunConfiguration& configuration, int max_tokens);
  /// Drops the last answer and asks again.
  void regenerate(const krasis::RunConfiguration& configuration, int max_tokens);
  void stop();
  void clear();

 signals:
  void message_added(int index);
  void message_changed(int index);
  void cleared();
  /// Whether it is answering, the live rate, or what the worker is doing, has changed.
  void state_changed(const QString& text);

 private:
  void ask(const RunConfiguration& configuration, int max_tokens);
  void flush();
  void end(const results::RunOutcome& outcome);

  WorkerController* worker_;
  std::vector<ChatMessage> messages_;
  QString system_prompt_;
  QString pending_;
  QTimer batch_;
  QElapsedTimer first_token_;
  qint64 tokens_ = 0;
  qint64 context_tokens_ = 0;
  bool answering_ = false;
};

}  // namespace krasis::ui

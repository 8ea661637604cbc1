#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>
#include <functional>
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
  /// Asked before each answer whether it may be computed now. While it may not, the question waits: go_on() asks again.
  void set_gate(std::function<bool()> may_compute) { may_compute_ = std::move(may_compute); }
  /// Whether a question waits for its turn to be answered.
  bool is_waiting() const { return waiting_; }
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
  /// Stops the answer; a question that waits goes unanswered.
  void stop();
  void clear();
  /// Answers the question that waits, if it may be answered now.
  void go_on();

 signals:
  void message_added(int index);
  void message_changed(int index);
  void cleared();
  /// Whether it is answering, the live rate, or what the worker is doing, has changed.
  void state_changed(const QString& text);
  /// is_waiting() has changed.
  void waiting_changed();

 private:
  void ask(const RunConfiguration& configuration, int max_tokens);
  void set_waiting(bool waiting);
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
  std::function<bool()> may_compute_;
  bool waiting_ = false;
  // What is asked, while it waits.
  RunConfiguration configuration_;
  QList<ChatTurn> turns_;
  int max_tokens_ = 0;
};

}  // namespace krasis::ui

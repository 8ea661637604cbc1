#include "ui/pages/chat_page.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QScrollArea>
#include <QScrollBar>
#include <QSpinBox>
#include <QStackedWidget>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>

#include "ui/controllers/chat_controller.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/widgets/empty_state.h"
#include "ui/widgets/message_widget.h"
#include "ui/widgets/notice_bar.h"

namespace krasis::ui {

ChatPage::ChatPage(ChatController* chat, ConfigurationController* configuration, QWidget* parent)
    : QWidget(parent), chat_(chat), configuration_(configuration) {
  setObjectName(QStringLiteral("chatPage"));
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(make_transcript(), 1);
  layout->addWidget(make_measuring_bar());
  layout->addWidget(make_composer());
  connect(chat_, &ChatController::waiting_changed, this, [this] {
    waits_ = false;
    update_measuring_bar();
  });
  connect(chat_, &ChatController::message_added, this, &ChatPage::add_message);
  connect(chat_, &ChatController::message_changed, this, &ChatPage::update_message);
  connect(chat_, &ChatController::cleared, this, &ChatPage::clear_transcript);
  connect(chat_, &ChatController::state_changed, this, &ChatPage::update_state);
  connect(configuration_, &ConfigurationController::changed, this, [this] { update_state(live_->text()); });
  update_state({});
}

QWidget* ChatPage::make_transcript() {
  stack_ = new QStackedWidget(this);
  stack_->addWidget(new EmptyState(QStringLiteral("noMessages"), tr("Talk to the model"),
                                   tr("Write below and press Ctrl+Return. The model and its placement are chosen on the right."),
                                   {}, stack_));
  scroll_ = new QScrollArea(stack_);
  scroll_->setObjectName(QStringLiteral("transcript"));
  scroll_->setAccessibleName(tr("Transcript"));
  scroll_->setWidgetResizable(true);
  scroll_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  auto* content = new QWidget(scroll_);
  transcript_ = new QVBoxLayout(content);
  transcript_->addStretch();
  scroll_->setWidget(content);
  stack_->addWidget(scroll_);
  connect(scroll_->verticalScrollBar(), &QScrollBar::rangeChanged, this, [this](int, int maximum) {
    auto* bar = scroll_->verticalScrollBar();
    if (maximum - bar->value() < 200 + bar->pageStep() / 2) bar->setValue(maximum);
  });
  return stack_;
}

QWidget* ChatPage::make_composer() {
  auto* panel = new QWidget(this);
  auto* layout = new QVBoxLayout(panel);
  layout->setContentsMargins(0, 0, 0, 0);
  auto* fold = new QToolButton(panel);
  fold->setObjectName(QStringLiteral("showSystemPrompt"));
  fold->setText(tr("S&ystem prompt"));
  fold->setAccessibleName(tr("Show the system prompt"));
  fold->setCheckable(true);
  fold->setFocusPolicy(Qt::StrongFocus);
  system_ = new QPlainTextEdit(panel);
  system_->setObjectName(QStringLiteral("systemPrompt"));
  system_->setAccessibleName(tr("System prompt"));
  system_->setPlaceholderText(tr("What the model should know before the conversation"));
  system_->setTabChangesFocus(true);
  system_->setMaximumHeight(70);
  system_->hide();
  composer_ = new QPlainTextEdit(panel);
  composer_->setObjectName(QStringLiteral("composer"));
  composer_->setAccessibleName(tr("Your message"));
  composer_->setPlaceholderText(tr("Tell me a story about \u2026"));
  composer_->setTabChangesFocus(true);
  composer_->setFixedHeight(composer_->fontMetrics().height() * 3 + 16);
  auto* tokens_label = new QLabel(tr("At &most"), panel);
  max_tokens_ = new QSpinBox(panel);
  max_tokens_->setObjectName(QStringLiteral("maxTokens"));
  max_tokens_->setAccessibleName(tr("Longest answer in tokens"));
  max_tokens_->setRange(1, 100000);
  max_tokens_->setValue(256);
  max_tokens_->setSuffix(tr(" tokens"));
  tokens_label->setBuddy(max_tokens_);
  context_ = new QProgressBar(panel);
  context_->setObjectName(QStringLiteral("contextFill"));
  context_->setAccessibleName(tr("Context used"));
  context_->setMinimumWidth(170);
  context_->setMaximumWidth(220);
  live_ = new QLabel(panel);
  live_->setObjectName(QStringLiteral("liveRate"));
  live_->setAccessibleName(tr("What the model is doing"));
  reason_ = new QLabel(panel);
  reason_->setObjectName(QStringLiteral("chatReason"));
  reason_->setAccessibleName(tr("Why nothing can be sent"));
  reason_->setWordWrap(true);
  send_ = new QPushButton(tr("&Send"), panel);
  send_->setObjectName(QStringLiteral("send"));
  send_->setAccessibleName(tr("Send"));
  stop_ = new QPushButton(tr("S&top"), panel);
  stop_->setObjectName(QStringLiteral("stop"));
  stop_->setAccessibleName(tr("Stop the answer"));
  auto* row = new QHBoxLayout;
  row->addWidget(fold);
  row->addWidget(tokens_label);
  row->addWidget(max_tokens_);
  row->addWidget(context_);
  row->addWidget(live_, 1);
  row->addWidget(stop_);
  row->addWidget(send_);
  layout->addWidget(system_);
  layout->addWidget(composer_);
  layout->addWidget(reason_);
  layout->addLayout(row);
  connect(fold, &QToolButton::toggled, system_, &QWidget::setVisible);
  connect(system_, &QPlainTextEdit::textChanged, this, [this] { chat_->set_system_prompt(system_->toPlainText()); });
  connect(composer_, &QPlainTextEdit::textChanged, this, [this] { update_state(live_->text()); });
  connect(send_, &QPushButton::clicked, this, &ChatPage::send);
  connect(stop_, &QPushButton::clicked, chat_, &ChatController::stop);
  return panel;
}

QWidget* ChatPage::make_measuring_bar() {
  measuring_bar_ = new NoticeBar(QStringLiteral("measuringBar"), this);
  pause_queue_ = measuring_bar_->add_button(QStringLiteral("pauseQueueAndAnswer"), tr("&Pause the queue and answer"));
  pause_queue_->setToolTip(tr(
      "The answer comes when the run that is being measured has ended. The queue then waits until you press Resume."));
  wait_ = measuring_bar_->add_button(QStringLiteral("waitForQueue"), tr("&Wait"));
  wait_->setToolTip(tr("The answer comes when the queue has nothing left to measure."));
  connect(pause_queue_, &QPushButton::clicked, this, &ChatPage::pause_queue_asked);
  connect(wait_, &QPushButton::clicked, this, [this] {
    waits_ = true;
    update_measuring_bar();
  });
  return measuring_bar_;
}

void ChatPage::set_measuring(const QString& what, bool queue_pauses) {
  measuring_ = what;
  queue_pauses_ = queue_pauses;
  update_measuring_bar();
}

void ChatPage::update_measuring_bar() {
  pause_queue_->setVisible(!queue_pauses_);
  wait_->setVisible(!queue_pauses_ && !waits_);
  if (!chat_->is_waiting()) return measuring_bar_->set_text({});
  const QString what =
      measuring_.isEmpty() ? tr("A run is being measured.") : tr("%1 is being measured.").arg(measuring_);
  const QString when = queue_pauses_ ? tr("The answer comes when it has ended.")
                       : waits_      ? tr("The answer comes when the queue has nothing left to measure.")
                                     : tr("An answer would disturb it.");
  measuring_bar_->set_text(what + QLatin1Char(' ') + when);
}

void ChatPage::send() {
  if (!send_->isEnabled()) return;
  const QString text = composer_->toPlainText();
  composer_->clear();
  chat_->send(text, configuration_->configuration(), max_tokens_->value());
}

void ChatPage::new_chat() {
  chat_->clear();
  focus_composer();
}

void ChatPage::regenerate() {
  if (!configuration_->why_not_runnable().isEmpty()) return;
  chat_->regenerate(configuration_->configuration(), max_tokens_->value());
}

void ChatPage::focus_composer() { composer_->setFocus(Qt::ShortcutFocusReason); }

void ChatPage::add_message(int index) {
  auto* widget = new MessageWidget(scroll_->widget());
  widgets_ << widget;
  transcript_->insertWidget(transcript_->count() - 1, widget);
  update_message(index);
  stack_->setCurrentIndex(1);
}

void ChatPage::update_message(int index) {
  widgets_[index]->set_message(chat_->messages()[static_cast<std::size_t>(index)]);
}

void ChatPage::clear_transcript() {
  qDeleteAll(widgets_);
  widgets_.clear();
  stack_->setCurrentIndex(0);
}

void ChatPage::update_state(const QString& text) {
  live_->setText(text);
  const bool answering = chat_->is_answering();
  const QString why = configuration_->why_not_runnable();
  send_->setEnabled(!answering && why.isEmpty() && !composer_->toPlainText().trimmed().isEmpty());
  send_->setToolTip(!why.isEmpty() ? why : answering ? tr("The model is answering") : tr("Ctrl+Return"));
  stop_->setEnabled(answering);
  stop_->setToolTip(tr("Esc"));
  reason_->setText(why);
  reason_->setVisible(!why.isEmpty());
  const int size = configuration_->configuration().max_context;
  context_->setRange(0, size);
  context_->setValue(static_cast<int>(std::min<qint64>(chat_->context_tokens(), size)));
  context_->setFormat(tr("context %1 of %2").arg(chat_->context_tokens()).arg(size));
}

}  // namespace krasis::ui

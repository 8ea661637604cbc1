#include "ui/widgets/message_widget.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "ui/format.h"
#include "ui/theme.h"

namespace krasis::ui {
namespace {

QString role_text(const QString& role) {
  if (role == QLatin1String("user")) return MessageWidget::tr("You");
  if (role == QLatin1String("assistant")) return MessageWidget::tr("Model");
  return MessageWidget::tr("System");
}

}  // namespace

MessageWidget::MessageWidget(QWidget* parent)
    : QFrame(parent),
      role_(new QLabel(this)),
      body_(new QLabel(this)),
      error_(new QLabel(this)),
      copy_(new QPushButton(tr("Copy"), this)),
      chip_row_(new QHBoxLayout) {
  setObjectName(QStringLiteral("message"));
  setFrameShape(QFrame::StyledPanel);
  setAutoFillBackground(true);
  QFont bold = font();
  bold.setBold(true);
  role_->setFont(bold);
  body_->setObjectName(QStringLiteral("messageText"));
  error_->setObjectName(QStringLiteral("messageError"));
  error_->setAccessibleName(tr("Why the answer broke off"));
  for (auto* label : {body_, error_}) {
    label->setWordWrap(true);
    label->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  }
  error_->hide();
  copy_->setObjectName(QStringLiteral("copyMessage"));
  copy_->setAccessibleName(tr("Copy the message"));
  copy_->setFlat(true);
  auto* top = new QHBoxLayout;
  top->addWidget(role_);
  top->addStretch();
  top->addWidget(copy_);
  chip_row_->addStretch();
  auto* layout = new QVBoxLayout(this);
  layout->addLayout(top);
  layout->addWidget(body_);
  layout->addWidget(error_);
  layout->addLayout(chip_row_);
  connect(copy_, &QPushButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(text_); });
}

void MessageWidget::set_message(const ChatMessage& message) {
  text_ = message.turn.text;
  const QString role = role_text(message.turn.role);
  role_->setText(role);
  setAccessibleName(tr("Message of %1").arg(role));
  setBackgroundRole(message.turn.role == QLatin1String("user") ? QPalette::AlternateBase : QPalette::Base);
  const bool markdown = message.complete && message.turn.role == QLatin1String("assistant");
  body_->setTextFormat(markdown ? Qt::MarkdownText : Qt::PlainText);
  body_->setText(text_.isEmpty() && !message.complete ? QStringLiteral("\u2026") : text_);
  body_->setAccessibleName(text_);
  copy_->setVisible(message.complete);
  QPalette colors = palette();
  colors.setColor(QPalette::WindowText, tone_color(Tone::Bad, palette()));
  error_->setPalette(colors);
  error_->setText(message.error.isEmpty() ? QString() : QStringLiteral("\u26a0 ") + message.error);
  error_->setVisible(!message.error.isEmpty());
  set_chips(message);
}

QStringList MessageWidget::chips() const {
  QStringList texts;
  for (const auto* chip : chips_) texts << chip->text();
  return texts;
}

void MessageWidget::set_chips(const ChatMessage& message) {
  qDeleteAll(chips_);
  chips_.clear();
  if (!message.complete || message.turn.role != QLatin1String("assistant")) return;
  const auto& f = message.figures;
  QStringList texts;
  if (f.prefill_tokens_per_second > 0) texts << tr("prefill %1 tok/s").arg(format_number(f.prefill_tokens_per_second, 1));
  if (f.ttft_s > 0) texts << tr("TTFT %1 s").arg(format_number(f.ttft_s, 3));
  if (f.decode_tokens_per_second > 0) texts << tr("decode %1 tok/s").arg(format_number(f.decode_tokens_per_second, 1));
  if (f.tokens > 0) texts << counted(f.tokens, tr("1 token"), tr("%1 tokens"));
  if (!f.stop_reason.isEmpty()) texts << tr("stop: %1").arg(f.stop_reason);
  for (const QString& text : texts) {
    auto* chip = new QLabel(text, this);
    chip->setObjectName(QStringLiteral("chip"));
    chip->setAccessibleName(text);
    chip->setFrameShape(QFrame::StyledPanel);
    chip->setMargin(3);
    chip_row_->insertWidget(chip_row_->count() - 1, chip);
    chips_ << chip;
  }
}

}  // namespace krasis::ui

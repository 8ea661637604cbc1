#include "ui/widgets/notice_bar.h"

#include <QEvent>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>

#include "ui/theme.h"

namespace krasis::ui {

NoticeBar::NoticeBar(const QString& object_name, QWidget* parent)
    : QFrame(parent), label_(new QLabel(this)), layout_(new QHBoxLayout(this)) {
  setObjectName(object_name);
  setFrameShape(QFrame::StyledPanel);
  setBackgroundRole(QPalette::AlternateBase);
  setAutoFillBackground(true);
  label_->setObjectName(object_name + QStringLiteral("Text"));
  label_->setTextFormat(Qt::PlainText);
  label_->setWordWrap(true);
  label_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  layout_->setContentsMargins(12, 8, 12, 8);
  layout_->setSpacing(8);
  layout_->addWidget(label_, 1);
  update_colors();
  hide();
}

QPushButton* NoticeBar::add_button(const QString& object_name, const QString& text) {
  auto* button = new QPushButton(text, this);
  button->setObjectName(object_name);
  button->setAccessibleName(QString(text).remove(QLatin1Char('&')));
  layout_->addWidget(button, 0, Qt::AlignTop);
  return button;
}

void NoticeBar::set_text(const QString& text) {
  label_->setText(QStringLiteral("\u26a0 ") + text);
  label_->setAccessibleName(text);
  setVisible(!text.isEmpty());
}

void NoticeBar::changeEvent(QEvent* event) {
  QFrame::changeEvent(event);
  if (event->type() == QEvent::PaletteChange) update_colors();
}

void NoticeBar::update_colors() {
  QPalette colors = palette();
  colors.setColor(QPalette::WindowText, tone_color(Tone::Warning, palette()));
  label_->setPalette(colors);
}

}  // namespace krasis::ui

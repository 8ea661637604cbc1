#include "ui/widgets/empty_state.h"

#include <QEvent>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "ui/theme.h"

namespace krasis::ui {

EmptyState::EmptyState(const QString& name, const QString& title, const QString& text, const QString& action,
                       QWidget* parent)
    : QWidget(parent), picture_(new QLabel(this)) {
  setObjectName(name);
  auto* heading = new QLabel(title, this);
  QFont font = heading->font();
  font.setPointSizeF(font.pointSizeF() * 1.4);
  heading->setFont(font);
  auto* explanation = new QLabel(text, this);
  explanation->setWordWrap(true);
  auto* layout = new QVBoxLayout(this);
  layout->addStretch();
  for (auto* label : {picture_, heading, explanation}) {
    label->setAlignment(Qt::AlignHCenter);
    layout->addWidget(label);
  }
  if (!action.isEmpty()) {
    button_ = new QPushButton(action, this);
    button_->setObjectName(name + QStringLiteral("Button"));
    button_->setAccessibleName(action);
    layout->addSpacing(8);
    layout->addWidget(button_, 0, Qt::AlignHCenter);
    connect(button_, &QPushButton::clicked, this, &EmptyState::triggered);
  }
  layout->addStretch();
  draw_picture();
}

void EmptyState::draw_picture() {
  picture_->setPixmap(themed_icon(QStringLiteral("empty"), palette()).pixmap(48, 48));
}

void EmptyState::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange) draw_picture();
}

}  // namespace krasis::ui

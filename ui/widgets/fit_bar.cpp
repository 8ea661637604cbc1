#include "ui/widgets/fit_bar.h"

#include <QHelpEvent>
#include <QLabel>
#include <QPainter>
#include <QToolTip>
#include <QVBoxLayout>
#include <algorithm>
#include <map>

#include "ui/format.h"
#include "ui/theme.h"

namespace krasis::ui {
namespace {

constexpr int kBarHeight = 18;
constexpr int kGap = 2;

QString segment_text(const FitSegment& segment) {
  const QString text = FitBar::tr("%1: %2").arg(segment.name, format_bytes(segment.bytes));
  return segment.meaning.isEmpty() ? text : text + QLatin1Char('\n') + segment.meaning;
}

}  // namespace

qint64 FitPlace::needed_bytes() const {
  qint64 sum = 0;
  for (const auto& segment : segments) sum += segment.bytes;
  return sum;
}

QString FitPlace::summary() const {
  const qint64 needed = needed_bytes();
  const QString text = FitBar::tr("%1 of %2").arg(format_bytes(needed), format_bytes(budget_bytes));
  if (fits()) return text;
  return FitBar::tr("%1, over by %2").arg(text, format_bytes(needed - budget_bytes));
}

std::vector<FitPlace> fit_places(const Plan& plan) {
  std::vector<FitPlace> places;
  for (const auto& place : plan.places) {
    FitPlace result;
    result.title = place.device < 0 ? FitBar::tr("Host memory") : FitBar::tr("Device %1").arg(place.device);
    result.budget_bytes = static_cast<qint64>(place.budget_bytes);
    for (const auto& item : plan.items) {
      if (item.device != place.device || item.bytes == 0 || item.place == place::kDriver) continue;
      result.segments.push_back({QString::fromStdString(item.place), static_cast<qint64>(item.bytes),
                                 QString::fromStdString(item.meaning)});
    }
    places.push_back(std::move(result));
  }
  return places;
}

FitBar::FitBar(QWidget* parent) : QWidget(parent) {
  setObjectName(QStringLiteral("fitBar"));
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setMouseTracking(true);
}

void FitBar::set_place(const FitPlace& place) {
  place_ = place;
  QStringList parts;
  for (const auto& segment : place_.segments) parts << segment_text(segment).section(QLatin1Char('\n'), 0, 0);
  setAccessibleName(tr("Fit of %1").arg(place_.title));
  setAccessibleDescription(place_.summary() + QStringLiteral(". ") + parts.join(QStringLiteral(", ")));
  update();
}

QRect FitBar::bar_rect() const {
  const int top = fontMetrics().height() + kGap;
  return {0, top, width() - 1, kBarHeight};
}

double FitBar::scale() const {
  const double longest = static_cast<double>(std::max({place_.needed_bytes(), place_.budget_bytes, qint64{1}}));
  return bar_rect().width() / longest;
}

int FitBar::segment_at(const QPoint& position) const {
  if (!bar_rect().contains(position)) return -1;
  double right = 0;
  for (std::size_t i = 0; i < place_.segments.size(); ++i) {
    right += static_cast<double>(place_.segments[i].bytes) * scale();
    if (position.x() < right) return static_cast<int>(i);
  }
  return -1;
}

QSize FitBar::sizeHint() const { return {240, fontMetrics().height() + kGap + kBarHeight + 4}; }
QSize FitBar::minimumSizeHint() const { return {120, sizeHint().height()}; }

bool FitBar::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const int index = segment_at(help->pos());
    if (index >= 0) {
      QToolTip::showText(help->globalPos(), segment_text(place_.segments[static_cast<std::size_t>(index)]), this);
    } else {
      const qint64 free = std::max(qint64{0}, place_.budget_bytes - place_.needed_bytes());
      QToolTip::showText(help->globalPos(), tr("free: %1").arg(format_bytes(free)), this);
    }
    return true;
  }
  return QWidget::event(event);
}

void FitBar::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const QRect bar = bar_rect();
  const QRect line(0, 0, width(), fontMetrics().height());
  painter.setPen(palette().color(QPalette::WindowText));
  painter.drawText(line, Qt::AlignLeft | Qt::AlignVCenter, place_.title);
  if (!place_.fits()) painter.setPen(tone_color(Tone::Bad, palette()));
  const QString summary = (place_.fits() ? QString() : QStringLiteral("\u26a0 ")) + place_.summary();
  painter.drawText(line, Qt::AlignRight | Qt::AlignVCenter, summary);

  painter.fillRect(bar, palette().color(QPalette::Base));
  double x = bar.left();
  for (std::size_t i = 0; i < place_.segments.size(); ++i) {
    const auto& segment = place_.segments[i];
    const double w = static_cast<double>(segment.bytes) * scale();
    const QRectF rect(x, bar.top(), w, bar.height());
    const QColor color = series_color(static_cast<int>(i), palette());
    painter.fillRect(rect, color);
    if (painter.fontMetrics().horizontalAdvance(segment.name) + 6 < w) {
      painter.setPen(readable_on(color));
      painter.drawText(rect, Qt::AlignCenter, segment.name);
    }
    x += w;
  }
  if (!place_.fits()) {
    const double edge = static_cast<double>(place_.budget_bytes) * scale();
    const QRectF beyond(edge, bar.top(), bar.right() - edge, bar.height());
    painter.fillRect(beyond, QBrush(palette().color(QPalette::Window), Qt::BDiagPattern));
    painter.setPen(QPen(tone_color(Tone::Bad, palette()), 2));
    painter.drawLine(QPointF(edge, bar.top() - 1), QPointF(edge, bar.bottom() + 1));
  }
  painter.setPen(palette().color(QPalette::Mid));
  painter.setBrush(Qt::NoBrush);
  painter.drawRect(bar);
}

FitPanel::FitPanel(QWidget* parent) : QWidget(parent), bars_(new QVBoxLayout), advice_(new QLabel(this)) {
  setObjectName(QStringLiteral("fitPanel"));
  setAccessibleName(tr("Memory needed in each place"));
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addLayout(bars_);
  layout->addWidget(advice_);
  advice_->setObjectName(QStringLiteral("fitAdvice"));
  advice_->setAccessibleName(tr("Advice on memory"));
  advice_->setWordWrap(true);
  advice_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  advice_->hide();
}

void FitPanel::set_plan(const Plan& plan) {
  const auto places = fit_places(plan);
  while (widgets_.size() > places.size()) {
    delete widgets_.back();
    widgets_.pop_back();
  }
  while (widgets_.size() < places.size()) {
    widgets_.push_back(new FitBar(this));
    bars_->addWidget(widgets_.back());
  }
  for (std::size_t i = 0; i < places.size(); ++i) widgets_[i]->set_place(places[i]);
  fits_ = plan.fits();
  QStringList lines;
  if (!fits_) {
    for (const auto& line : plan.advice) lines << QStringLiteral("\u2022 ") + QString::fromStdString(line);
  }
  advice_->setText(lines.join(QLatin1Char('\n')));
  advice_->setVisible(!lines.isEmpty());
}

void FitPanel::set_error(const QString& message) {
  for (auto* widget : widgets_) delete widget;
  widgets_.clear();
  fits_ = false;
  advice_->setText(message);
  advice_->setVisible(!message.isEmpty());
}

QString FitPanel::advice() const { return advice_->text(); }

}  // namespace krasis::ui

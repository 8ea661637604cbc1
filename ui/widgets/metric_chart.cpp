#include "ui/widgets/metric_chart.h"

#include <QEvent>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QtCharts/QAreaSeries>
#include <QtCharts/QBarCategoryAxis>
#include <QtCharts/QChart>
#include <QtCharts/QLegendMarker>
#include <QtCharts/QLineSeries>
#include <QtCharts/QScatterSeries>
#include <QtCharts/QValueAxis>
#include <algorithm>
#include <cmath>

#include "ui/format.h"
#include "ui/theme.h"

namespace krasis::ui {
namespace {

constexpr double kGroupWidth = 0.8;  ///< of a category, shared by the bars of all series

void hide_marker(QChart* chart, QAbstractSeries* series) {
  for (auto* marker : chart->legend()->markers(series)) marker->setVisible(false);
}

}  // namespace

MetricChart::MetricChart(Form form, QWidget* parent) : QChartView(parent), form_(form) {
  setRenderHint(QPainter::Antialiasing);
  setMinimumSize(280, 220);  // a chart view in a splitter collapses without it
  setFocusPolicy(Qt::StrongFocus);
  rebuild();
}

void MetricChart::set_data(const ChartData& chart_data) {
  data_ = chart_data;
  rebuild();
}

std::size_t MetricChart::point_count() const { return placed_.size(); }

double MetricChart::half_width() const {
  return form_ == Form::Bars ? kGroupWidth / static_cast<double>(std::max<std::size_t>(data_.series.size(), 1)) / 2 : 0.0;
}

void MetricChart::rebuild() {
  // A new chart each time: the axes that a chart has lost stay on the scene until it is laid out again.
  QChart* former = chart();
  setChart(new QChart);
  delete former;
  chart()->setMargins(QMargins(4, 4, 4, 4));
  chart()->setBackgroundRoundness(0);
  placed_.clear();
  double highest = 0;
  QStringList spoken;
  for (std::size_t s = 0; s < data_.series.size(); ++s) {
    for (const auto& point : data_.series[s].points) {
      const auto index = data_.categories.indexOf(point.category);
      if (index < 0) continue;
      double x = static_cast<double>(index);
      if (form_ == Form::Bars) x += (2.0 * static_cast<double>(s) + 1.0) * half_width() - kGroupWidth / 2;
      placed_.push_back({point.run, x, point, data_.series[s].name});
      highest = std::max(highest, point.value + point.deviation);
      spoken << tr("%1, %2: %3").arg(data_.series[s].name, point.category, format_number(point.value, 2));
    }
  }
  setAccessibleName(data_.title);
  setAccessibleDescription(spoken.join(QStringLiteral("; ")));

  auto* x = new QBarCategoryAxis;
  x->append(data_.categories);
  x->setTitleText(data_.x_title);
  chart()->addAxis(x, Qt::AlignBottom);
  auto* y = new QValueAxis;
  y->setTitleText(data_.y_title);
  y->setRange(0, highest > 0 ? highest * 1.08 : 1);
  y->applyNiceNumbers();
  y->setMin(0);
  const double step = (y->max() - y->min()) / std::max(1, y->tickCount() - 1);
  y->setLabelFormat(step < 0.1 ? QStringLiteral("%.2f") : step < 1 ? QStringLiteral("%.1f") : QStringLiteral("%.0f"));
  chart()->addAxis(y, Qt::AlignLeft);

  if (form_ == Form::Bars) {
    add_bars();
  } else {
    add_lines();
  }
  for (auto* series : chart()->series()) {
    if (series->attachedAxes().isEmpty()) {
      series->attachAxis(x);
      series->attachAxis(y);
    }
  }
  if (!data_.categories.isEmpty()) x->setRange(data_.categories.first(), data_.categories.last());
  chart()->legend()->setVisible(data_.series.size() > 1);
  chart()->legend()->setAlignment(Qt::AlignBottom);
  chart()->setTitle(data_.title);
  apply_palette();
}

// Bars are areas placed by hand: QBarSeries cannot leave a gap for a missing value, and the click, the error bar and the
// selection must agree on where a bar is.
void MetricChart::add_bars() {
  for (std::size_t s = 0; s < data_.series.size(); ++s) {
    const QColor color = series_color(static_cast<int>(s), palette());
    bool named = false;
    for (const auto& placed : placed_) {
      if (placed.series != data_.series[s].name) continue;
      const double left = placed.x - half_width() * 0.92;
      const double right = placed.x + half_width() * 0.92;
      auto* upper = new QLineSeries;
      upper->append(left, placed.point.value);
      upper->append(right, placed.point.value);
      auto* lower = new QLineSeries;
      lower->append(left, 0);
      lower->append(right, 0);
      auto* area = new QAreaSeries(upper, lower);
      upper->setParent(area);
      lower->setParent(area);
      area->setName(data_.series[s].name);
      const bool selected = placed.run == selected_ && selected_ != 0;
      area->setBrush(color);
      area->setPen(QPen(selected ? palette().color(QPalette::Text) : color, selected ? 3 : 1));
      chart()->addSeries(area);
      if (named) hide_marker(chart(), area);
      named = true;
    }
  }
  for (const auto& placed : placed_) add_error_bar(placed.x, placed.point, palette().color(QPalette::Text));
}

void MetricChart::add_lines() {
  for (std::size_t s = 0; s < data_.series.size(); ++s) {
    const QColor color = series_color(static_cast<int>(s), palette());
    auto* line = new QLineSeries;
    auto* dots = new QScatterSeries;
    line->setName(data_.series[s].name);
    line->setPen(QPen(color, 2));
    dots->setColor(color);
    dots->setBorderColor(palette().color(QPalette::Base));
    dots->setMarkerSize(9);
    dots->setMarkerShape(s % 2 == 0 ? QScatterSeries::MarkerShapeCircle : QScatterSeries::MarkerShapeRectangle);
    auto* chosen = new QScatterSeries;
    chosen->setColor(Qt::transparent);
    chosen->setBorderColor(palette().color(QPalette::Text));
    chosen->setMarkerSize(15);
    for (const auto& placed : placed_) {
      if (placed.series != data_.series[s].name) continue;
      line->append(placed.x, placed.point.value);
      dots->append(placed.x, placed.point.value);
      if (placed.run == selected_ && selected_ != 0) chosen->append(placed.x, placed.point.value);
      add_error_bar(placed.x, placed.point, color);
    }
    for (QXYSeries* series : {static_cast<QXYSeries*>(line), static_cast<QXYSeries*>(dots),
                              static_cast<QXYSeries*>(chosen)}) {
      chart()->addSeries(series);
      if (series != line) hide_marker(chart(), series);
    }
  }
}

void MetricChart::add_error_bar(double x, const ChartPoint& point, const QColor& color) {
  if (!(point.deviation > 0)) return;
  const double cap = 0.04;
  const double low = std::max(0.0, point.value - point.deviation);
  const double high = point.value + point.deviation;
  auto* bar = new QLineSeries;
  bar->append({{x - cap, low}, {x + cap, low}, {x, low}, {x, high}, {x - cap, high}, {x + cap, high}});
  bar->setPen(QPen(color, 1.5));
  chart()->addSeries(bar);
  hide_marker(chart(), bar);
}

void MetricChart::select_run(qint64 run) {
  if (run == selected_) return;
  selected_ = run;
  rebuild();
}

QPoint MetricChart::position_of(qint64 run) const {
  for (const auto& placed : placed_) {
    if (placed.run != run || chart()->series().isEmpty()) continue;
    const QPointF in_chart =
        chart()->mapToPosition({placed.x, form_ == Form::Bars ? placed.point.value / 2 : placed.point.value},
                               chart()->series().constFirst());
    return mapFromScene(chart()->mapToScene(in_chart));
  }
  return {};
}

const MetricChart::Placed* MetricChart::hit(const QPoint& viewport_position) const {
  if (chart()->series().isEmpty()) return nullptr;
  const QPointF in_chart = chart()->mapFromScene(mapToScene(viewport_position));
  const QPointF value = chart()->mapToValue(in_chart, chart()->series().constFirst());
  const Placed* best = nullptr;
  double best_distance = 14;  // pixels
  for (const auto& placed : placed_) {
    if (form_ == Form::Bars) {
      if (std::abs(value.x() - placed.x) <= half_width() && value.y() >= 0 && value.y() <= placed.point.value) return &placed;
      continue;
    }
    const QPointF at = chart()->mapToPosition({placed.x, placed.point.value}, chart()->series().constFirst());
    const double distance = std::hypot(at.x() - in_chart.x(), at.y() - in_chart.y());
    if (distance < best_distance) {
      best_distance = distance;
      best = &placed;
    }
  }
  return best;
}

void MetricChart::mousePressEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton) {
    if (const auto* placed = hit(event->pos())) {
      emit run_clicked(placed->run);  // the receiver may rebuild: `placed` is not used afterwards
      return;
    }
  }
  QChartView::mousePressEvent(event);
}

bool MetricChart::viewportEvent(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const auto* placed = hit(help->pos())) {
      QString text = tr("%1, %2: %3").arg(placed->series, placed->point.category, format_number(placed->point.value, 2));
      if (placed->point.deviation > 0) text += tr(" \u00b1 %1").arg(format_number(placed->point.deviation, 2));
      QToolTip::showText(help->globalPos(), text, this);
    } else {
      QToolTip::hideText();
    }
    return true;
  }
  return QChartView::viewportEvent(event);
}

void MetricChart::changeEvent(QEvent* event) {
  QChartView::changeEvent(event);
  if (event->type() == QEvent::PaletteChange) rebuild();
}

// Qt Charts ignores the palette: colours are set by hand from it.
void MetricChart::apply_palette() {
  const QColor text = palette().color(QPalette::Text);
  QColor grid = text;
  grid.setAlphaF(0.15f);
  chart()->setBackgroundBrush(palette().color(QPalette::Base));
  chart()->setBackgroundPen(Qt::NoPen);
  chart()->setTitleBrush(text);
  QFont bold = font();
  bold.setBold(true);
  chart()->setTitleFont(bold);
  chart()->legend()->setLabelColor(text);
  QFont small = font();
  small.setPointSizeF(small.pointSizeF() * 0.85);  // a legend does not wrap: it cuts its labels off
  chart()->legend()->setFont(small);
  for (auto* axis : chart()->axes()) {
    axis->setLabelsColor(text);
    axis->setTitleBrush(text);
    axis->setTitleFont(font());
    axis->setLabelsFont(font());
    axis->setGridLineColor(axis->orientation() == Qt::Vertical ? grid : QColor(Qt::transparent));
    axis->setLinePenColor(text);
  }
}

}  // namespace krasis::ui

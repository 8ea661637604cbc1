#pragma once

#include <QtCharts/QChartView>
#include <vector>

#include "ui/models/chart_data.h"

namespace krasis::ui {

/// A chart of a metric over categories, as bars or as lines, with error bars, in the palette's colours. A click on a
/// point names its run; the selected run is outlined. At most about 600 points are meant.
class MetricChart : public QChartView {
  Q_OBJECT

 public:
  enum class Form { Bars, Lines };

  explicit MetricChart(Form form, QWidget* parent = nullptr);
  void set_data(const ChartData& chart_data);
  void select_run(qint64 run);
  /// Where a run's point is, in viewport coordinates; a null point if it is not shown.
  QPoint position_of(qint64 run) const;
  std::size_t point_count() const;

 signals:
  void run_clicked(qint64 run);

 protected:
  void changeEvent(QEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  bool viewportEvent(QEvent* event) override;

 private:
  struct Placed {
    qint64 run = 0;
    double x = 0;  ///< in axis units
    ChartPoint point;
    QString series;
  };

  void rebuild();
  void add_bars();
  void add_lines();
  void add_error_bar(double x, const ChartPoint& point, const QColor& color);
  void apply_palette();
  const Placed* hit(const QPoint& viewport_position) const;
  double half_width() const;

  Form form_;
  ChartData data_;
  std::vector<Placed> placed_;
  qint64 selected_ = 0;
};

}  // namespace krasis::ui

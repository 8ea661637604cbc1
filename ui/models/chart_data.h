#pragma once

#include <QString>
#include <QStringList>
#include <vector>

#include "results_db/records.h"

namespace krasis::ui {

/// One measured value: a bar or a point.
struct ChartPoint {
  QString category;      ///< the place on the x axis
  double value = 0;
  double deviation = 0;  ///< standard deviation, half of the error bar; 0 draws none
  qint64 run = 0;        ///< the run's id, for the click and the selection
};

struct ChartSeries {
  QString name;
  std::vector<ChartPoint> points;
};

struct ChartData {
  QString title, x_title, y_title;
  QStringList categories;  ///< in the order of the axis; every point's category is among them
  std::vector<ChartSeries> series;
};

/// Prefill tok/s: categories are LGS, series are what else varies ("INT4/INT4 HCS off"). Runs without samples and runs
/// with verdict FAIL are left out; of runs with one configuration the newest stands.
ChartData prefill_chart(const std::vector<results::RunSummary>& runs);
/// Decode tok/s against LGS, a line for each of what else varies.
ChartData decode_chart(const std::vector<results::RunSummary>& runs);

}  // namespace krasis::ui

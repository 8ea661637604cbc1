#pragma once

#include <QString>
#include <QWidget>
#include <vector>

#include "engine/placement/plan.h"

class QLabel;
class QVBoxLayout;

namespace krasis::ui {

/// One named share of a place's memory.
struct FitSegment {
  QString name;
  qint64 bytes = 0;
  QString meaning;  ///< one line for the tooltip, may be empty
};

/// One place: a device or the host's memory.
struct FitPlace {
  QString title;
  qint64 budget_bytes = 0;
  std::vector<FitSegment> segments;

  qint64 needed_bytes() const;
  bool fits() const { return needed_bytes() <= budget_bytes; }
  /// "1.2 GiB of 4.0 GiB", or with "over by 300 MiB".
  QString summary() const;
};

/// The places of a plan, host memory first, as the bars show them.
std::vector<FitPlace> fit_places(const Plan& plan);

/// A stacked bar of one place. Segments name themselves on hover; the line above the bar says the same in words, so
/// colour is never the only carrier. Over budget, the part beyond the budget is hatched.
class FitBar : public QWidget {
  Q_OBJECT

 public:
  explicit FitBar(QWidget* parent = nullptr);
  void set_place(const FitPlace& place);
  const FitPlace& place() const { return place_; }
  /// The segment under a position, -1 for none.
  int segment_at(const QPoint& position) const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  bool event(QEvent* event) override;
  void paintEvent(QPaintEvent* event) override;

 private:
  QRect bar_rect() const;
  double scale() const;  ///< pixels per byte

  FitPlace place_;
};

/// The bars of a plan and, over budget, what would help.
class FitPanel : public QWidget {
  Q_OBJECT

 public:
  explicit FitPanel(QWidget* parent = nullptr);
  void set_plan(const Plan& plan);
  /// No bars, but why.
  void set_error(const QString& message);
  bool fits() const { return fits_; }
  /// What the user reads below the bars: advice or an error; empty if all is well.
  QString advice() const;

 private:
  QVBoxLayout* bars_ = nullptr;
  QLabel* advice_ = nullptr;
  std::vector<FitBar*> widgets_;
  bool fits_ = true;
};

}  // namespace krasis::ui

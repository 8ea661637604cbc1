#include "ui/widgets/number_edit.h"

#include <QLineEdit>
#include <QLocale>
#include <QStyle>
#include <QStyleOptionSpinBox>
#include <algorithm>
#include <cmath>

#include "ui/format.h"

namespace krasis::ui {
namespace {

constexpr double kRealStep = 0.05;
constexpr double kLargeRange = 10000;  ///< whole numbers with a wider range step by a tenth of their magnitude

}  // namespace

NumberEdit::NumberEdit(const Parameter& parameter, QWidget* parent) : QAbstractSpinBox(parent), parameter_(&parameter) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setKeyboardTracking(false);  // QAbstractSpinBox has no value of its own here
  connect(lineEdit(), &QLineEdit::textEdited, this, &NumberEdit::edited);
}

QString NumberEdit::typed() const {
  return parameter_->type == ParameterType::Real ? decimal_point_text(lineEdit()->text())
                                                 : lineEdit()->text().trimmed();
}

bool NumberEdit::reads_as(QString* stored) const {
  RunConfiguration scratch;
  if (!parameter_->set(scratch, std::string_view(typed().toStdString()))) return false;
  *stored = QString::fromStdString(parameter_->text(scratch));
  return true;
}

QString NumberEdit::shown(const QString& stored) const {
  return parameter_->type == ParameterType::Real ? localized_decimal(stored) : stored;
}

void NumberEdit::show_value(const QString& stored) {
  QString now;
  if (reads_as(&now) && now == stored) {
    if (!hasFocus()) lineEdit()->setText(shown(stored));
    return;
  }
  lineEdit()->setText(shown(stored));
}

void NumberEdit::stepBy(int steps) {
  QString stored;
  const double now = reads_as(&stored) ? stored.toDouble() : value();
  double step = kRealStep;
  if (parameter_->type == ParameterType::Int) {
    const bool large = parameter_->maximum > kLargeRange && std::abs(now) >= 100;
    step = large ? std::pow(10.0, std::floor(std::log10(std::abs(now))) - 1) : 1;
  }
  const double stepped = std::clamp(std::round((now + steps * step) * 1e6) / 1e6, minimum(), maximum());
  lineEdit()->setText(parameter_->type == ParameterType::Int
                          ? QString::number(static_cast<qlonglong>(stepped))
                          : shown(QString::number(stepped, 'g', QLocale::FloatingPointShortest)));
  selectAll();
  emit edited();
}

// Every text is let in: the receiver says what is wrong with it, where a swallowed key would leave another number.
QValidator::State NumberEdit::validate(QString&, int&) const {
  return QValidator::Acceptable;
}

QAbstractSpinBox::StepEnabled NumberEdit::stepEnabled() const {
  StepEnabled enabled = StepNone;
  if (value() > minimum()) enabled |= StepDownEnabled;
  if (value() < maximum()) enabled |= StepUpEnabled;
  return enabled;
}

QSize NumberEdit::sizeHint() const {
  constexpr int kDigits = 8;
  const int width = fontMetrics().horizontalAdvance(QString(kDigits, QLatin1Char('0')));
  QStyleOptionSpinBox option;
  initStyleOption(&option);
  const QSize text(width + 2, lineEdit()->sizeHint().height());
  return style()->sizeFromContents(QStyle::CT_SpinBox, &option, text, this);
}

void NumberEdit::focusOutEvent(QFocusEvent* event) {
  QAbstractSpinBox::focusOutEvent(event);
  if (QString stored; reads_as(&stored)) lineEdit()->setText(shown(stored));
}

}  // namespace krasis::ui

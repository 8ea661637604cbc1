#pragma once

#include <QAbstractSpinBox>

#include "engine/config/parameters.h"

namespace krasis::ui {

/// The field of a parameter that is a number: a text with arrows. It never swallows a key, rounds or reformats while
/// somebody types; what the text is worth is for the receiver of edited() to say. Decimals may be typed with a point or
/// a comma in every locale and are shown as the locale has them.
class NumberEdit : public QAbstractSpinBox {
  Q_OBJECT
  // What QAccessible reads of a spin box.
  Q_PROPERTY(double value READ value)
  Q_PROPERTY(double minimum READ minimum)
  Q_PROPERTY(double maximum READ maximum)

 public:
  /// `parameter` is an Int or a Real and outlives the field.
  explicit NumberEdit(const Parameter& parameter, QWidget* parent = nullptr);

  /// The text as Parameter::set reads it: a comma of a Real has become a point.
  QString typed() const;
  /// Shows a value given as Parameter::text writes it. A text that already reads as that value stays as it was typed
  /// until the field loses the focus.
  void show_value(const QString& stored);
  double value() const { return typed().toDouble(); }
  double minimum() const { return parameter_->minimum; }
  double maximum() const { return parameter_->maximum; }

  void stepBy(int steps) override;
  QValidator::State validate(QString& text, int& position) const override;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return sizeHint(); }

 signals:
  /// A user typed or stepped; see typed().
  void edited();

 protected:
  StepEnabled stepEnabled() const override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  /// Whether the parameter takes what stands in the field, and then the value as Parameter::text writes it.
  bool reads_as(QString* stored) const;
  QString shown(const QString& stored) const;

  const Parameter* parameter_;
};

}  // namespace krasis::ui

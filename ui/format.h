#pragma once

#include <QLocale>
#include <QString>
#include <optional>

#include "base/error.h"

namespace krasis::ui {

/// "1.5 GiB": binary units, three significant digits at most, in the user's locale.
QString format_bytes(qint64 bytes);
/// A rate or a time with `decimals` places, in the user's locale; an em dash for NaN.
QString format_number(double value, int decimals);
/// A decimal as a user types it, as Parameter::set reads it: without blanks around, a comma as a point. No digit
/// groups.
QString decimal_point_text(const QString& typed);
/// Whether the user's locale writes decimals with a comma.
bool has_decimal_comma();
/// A number as typed into a filter: with a decimal point, as the user's locale writes it ("2.872,35" in German), or
/// with one decimal comma. "2.872" is below 3 in every locale. Nothing if it is no number.
std::optional<double> typed_number(const QString& typed);
/// The decimals of a text such as "0.25" or "12.5 %" with the decimal sign of the user's locale; nothing else changes.
QString localized_decimal(const QString& text);
/// "1 run", "1,234 runs": `one` is the whole text for one thing, `many` has a %1 for the figure.
QString counted(qint64 number, const QString& one, const QString& many);
/// "14 min", "38 s", "2 h 05 min".
QString format_duration(double seconds);
/// "+34.0 %" with its sign; `ratio` is new / old.
QString format_change(double ratio);
/// Cause and remedy as the user reads them.
QString format_error(const Error& error);

}  // namespace krasis::ui

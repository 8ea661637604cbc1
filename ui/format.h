#pragma once

#include <QLocale>
#include <QString>

#include "base/error.h"

namespace krasis::ui {

/// "1.5 GiB": binary units, three significant digits at most, in the user's locale.
QString format_bytes(qint64 bytes);
/// A rate or a time with `decimals` places, in the user's locale; an em dash for NaN.
QString format_number(double value, int decimals);
/// "14 min", "38 s", "2 h 05 min".
QString format_duration(double seconds);
/// "+34.0 %" with its sign; `ratio` is new / old.
QString format_change(double ratio);
/// Cause and remedy as the user reads them.
QString format_error(const Error& error);

}  // namespace krasis::ui

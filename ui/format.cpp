#include "ui/format.h"

#include <QCoreApplication>
#include <QRegularExpression>
#include <array>
#include <cmath>

namespace krasis::ui {

QString format_bytes(qint64 bytes) {
  static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (std::abs(value) >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  const int decimals = unit == 0 || std::abs(value) >= 100.0 ? 0 : std::abs(value) >= 10.0 ? 1 : 2;
  return QLocale().toString(value, 'f', decimals) + QChar(0x00a0) + QLatin1String(kUnits[unit]);
}

QString format_number(double value, int decimals) {
  if (!std::isfinite(value)) return QStringLiteral("\u2014");
  return QLocale().toString(value, 'f', decimals);
}

QString decimal_point_text(const QString& typed) {
  return typed.trimmed().replace(QLatin1Char(','), QLatin1Char('.'));
}

bool has_decimal_comma() {
  return QLocale().decimalPoint() == QLatin1String(",");
}

std::optional<double> typed_number(const QString& typed) {
  bool is_number = false;
  if (const double value = typed.toDouble(&is_number); is_number) return value;
  if (const double value = QLocale().toDouble(typed, &is_number); is_number) return value;
  if (const double value = decimal_point_text(typed).toDouble(&is_number); is_number) return value;
  return std::nullopt;
}

QString localized_decimal(const QString& text) {
  static const QRegularExpression kNumber(QStringLiteral(R"re(^([-+]?\d+)\.(\d+)( %)?$)re"));
  QString result = text;
  return result.replace(kNumber, QStringLiteral("\\1%1\\2\\3").arg(QLocale().decimalPoint()));
}

QString counted(qint64 number, const QString& one, const QString& many) {
  return number == 1 ? one : many.arg(QLocale().toString(number));
}

QString format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return QStringLiteral("\u2014");
  const auto total = static_cast<qint64>(std::ceil(seconds));
  if (total < 90) return QCoreApplication::translate("format", "%1 s").arg(total);
  const qint64 minutes = (total + 30) / 60;
  if (minutes < 90) return QCoreApplication::translate("format", "%1 min").arg(minutes);
  return QCoreApplication::translate("format", "%1 h %2 min")
      .arg(minutes / 60)
      .arg(minutes % 60, 2, 10, QLatin1Char('0'));
}

QString format_change(double ratio) {
  if (!std::isfinite(ratio)) return QStringLiteral("\u2014");
  const double percent = (ratio - 1.0) * 100.0;
  const QString sign = percent < 0 ? QStringLiteral("\u2212") : QStringLiteral("+");
  return sign + QLocale().toString(std::abs(percent), 'f', 1) + QStringLiteral("\u00a0%");
}

QString format_error(const Error& error) { return QString::fromStdString(error.message()); }

}  // namespace krasis::ui

#include "ui/models/filter_expression.h"

#include <QRegularExpression>

#include "ui/format.h"

namespace krasis::ui {

FilterExpression FilterExpression::parse(const QString& text) {
  static const QRegularExpression kTerm(
      QStringLiteral(R"re((?:([A-Za-z_][\w]*)(<=|>=|!=|=|<|>|:)("[^"]*"|\S+))|("[^"]*"|\S+))re"));
  const auto unquoted = [](QString value) {
    if (value.size() >= 2 && value.startsWith(QLatin1Char('"')) && value.endsWith(QLatin1Char('"'))) {
      value = value.mid(1, value.size() - 2);
    }
    return value;
  };
  FilterExpression expression;
  auto terms = kTerm.globalMatch(text);
  while (terms.hasNext()) {
    const auto term = terms.next();
    if (term.captured(1).isEmpty()) {
      expression.words_ << unquoted(term.captured(4));
    } else {
      expression.conditions_.push_back(
          {term.captured(1).toLower(), term.captured(2), unquoted(term.captured(3)), term.captured(0)});
    }
  }
  return expression;
}

bool FilterExpression::holds(const Condition& condition, const QVariant& value) {
  const QString& op = condition.comparison;
  if (value.typeId() == QMetaType::QVariantList) {
    const bool every = op == QLatin1String("!=");
    for (const QVariant& one : value.toList()) {
      if (holds(condition, one) != every) return !every;
    }
    return every;
  }
  if (op == QLatin1String(":")) return value.toString().contains(condition.operand, Qt::CaseInsensitive);
  bool is_number = false;
  const double left = value.toDouble(&is_number);
  const auto right = is_number ? typed_number(condition.operand) : std::nullopt;
  int order = 0;
  if (right) {
    order = left < *right ? -1 : left > *right ? 1 : 0;
  } else if (op == QLatin1String("=") || op == QLatin1String("!=")) {
    order = QString::compare(value.toString(), condition.operand, Qt::CaseInsensitive);
  } else {
    return false;  // "decode>8" of a row without a figure
  }
  if (op == QLatin1String("=")) return order == 0;
  if (op == QLatin1String("!=")) return order != 0;
  if (op == QLatin1String("<")) return order < 0;
  if (op == QLatin1String(">")) return order > 0;
  if (op == QLatin1String("<=")) return order <= 0;
  return order >= 0;
}

bool FilterExpression::matches(const Lookup& value, const QString& text) const {
  for (const QString& word : words_) {
    if (!text.contains(word, Qt::CaseInsensitive)) return false;
  }
  for (const auto& condition : conditions_) {
    const QVariant cell = value(condition.key);
    if (cell.isValid() ? !holds(condition, cell) : !text.contains(condition.written, Qt::CaseInsensitive)) return false;
  }
  return true;
}

}  // namespace krasis::ui

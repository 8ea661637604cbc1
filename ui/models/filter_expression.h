#pragma once

#include <QString>
#include <QVariant>
#include <functional>
#include <vector>

namespace krasis::ui {

/// What the filter field says: words, all of which must occur somewhere in a row, and conditions on columns such as
/// `lgs=2`, `decode>8`, `verdict!=FAIL`, `model:qwen` (contains). Values with blanks stand in double quotes.
class FilterExpression {
 public:
  /// The value of a column's key in the row that is asked about; invalid if there is no such column. A list when one
  /// thing has two spellings (4 and "INT4"): one of them has to hold, all of them for `!=`.
  using Lookup = std::function<QVariant(const QString& key)>;

  static FilterExpression parse(const QString& text);
  bool is_empty() const { return words_.isEmpty() && conditions_.empty(); }
  /// `text` is what the row's cells show, joined. A condition on a column that does not exist is treated as a word, so
  /// nothing that is typed is silently ignored.
  bool matches(const Lookup& value, const QString& text) const;

 private:
  struct Condition {
    QString key, comparison, operand, written;
  };
  static bool holds(const Condition& condition, const QVariant& value);

  QStringList words_;
  std::vector<Condition> conditions_;
};

}  // namespace krasis::ui

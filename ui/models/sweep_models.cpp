#include "ui/models/sweep_models.h"

#include <QRegularExpression>
#include <algorithm>

#include "ui/format.h"

namespace krasis::ui {
namespace {

QString from(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

/// Values as people type them, with points as decimals and commas between values. Semicolons between values make each
/// comma a decimal one; so does a locale with decimal commas where there is one comma. "0,1,5" is refused with a hint
/// there.
Expected<std::string> separated_by_commas(const Parameter& parameter, const QString& typed) {
  QString text = typed;
  if (text.contains(QLatin1Char(';'))) {
    if (parameter.type == ParameterType::Real) text.replace(QLatin1Char(','), QLatin1Char('.'));
    return text.replace(QLatin1Char(';'), QLatin1Char(',')).toStdString();
  }
  static const QRegularExpression kCommaInNumber(QStringLiteral(R"re(\d,\d)re")),
      kPointInNumber(QStringLiteral(R"re(\d\.\d)re"));
  if (parameter.type == ParameterType::Real && has_decimal_comma() && text.contains(kCommaInNumber) &&
      !text.contains(kPointInNumber)) {
    if (text.count(QLatin1Char(',')) == 1) return decimal_point_text(text).toStdString();
    return fail(
        ErrorCode::InvalidArgument,
        AxesModel::tr("In \"%1\" each comma may be a decimal comma or stand between two values.")
            .arg(text)
            .toStdString(),
        AxesModel::tr("Write 0,25; 0,5 with semicolons between the values, or 0.25, 0.5 with points.").toStdString());
  }
  return text.toStdString();
}

/// What separated_by_commas() reads as these values again, in the user's locale.
QString axis_text(const Parameter& parameter, const std::vector<std::string>& values) {
  const bool semicolons = parameter.type == ParameterType::Real && has_decimal_comma();
  QStringList texts;
  for (const auto& value : values) {
    const QString text = QString::fromStdString(value);
    texts << (semicolons ? localized_decimal(text) : text);
  }
  return texts.join(semicolons ? QStringLiteral("; ") : QStringLiteral(","));
}

}  // namespace

AxesModel::AxesModel(QObject* parent) : QAbstractTableModel(parent) {
  for (const auto& parameter : parameters()) {
    if (parameter.sweepable) rows_.push_back({&parameter});
  }
}

void AxesModel::parse(AxisRow& row) {
  row.values.clear();
  row.problem.clear();
  if (row.text.trimmed().isEmpty() && !row.included) return;
  auto values = separated_by_commas(*row.parameter, row.text).and_then([&](const std::string& text) {
    return parse_values(*row.parameter, text);
  });
  if (values) {
    row.values = std::move(*values);
  } else {
    row.problem = format_error(values.error());
  }
}

void AxesModel::set_axis(std::string_view parameter, const QString& values) {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].parameter->name != parameter) continue;
    rows_[i].included = true;
    rows_[i].text = values;
    parse(rows_[i]);
    emit dataChanged(index(static_cast<int>(i), 0), index(static_cast<int>(i), ColumnCount - 1));
  }
  emit axes_changed();
}

void AxesModel::set_axis_values(std::string_view parameter, const std::vector<std::string>& values) {
  if (const auto* axis = find_parameter(parameter)) set_axis(parameter, axis_text(*axis, values));
}

void AxesModel::clear() {
  for (auto& row : rows_) row = {row.parameter};
  emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
  emit axes_changed();
}

QString AxesModel::first_problem() const {
  for (const auto& row : rows_) {
    if (row.included && !row.problem.isEmpty()) return tr("%1: %2").arg(from(row.parameter->label), row.problem);
  }
  return {};
}

int AxesModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(rows_.size()); }
int AxesModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant AxesModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto& row = rows_[static_cast<std::size_t>(index.row())];
  if (role == Qt::CheckStateRole && index.column() == Name) return row.included ? Qt::Checked : Qt::Unchecked;
  if (role == Qt::ToolTipRole) {
    if (!row.problem.isEmpty()) return row.problem;
    return from(row.parameter->help) + QLatin1Char('\n') + QString::fromStdString(row.parameter->range_text());
  }
  if (role != Qt::DisplayRole && role != Qt::EditRole) return {};
  switch (index.column()) {
    case Name: return from(row.parameter->label);
    case Values: return row.text;
    case Count:
      if (!row.problem.isEmpty()) return QStringLiteral("\u26a0 ") + row.problem;
      if (row.values.empty()) return {};
      return counted(static_cast<qint64>(row.values.size()), tr("1 value"), tr("%1 values"));
    default: return {};
  }
}

bool AxesModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return false;
  auto& row = rows_[static_cast<std::size_t>(index.row())];
  if (role == Qt::CheckStateRole && index.column() == Name) {
    row.included = value.toInt() == Qt::Checked;
    if (row.included && row.text.isEmpty()) row.text = axis_text(*row.parameter, {row.parameter->text(defaults_)});
  } else if (role == Qt::EditRole && index.column() == Values) {
    row.text = value.toString().trimmed();
    row.included = !row.text.isEmpty();
  } else {
    return false;
  }
  parse(row);
  emit dataChanged(this->index(index.row(), 0), this->index(index.row(), ColumnCount - 1));
  emit axes_changed();
  return true;
}

Qt::ItemFlags AxesModel::flags(const QModelIndex& index) const {
  Qt::ItemFlags flags = QAbstractTableModel::flags(index);
  if (index.column() == Name) flags |= Qt::ItemIsUserCheckable;
  if (index.column() == Values) flags |= Qt::ItemIsEditable;
  return flags;
}

QVariant AxesModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  return section == Name ? tr("Sweep over") : section == Values ? tr("Values") : tr("Number");
}

void SweepRunsModel::set_runs(std::vector<SweepRun> runs, std::vector<const Parameter*> parameters) {
  if (!runs_.empty()) former_ = runs_;
  for (auto& run : runs) {
    const auto old = std::find_if(former_.begin(), former_.end(),
                                  [&run](const SweepRun& other) { return other.configuration == run.configuration; });
    if (old != former_.end()) run.chosen = old->chosen;
  }
  beginResetModel();
  runs_ = std::move(runs);
  parameters_ = std::move(parameters);
  endResetModel();
  emit choice_changed();
}

std::vector<RunConfiguration> SweepRunsModel::chosen() const {
  std::vector<RunConfiguration> configurations;
  for (const auto& run : runs_) {
    if (run.chosen && run.problem.isEmpty()) configurations.push_back(run.configuration);
  }
  return configurations;
}

QString SweepRunsModel::state_text(const SweepRun& run) const {
  if (!run.problem.isEmpty()) return QStringLiteral("\u2717 ") + run.problem;
  if (!run.over_budget.isEmpty()) return QStringLiteral("\u26a0 ") + run.over_budget;
  return run.measured ? tr("\u2713 fits, already measured") : tr("\u2713 fits");
}

int SweepRunsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(runs_.size()); }
int SweepRunsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : state_column() + 3; }

QVariant SweepRunsModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto& run = runs_[static_cast<std::size_t>(index.row())];
  const int column = index.column();
  switch (role) {
    case Qt::CheckStateRole:
      if (column != Chosen) return {};
      return run.chosen && run.problem.isEmpty() ? Qt::Checked : Qt::Unchecked;
    case ProblemRole: return run.problem;
    case OverBudgetRole: return run.over_budget;
    case Qt::ToolTipRole: return state_text(run);
    case Qt::DisplayRole: break;
    default: return {};
  }
  if (column == Chosen) return index.row() + 1;
  if (column < state_column()) {
    const auto* parameter = parameters_[static_cast<std::size_t>(column - FirstParameter)];
    const QString text = QString::fromStdString(parameter->display(run.configuration));
    return parameter->type == ParameterType::Real ? localized_decimal(text) : text;
  }
  if (column == state_column()) return state_text(run);
  if (!run.problem.isEmpty()) return {};
  return format_bytes(column == state_column() + 1 ? run.device_bytes : run.host_bytes);
}

bool SweepRunsModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid) || role != Qt::CheckStateRole || index.column() != Chosen) return false;
  runs_[static_cast<std::size_t>(index.row())].chosen = value.toInt() == Qt::Checked;
  emit dataChanged(index, index);
  emit choice_changed();
  return true;
}

Qt::ItemFlags SweepRunsModel::flags(const QModelIndex& index) const {
  Qt::ItemFlags flags = QAbstractTableModel::flags(index);
  if (!index.isValid()) return flags;
  if (index.column() == Chosen && runs_[static_cast<std::size_t>(index.row())].problem.isEmpty()) {
    flags |= Qt::ItemIsUserCheckable;
  }
  return flags;
}

QVariant SweepRunsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  if (section == Chosen) return tr("Run");
  if (section < state_column()) return from(parameters_[static_cast<std::size_t>(section - FirstParameter)]->label);
  if (section == state_column()) return tr("State");
  return section == state_column() + 1 ? tr("Device needs") : tr("Host needs");
}

}  // namespace krasis::ui

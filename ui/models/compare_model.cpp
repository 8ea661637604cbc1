#include "ui/models/compare_model.h"

#include "results_db/export_markdown.h"
#include "ui/format.h"
#include "ui/models/results_model.h"

namespace krasis::ui {
namespace {

int decimals_of(const std::string& metric) {
  if (metric == "prefill_tokens_per_second") return 1;
  return metric == "ttft_s" ? 3 : 2;
}

}  // namespace

void CompareModel::set_runs(std::optional<results::RunSummary> baseline, std::vector<results::RunSummary> others) {
  beginResetModel();
  baseline_ = std::move(baseline);
  others_ = std::move(others);
  if (others_.size() > kMaximumOthers) others_.resize(kMaximumOthers);
  comparison_ = baseline_ ? results::compare(*baseline_, others_) : results::Comparison{};
  choose_rows();
  endResetModel();
}

void CompareModel::set_show_all(bool show_all) {
  beginResetModel();
  show_all_ = show_all;
  choose_rows();
  endResetModel();
}

void CompareModel::choose_rows() {
  shown_.clear();
  for (std::size_t i = 0; i < comparison_.parameters.size(); ++i) {
    if (show_all_ || comparison_.parameters[i].differs) shown_.push_back(i);
  }
}

QStringList CompareModel::warnings() const {
  QStringList lines;
  for (const auto& warning : comparison_.warnings) {
    const auto& run = warning.run < others_.size() ? others_[warning.run].run : baseline_->run;
    lines << tr("%1: %2").arg(QString::fromStdString(run.short_id()), QString::fromStdString(warning.text));
  }
  return lines;
}

int CompareModel::rowCount(const QModelIndex& parent) const {
  if (parent.isValid() || !baseline_) return 0;
  return static_cast<int>(shown_.size() + comparison_.metrics.size());
}

int CompareModel::columnCount(const QModelIndex& parent) const {
  if (parent.isValid() || !baseline_) return 0;
  return 2 + static_cast<int>(others_.size());  // name, baseline, others
}

const results::MetricCell& CompareModel::cell_of(const results::MetricComparison& metric, int column) const {
  return column == 1 ? metric.baseline : metric.cells[static_cast<std::size_t>(column - 2)];
}

QString CompareModel::metric_text(const results::MetricComparison& metric, int column) const {
  const auto& cell = cell_of(metric, column);
  if (cell.statistics.n == 0) return QStringLiteral("\u2014");
  QString text = format_number(cell.value, decimals_of(metric.name));
  if (!cell.relative) return text;
  const bool told = cell.change == results::Change::Better || cell.change == results::Change::Worse;
  const QString glyph = !told ? QString() : *cell.relative > 0 ? QStringLiteral(" \u25b2") : QStringLiteral(" \u25bc");
  return text + QStringLiteral(" (%1%2)").arg(format_change(1.0 + *cell.relative), glyph);
}

QString CompareModel::metric_tip(const results::MetricComparison& metric, int column) const {
  const auto& cell = cell_of(metric, column);
  const int decimals = decimals_of(metric.name);
  if (cell.statistics.n == 0) return tr("no sample");
  QStringList lines;
  lines << (metric.higher_is_better ? tr("tokens over time, n = %1, median of the repetitions %2")
                                    : tr("mean, n = %1, median %2"))
               .arg(cell.statistics.n)
               .arg(format_number(cell.statistics.median, decimals));
  if (cell.confidence95) {
    lines << tr("95 % confidence interval %1 to %2")
                 .arg(format_number(cell.confidence95->low, decimals),
                      format_number(cell.confidence95->high, decimals));
  }
  if (cell.p_value) lines << tr("p = %1 (Welch, of the times)").arg(QLocale().toString(*cell.p_value, 'g', 2));
  if (cell.n_too_small)
    lines << tr("n too small to tell a difference");
  else if (cell.relative && !cell.significant())
    lines << tr("no significant difference");
  return lines.join(QLatin1Char('\n'));
}

QVariant CompareModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto row = static_cast<std::size_t>(index.row());
  const int column = index.column();
  if (role == Qt::TextAlignmentRole && column > 0) return int{Qt::AlignRight | Qt::AlignVCenter};
  if (row < shown_.size()) {
    const auto& parameter = comparison_.parameters[shown_[row]];
    if (role != Qt::DisplayRole && role != Qt::ToolTipRole) return {};
    if (column == 0) return QString::fromStdString(parameter.title);
    return shown_value(parameter.name, QString::fromStdString(parameter.values[static_cast<std::size_t>(column - 1)]));
  }
  const auto& metric = comparison_.metrics[row - shown_.size()];
  if (role == Qt::DisplayRole) return column == 0 ? QString::fromStdString(metric.title) : metric_text(metric, column);
  if (column == 0) return {};
  if (role == ChangeRole && column > 1) return static_cast<int>(cell_of(metric, column).change);
  return role == Qt::ToolTipRole ? metric_tip(metric, column) : QVariant();
}

QVariant CompareModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole || !baseline_) return {};
  if (section == 0) return tr("Parameter or figure");
  if (section > 1 + static_cast<int>(others_.size())) return {};
  const auto& run = section == 1 ? baseline_->run : others_[static_cast<std::size_t>(section - 2)].run;
  const QString label = configuration_label(run.parameters) + QStringLiteral("\n") + QString::fromStdString(run.short_id());
  return section == 1 ? tr("Baseline: %1").arg(label) : label;
}

QString CompareModel::markdown() const {
  const auto escaped = [](QString text) {
    return QString::fromStdString(results::escape_markdown(text.replace(QLatin1Char('\n'), QLatin1Char(' ')).toStdString()));
  };
  QString text, rule;
  for (int c = 0; c < columnCount(); ++c) {
    text += QStringLiteral("| ") + escaped(headerData(c, Qt::Horizontal, Qt::DisplayRole).toString()) + QLatin1Char(' ');
    rule += c == 0 ? QStringLiteral("|---") : QStringLiteral("|---:");
  }
  text += QStringLiteral("|\n") + rule + QStringLiteral("|\n");
  for (int r = 0; r < rowCount(); ++r) {
    for (int c = 0; c < columnCount(); ++c) text += QStringLiteral("| ") + escaped(index(r, c).data().toString()) + QLatin1Char(' ');
    text += QStringLiteral("|\n");
  }
  text += QLatin1Char('\n') +
          tr("\u25b2 \u25bc: p < 0.05 (Welch) of at least %1 repetitions each; without an arrow no "
             "difference was told.")
              .arg(results::kMinimumRepetitions) +
          QLatin1Char('\n');
  for (const QString& warning : warnings()) text += QStringLiteral("\n- ") + escaped(warning);
  return text;
}

}  // namespace krasis::ui

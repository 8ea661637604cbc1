#include "ui/models/results_model.h"

#include <QCoreApplication>
#include <QDateTime>
#include <QFont>
#include <algorithm>

#include "base/format_parameter.h"
#include "engine/config/parameters.h"
#include "results_db/telemetry.h"
#include "ui/format.h"

namespace krasis::ui {
namespace {

using results::RunStatus;
using results::Verdict;

QString from(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QString local_time(const std::string& utc) {
  const auto time = QDateTime::fromString(QString::fromStdString(utc), Qt::ISODateWithMs).toLocalTime();
  return time.isValid() ? time.toString(QStringLiteral("yyyy-MM-dd HH:mm")) : QString();
}

QVariant sort_value(std::string_view name, const QString& text) {
  const Parameter* parameter = find_parameter(name);
  if (parameter && parameter->type == ParameterType::Format) {
    if (const auto element = element_named(text.toStdString())) return bits_of(*element);
  }
  bool is_number = false;
  const double number = text.toDouble(&is_number);
  return is_number ? QVariant(number) : QVariant(text);
}

}  // namespace

QString shown_value(std::string_view parameter, const QString& value) {
  const auto* known = find_parameter(parameter);
  return known && known->type == ParameterType::Real ? localized_decimal(value) : value;
}

QString verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::Pass: return QCoreApplication::translate("ResultsModel", "\u2713 PASS");
    case Verdict::Fail: return QCoreApplication::translate("ResultsModel", "\u2717 FAIL");
    case Verdict::None: break;
  }
  return QStringLiteral("\u2014");
}

QString status_text(RunStatus status) {
  switch (status) {
    case RunStatus::Queued: return QCoreApplication::translate("ResultsModel", "Queued");
    case RunStatus::Running: return QCoreApplication::translate("ResultsModel", "Running");
    case RunStatus::Done: return QCoreApplication::translate("ResultsModel", "Done");
    case RunStatus::Failed: return QCoreApplication::translate("ResultsModel", "Failed");
    case RunStatus::Crashed: return QCoreApplication::translate("ResultsModel", "Crashed");
    case RunStatus::Cancelled: return QCoreApplication::translate("ResultsModel", "Cancelled");
    case RunStatus::OutOfMemory: return QCoreApplication::translate("ResultsModel", "Out of memory");
  }
  return {};
}

QString configuration_label(const results::RunParameters& p) {
  QString text = QStringLiteral("%1/%2 LGS %3 HCS %4")
                     .arg(from(results::shown(p, "gpu_format")), from(results::shown(p, "cpu_format")))
                     .arg(p.lgs)
                     .arg(from(name_of(p.hcs)));
  if (p.device_count > 1) text += QCoreApplication::translate("ResultsModel", ", %1 devices").arg(p.device_count);
  return text;
}

ResultsModel::ResultsModel(QObject* parent) : QAbstractTableModel(parent) {
  columns_.push_back({QStringLiteral("run"), tr("Run"), Kind::Identity});
  columns_.push_back({QStringLiteral("time"), tr("Created"), Kind::Identity});
  columns_.push_back({QStringLiteral("model"), tr("Model"), Kind::Identity});
  for (const auto& value : results::describe({})) {
    columns_.push_back({from(value.name), from(value.title), Kind::Parameter});
  }
  columns_.push_back({QStringLiteral("prefill"), tr("Prefill (tok/s)"), Kind::Metric});
  columns_.push_back({QStringLiteral("ttft"), tr("TTFT (s)"), Kind::Metric});
  columns_.push_back({QStringLiteral("decode"), tr("Decode (tok/s)"), Kind::Metric});
  columns_.push_back({QStringLiteral("ms_per_token"), tr("ms/tok"), Kind::Metric});
  columns_.push_back({QStringLiteral("n"), tr("n"), Kind::Metric});
  columns_.push_back({QStringLiteral("verdict"), tr("Verdict"), Kind::State});
  columns_.push_back({QStringLiteral("status"), tr("Status"), Kind::State});
  columns_.push_back({QStringLiteral("sweep"), tr("Sweep"), Kind::Identity});
  columns_.push_back({QStringLiteral("machine"), tr("Machine"), Kind::Identity});
  columns_.push_back({QStringLiteral("note"), tr("Note"), Kind::Identity});
}

std::vector<ResultsModel::Cell> ResultsModel::cells_of(const results::RunSummary& summary) const {
  const auto& run = summary.run;
  std::vector<Cell> cells;
  cells.reserve(columns_.size());
  cells.push_back({from(run.short_id()), QVariant::fromValue<qlonglong>(run.id), from(run.uuid)});
  cells.push_back({local_time(run.created_at), from(run.created_at), from(run.created_at)});
  const QString model = run.model.synthetic ? tr("%1 (synthetic)").arg(from(run.model.name)) : from(run.model.name);
  cells.push_back({model, from(run.model.name), from(run.model.architecture)});
  for (const auto& value : results::describe(run.parameters)) {
    const QString text = from(value.value);
    cells.push_back({shown_value(value.name, text), sort_value(value.name, text), {}});
  }
  const QString throttled = from(results::throttling(run.telemetry_json));
  const QString disturbed = from(run.disturbance);
  const auto metric = [&](const results::Metric& m, int decimals, bool is_rate) {
    if (m.statistics.n == 0) {
      cells.push_back({QStringLiteral("\u2014"), {}, tr("no sample")});
      return;
    }
    QString tip =
        (is_rate ? tr("tokens over time, n = %1, median of the repetitions %2") : tr("mean, n = %1, median %2"))
            .arg(m.statistics.n)
            .arg(format_number(m.statistics.median, decimals));
    if (m.statistics.stddev) tip += tr(", standard deviation %1").arg(format_number(*m.statistics.stddev, decimals));
    if (m.statistics.n_too_small()) tip += QLatin1Char('\n') + tr("n is too small to judge the spread");
    if (m.statistics.first_is_outlier) tip += QLatin1Char('\n') + tr("the first repetition is an outlier");
    QString text = format_number(m.value, decimals);
    if (!throttled.isEmpty()) tip += QLatin1Char('\n') + tr("the GPU was throttled: %1").arg(throttled);
    if (!disturbed.isEmpty()) tip += QLatin1Char('\n') + tr("disturbed: %1").arg(disturbed);
    if (!throttled.isEmpty() || !disturbed.isEmpty()) text = tr("%1 \u26a0").arg(text);
    cells.push_back({text, m.value, tip});
  };
  metric(summary.prefill_tokens_per_second, 1, true);
  metric(summary.ttft_s, 3, false);
  metric(summary.decode_tokens_per_second, 2, true);
  metric(summary.ms_per_token, 2, false);
  const auto n = summary.prefill_tokens_per_second.statistics.n;
  cells.push_back({QString::number(n), QVariant::fromValue<qulonglong>(n), {}});
  QString figure;
  if (run.verdict.value) {
    figure = tr("%1: %2").arg(from(run.verdict.figure), QLocale().toString(*run.verdict.value, 'g', 4));
    if (run.verdict.threshold) figure += tr(", limit %1").arg(QLocale().toString(*run.verdict.threshold, 'g', 4));
  }
  cells.push_back({verdict_text(run.verdict.verdict), from(results::name_of(run.verdict.verdict)), figure});
  QString why = from(run.failure.cause);
  if (!run.failure.stage.empty()) why += tr("\nStage: %1").arg(from(run.failure.stage));
  if (run.failure.signal != 0) why += tr("\nSignal: %1").arg(run.failure.signal);
  cells.push_back({status_text(run.status), from(results::name_of(run.status)), why});
  cells.push_back({from(run.sweep), from(run.sweep), {}});
  const QString machine = run.environment ? from(run.environment->machine) : QString();
  cells.push_back({machine, machine, run.environment ? from(run.environment->cpu) : QString()});
  cells.push_back({from(run.note), from(run.note), {}});
  return cells;
}

void ResultsModel::set_runs(std::vector<results::RunSummary> runs) {
  std::vector<std::vector<Cell>> cells;
  cells.reserve(runs.size());
  for (const auto& summary : runs) cells.push_back(cells_of(summary));
  std::size_t same = 0;
  while (same < runs.size() && same < runs_.size() && runs[same].run.id == runs_[same].run.id) ++same;
  if (same < runs_.size()) {  // rows went or moved
    beginResetModel();
    runs_ = std::move(runs);
    cells_ = std::move(cells);
    endResetModel();
    return;
  }
  const int old_rows = static_cast<int>(runs_.size());
  const int new_rows = static_cast<int>(runs.size());
  if (new_rows > old_rows) beginInsertRows({}, old_rows, new_rows - 1);
  runs_ = std::move(runs);
  cells_ = std::move(cells);
  if (new_rows > old_rows) endInsertRows();
  if (old_rows > 0) emit dataChanged(index(0, 0), index(old_rows - 1, columnCount() - 1));
}

int ResultsModel::row_of(results::RunId id) const {
  const auto found = std::find_if(runs_.begin(), runs_.end(), [id](const auto& s) { return s.run.id == id; });
  return found == runs_.end() ? -1 : static_cast<int>(found - runs_.begin());
}

const results::RunSummary* ResultsModel::run(results::RunId id) const {
  const int row = row_of(id);
  return row < 0 ? nullptr : &runs_[static_cast<std::size_t>(row)];
}

int ResultsModel::column_of(const QString& key) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].key == key) return static_cast<int>(i);
  }
  const Parameter* renamed = find_parameter(key.toStdString());
  return renamed && from(renamed->name) != key ? column_of(from(renamed->name)) : -1;
}

int ResultsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(runs_.size()); }
int ResultsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(columns_.size());
}

QVariant ResultsModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto row = static_cast<std::size_t>(index.row());
  const auto column = static_cast<std::size_t>(index.column());
  const auto& cell = cells_[row][column];
  const auto& run = runs_[row].run;
  switch (role) {
    case Qt::DisplayRole: return cell.text;
    case Qt::ToolTipRole: return cell.tip.isEmpty() ? QVariant() : QVariant(cell.tip);
    case Qt::TextAlignmentRole: {
      const bool number = cell.sort.typeId() == QMetaType::Double || columns_[column].kind == Kind::Metric;
      return static_cast<int>((number ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
    }
    case SortRole: return cell.sort;
    case RunIdRole: return QVariant::fromValue<qlonglong>(run.id);
    case VerdictRole: return static_cast<int>(run.verdict.verdict);
    case StatusRole: return static_cast<int>(run.status);
    default: return {};
  }
}

QVariant ResultsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole || section < 0 || section >= columnCount()) return {};
  return columns_[static_cast<std::size_t>(section)].title;
}

ResultsFilter::ResultsFilter(QObject* parent) : QSortFilterProxyModel(parent) { setDynamicSortFilter(true); }

void ResultsFilter::set_filter(const QString& text) {
  expression_ = FilterExpression::parse(text);
  invalidateFilter();
}

void ResultsFilter::set_hide_failed(bool hide) {
  hide_failed_ = hide;
  invalidateFilter();
}

bool ResultsFilter::filterAcceptsRow(int source_row, const QModelIndex& source_parent) const {
  if (hide_failed_ && results::is_failure(results()->runs()[static_cast<std::size_t>(source_row)].run.status))
    return false;
  if (expression_.is_empty()) return true;
  QString all;
  for (int c = 0; c < sourceModel()->columnCount(); ++c) {
    all += sourceModel()->index(source_row, c, source_parent).data().toString() + QLatin1Char('\n');
  }
  const auto lookup = [&](const QString& key) -> QVariant {
    const int column = results()->column_of(key);
    if (column < 0) return {};
    const QModelIndex index = sourceModel()->index(source_row, column, source_parent);
    return QVariantList{index.data(ResultsModel::SortRole), index.data()};
  };
  return expression_.matches(lookup, all);
}

bool ResultsFilter::lessThan(const QModelIndex& left, const QModelIndex& right) const {
  const QVariant a = left.data(ResultsModel::SortRole);
  const QVariant b = right.data(ResultsModel::SortRole);
  if (!a.isValid() || !b.isValid()) return b.isValid();  // no figure: below every figure
  if (a.typeId() == QMetaType::QString || b.typeId() == QMetaType::QString) {
    return QString::localeAwareCompare(a.toString(), b.toString()) < 0;
  }
  return a.toDouble() < b.toDouble();
}

std::vector<results::RunSummary> ResultsFilter::shown_runs() const {
  std::vector<results::RunSummary> shown;
  shown.reserve(static_cast<std::size_t>(rowCount()));
  for (int row = 0; row < rowCount(); ++row) {
    shown.push_back(results()->runs()[static_cast<std::size_t>(mapToSource(index(row, 0)).row())]);
  }
  return shown;
}

std::vector<bool> ResultsFilter::constant_columns() const {
  std::vector<bool> constant(static_cast<std::size_t>(columnCount()), false);
  for (int column = 0; column < columnCount(); ++column) {
    const auto kind = results()->kind_of(column);
    if (kind == ResultsModel::Kind::Metric || kind == ResultsModel::Kind::State || column <= 2) continue;
    const QString first = index(0, column).data().toString();
    bool same = true;
    for (int row = 1; row < rowCount() && same; ++row) same = index(row, column).data().toString() == first;
    constant[static_cast<std::size_t>(column)] = same && (rowCount() > 1 || first.isEmpty());
  }
  return constant;
}

}  // namespace krasis::ui

#include "ui/models/queue_model.h"

#include <QDateTime>
#include <algorithm>

#include "ui/format.h"
#include "ui/models/results_model.h"

namespace krasis::ui {

using results::RunStatus;

std::vector<QueueRow>::iterator QueueModel::find(results::RunId id) {
  return std::find_if(rows_.begin(), rows_.end(), [id](const auto& row) { return row.id == id; });
}

void QueueModel::put(const QueueRow& row) {
  const auto found = find(row.id);
  if (found != rows_.end()) {
    *found = row;
    const int r = static_cast<int>(found - rows_.begin());
    emit dataChanged(index(r, 0), index(r, ColumnCount - 1));
    return;
  }
  const int r = static_cast<int>(rows_.size());
  beginInsertRows({}, r, r);
  rows_.push_back(row);
  endInsertRows();
}

void QueueModel::remove(results::RunId id) {
  const auto found = find(id);
  if (found == rows_.end()) return;
  emit about_to_remove(id);
  const int r = static_cast<int>(found - rows_.begin());
  beginRemoveRows({}, r, r);
  rows_.erase(found);
  endRemoveRows();
}

void QueueModel::clear() {
  beginResetModel();
  rows_.clear();
  endResetModel();
}

const QueueRow* QueueModel::row(results::RunId id) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [id](const auto& row) { return row.id == id; });
  return found == rows_.end() ? nullptr : &*found;
}

int QueueModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(rows_.size()); }
int QueueModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant QueueModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto& row = rows_[static_cast<std::size_t>(index.row())];
  switch (role) {
    case Qt::DisplayRole:
      switch (index.column()) {
        case Status: return status_text(row.status);
        case Run: return row.title;
        case Progress:
          return row.status == RunStatus::Queued ? QString() : tr("%1 %").arg(static_cast<int>(row.progress * 100 + 0.5));
        case Stage: return row.failure.isEmpty() ? row.stage : row.failure.section(QLatin1Char('\n'), 0, 0);
        case Eta: return row.status == RunStatus::Running && row.eta_s >= 0 ? format_duration(row.eta_s) : QString();
        default: return {};
      }
    case Qt::ToolTipRole: return row.failure.isEmpty() ? QVariant() : QVariant(row.failure);
    case RunIdRole: return QVariant::fromValue<qlonglong>(row.id);
    case ProgressRole: return row.progress;
    case StatusRole: return static_cast<int>(row.status);
    default: return {};
  }
}

QVariant QueueModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  switch (section) {
    case Status: return tr("Status");
    case Run: return tr("Run");
    case Progress: return tr("Progress");
    case Stage: return tr("Stage");
    case Eta: return tr("ETA");
    default: return {};
  }
}

void LogModel::append(const results::LogLine& line) {
  if (static_cast<int>(lines_.size()) >= kMaximumLines) {
    const int drop = kMaximumLines / 10;
    beginRemoveRows({}, 0, drop - 1);
    lines_.erase(lines_.begin(), lines_.begin() + drop);
    endRemoveRows();
  }
  const int r = static_cast<int>(lines_.size());
  beginInsertRows({}, r, r);
  lines_.push_back(line);
  endInsertRows();
}

void LogModel::set_lines(std::vector<results::LogLine> lines) {
  beginResetModel();
  lines_ = std::move(lines);
  endResetModel();
}

int LogModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(lines_.size()); }
int LogModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant LogModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole) return {};
  const auto& line = lines_[static_cast<std::size_t>(index.row())];
  switch (index.column()) {
    case Time: {
      const auto time = QDateTime::fromString(QString::fromStdString(line.time), Qt::ISODateWithMs).toLocalTime();
      return time.isValid() ? time.toString(QStringLiteral("HH:mm:ss.zzz")) : QString();
    }
    case Level: return QString::fromStdString(line.level);
    case Stage: return QString::fromStdString(line.stage);
    case Text: return QString::fromStdString(line.text);
    default: return {};
  }
}

QVariant LogModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  switch (section) {
    case Time: return tr("Time");
    case Level: return tr("Level");
    case Stage: return tr("Stage");
    case Text: return tr("Text");
    default: return {};
  }
}

}  // namespace krasis::ui

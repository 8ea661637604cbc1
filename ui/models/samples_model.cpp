#include "ui/models/samples_model.h"

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <algorithm>

#include "ui/format.h"

namespace krasis::ui {
namespace {

void flatten(const QString& prefix, const QJsonValue& value, std::vector<FactsModel::Fact>& facts) {
  if (value.isObject()) {
    const auto object = value.toObject();
    for (auto it = object.begin(); it != object.end(); ++it) {
      flatten(prefix.isEmpty() ? it.key() : prefix + QLatin1Char('.') + it.key(), it.value(), facts);
    }
  } else if (value.isArray()) {
    facts.push_back({prefix, QString::fromUtf8(QJsonDocument(value.toArray()).toJson(QJsonDocument::Compact))});
  } else {
    facts.push_back({prefix, value.toVariant().toString()});
  }
}

}  // namespace

void SamplesModel::set_repetitions(std::vector<results::Repetition> repetitions) {
  beginResetModel();
  repetitions_ = std::move(repetitions);
  endResetModel();
}

int SamplesModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(repetitions_.size());
}
int SamplesModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant SamplesModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const auto& r = repetitions_[static_cast<std::size_t>(index.row())];
  if (role == Qt::TextAlignmentRole && index.column() != Output) return int{Qt::AlignRight | Qt::AlignVCenter};
  if (role == Qt::ToolTipRole && index.column() == Output) return QString::fromStdString(r.output_text);
  if (role != Qt::DisplayRole) return {};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double decode = r.decode_s > 0 ? static_cast<double>(r.decode_tokens) / r.decode_s : nan;
  switch (index.column()) {
    case Number: return r.warm_up ? tr("warm-up %1").arg(r.index + 1) : QString::number(r.index + 1);
    case Prefill: return format_number(r.prefill_s > 0 ? static_cast<double>(r.prefill_tokens) / r.prefill_s : nan, 1);
    case Ttft: return format_number(r.ttft_s, 3);
    case Decode: return format_number(decode, 2);
    case MsPerToken: return format_number(1000.0 / decode, 2);
    case Slowest: {
      const auto slowest = std::max_element(r.decode_token_s.begin(), r.decode_token_s.end());
      return slowest == r.decode_token_s.end() ? QString() : format_number(*slowest * 1000.0, 2);
    }
    case Output: return QString::fromStdString(r.output_text).simplified().left(200);
    default: return {};
  }
}

QVariant SamplesModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  switch (section) {
    case Number: return tr("Repetition");
    case Prefill: return tr("Prefill (tok/s)");
    case Ttft: return tr("TTFT (s)");
    case Decode: return tr("Decode (tok/s)");
    case MsPerToken: return tr("ms/tok");
    case Slowest: return tr("Slowest token (ms)");
    case Output: return tr("Output");
    default: return {};
  }
}

void FactsModel::set_facts(std::vector<Fact> facts) {
  beginResetModel();
  facts_ = std::move(facts);
  endResetModel();
}

std::vector<FactsModel::Fact> FactsModel::from_json(std::string_view json) {
  std::vector<Fact> facts;
  const auto document = QJsonDocument::fromJson(QByteArray(json.data(), static_cast<qsizetype>(json.size())));
  if (document.isObject()) flatten({}, document.object(), facts);
  return facts;
}

int FactsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(facts_.size()); }
int FactsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : 2; }

QVariant FactsModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole) return {};
  const auto& fact = facts_[static_cast<std::size_t>(index.row())];
  if (role == Qt::ToolTipRole && !fact.tip.isEmpty()) return fact.tip;
  return index.column() == 0 ? fact.name : fact.value;
}

QVariant FactsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  return section == 0 ? tr("Name") : tr("Value");
}

}  // namespace krasis::ui

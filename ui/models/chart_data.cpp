#include "ui/models/chart_data.h"

#include <QCoreApplication>
#include <algorithm>
#include <map>
#include <set>

namespace krasis::ui {
namespace {

using results::Metric;
using results::RunSummary;

QString tr(const char* text) { return QCoreApplication::translate("ChartData", text); }

bool is_ranked(const RunSummary& summary, const Metric RunSummary::*metric) {
  return summary.run.verdict.verdict != results::Verdict::Fail && (summary.*metric).statistics.n > 0;
}

/// What identifies a run's series: the parameters other than LGS that differ between `runs`, as text.
class SeriesNames {
 public:
  explicit SeriesNames(const std::vector<const RunSummary*>& runs) {
    std::map<std::string, std::set<std::string>> values;
    std::set<std::string> models;
    for (const auto* run : runs) {
      models.insert(run->run.model.name);
      for (const auto& value : results::describe(run->run.parameters)) {
        if (applies(value)) values[std::string(value.name)].insert(value.value);
      }
    }
    model_varies_ = models.size() > 1;
    for (const auto& [name, set] : values) {
      if (set.size() > 1 && name != "lgs" && name != "prompt_fingerprint") varying_.insert(name);
    }
    only_format_ = std::count_if(varying_.begin(), varying_.end(), is_format) == 1;
  }

  QString of(const RunSummary& summary) const {
    QStringList parts;
    if (model_varies_) parts << QString::fromStdString(summary.run.model.name);
    for (const auto& value : results::describe(summary.run.parameters)) {
      if (!applies(value) || !varying_.contains(std::string(value.name))) continue;
      QString title = QString::fromUtf8(value.title.data(), static_cast<qsizetype>(value.title.size()));
      if (is_format(value.name)) title = only_format_ ? QString() : title.remove(QStringLiteral(" format"));
      const QString text = QString::fromStdString(value.value);
      parts << QStringLiteral("%1 %2").arg(title, value.name == "hcs" ? text.toLower() : text).trimmed();
    }
    return parts.isEmpty() ? QString::fromStdString(summary.run.model.name) : parts.join(QStringLiteral(", "));
  }

 private:
  /// A cache's share and policy are "-" in a run without a cache: no difference of their own.
  static bool applies(const results::ParameterValue& value) { return value.value != "-"; }

  static bool is_format(std::string_view name) { return name.ends_with("_format"); }

  bool model_varies_ = false;
  bool only_format_ = false;  ///< one kind of format varies: "INT4" says enough
  std::set<std::string> varying_;
};

ChartData by_lgs(const std::vector<RunSummary>& runs, const Metric RunSummary::*metric) {
  std::vector<const RunSummary*> ranked;
  for (const auto& summary : runs) {
    if (is_ranked(summary, metric)) ranked.push_back(&summary);
  }
  const SeriesNames names(ranked);
  std::set<std::int64_t> lgs;
  std::map<QString, std::map<std::int64_t, const RunSummary*>> newest;
  for (const auto* summary : ranked) {
    lgs.insert(summary->run.parameters.lgs);
    auto& slot = newest[names.of(*summary)][summary->run.parameters.lgs];
    if (!slot || slot->run.created_at <= summary->run.created_at) slot = summary;
  }
  ChartData data;
  data.x_title = tr("LGS (layers in a group)");
  for (const auto value : lgs) data.categories << QString::number(value);
  for (const auto& [name, points] : newest) {
    ChartSeries series{name, {}};
    for (const auto& [value, summary] : points) {
      const auto& figure = summary->*metric;
      series.points.push_back(
          {QString::number(value), figure.value, figure.statistics.stddev.value_or(0.0), summary->run.id});
    }
    data.series.push_back(std::move(series));
  }
  return data;
}

}  // namespace

ChartData prefill_chart(const std::vector<RunSummary>& runs) {
  ChartData data = by_lgs(runs, &RunSummary::prefill_tokens_per_second);
  data.title = tr("Prefill by configuration");
  data.y_title = tr("Prefill (tok/s)");
  return data;
}

ChartData decode_chart(const std::vector<RunSummary>& runs) {
  ChartData data = by_lgs(runs, &RunSummary::decode_tokens_per_second);
  data.title = tr("Decode against LGS");
  data.y_title = tr("Decode (tok/s)");
  return data;
}

}  // namespace krasis::ui

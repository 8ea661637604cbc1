#include "engine/config/parameters.h"
#include "results_db/exchange.h"
#include "results_db/number_text.h"

namespace krasis::results {

namespace {

/// RFC 4180: quoted when it holds a comma, a quote or a line break.
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

class Line {
 public:
  void add(const std::string& text) {
    if (!empty_) text_ += ',';
    empty_ = false;
    text_ += quoted(text);
  }
  void add(double value) { add(exact(value)); }
  void add(std::int64_t value) { add(std::to_string(value)); }
  template <class T>
  void add(const std::optional<T>& value) {
    if (value) {
      add(*value);
    } else {
      add(std::string());
    }
  }
  std::string finish() const { return text_ + "\r\n"; }

 private:
  std::string text_;
  bool empty_ = true;
};

constexpr std::pair<const char*, Metric RunSummary::*> kMetrics[] = {
    {"prefill_tokens_per_second", &RunSummary::prefill_tokens_per_second},
    {"ttft_s", &RunSummary::ttft_s},
    {"decode_tokens_per_second", &RunSummary::decode_tokens_per_second},
    {"ms_per_token", &RunSummary::ms_per_token}};

}  // namespace

std::string export_csv(std::span<const RunSummary> runs) {
  Line heading;
  for (const char* name :
       {"uuid", "created_at", "sweep", "model", "model_fingerprint", "synthetic", "machine", "build"}) {
    heading.add(std::string(name));
  }
  for (const Parameter* parameter : stored_parameters()) heading.add(std::string(parameter->name));
  heading.add(std::string("prompt_fingerprint"));
  for (const char* name : {"status", "verdict", "verdict_figure", "verdict_value", "verdict_threshold", "cause"}) {
    heading.add(std::string(name));
  }
  for (const auto& [metric, member] : kMetrics) {
    for (const char* part : {"n", "mean", "median", "stddev", "min", "max", "ci95_low", "ci95_high"}) {
      heading.add(std::string(metric) + "_" + part);
    }
  }
  heading.add(std::string("disturbance"));
  heading.add(std::string("tags"));
  heading.add(std::string("note"));
  std::string csv = heading.finish();
  for (const RunSummary& summary : runs) {
    const RunRecord& run = summary.run;
    Line line;
    line.add(run.uuid);
    line.add(run.created_at);
    line.add(run.sweep);
    line.add(run.model.name);
    line.add(run.model.fingerprint);
    line.add(std::int64_t{run.model.synthetic ? 1 : 0});
    line.add(run.environment ? run.environment->machine : std::string());
    line.add(run.environment ? run.environment->build : std::string());
    for (const Parameter* parameter : stored_parameters()) {
      std::visit([&](const auto& value) { line.add(value); }, parameter->value(run.parameters));
    }
    line.add(run.parameters.prompt_fingerprint);
    line.add(std::string(name_of(run.status)));
    line.add(std::string(name_of(run.verdict.verdict)));
    line.add(run.verdict.figure);
    line.add(run.verdict.value);
    line.add(run.verdict.threshold);
    line.add(run.failure.cause);
    for (const auto& [name, member] : kMetrics) {
      const Statistics& s = (summary.*member).statistics;
      const auto if_any = [&](double value) { return s.n > 0 ? std::optional(value) : std::nullopt; };
      line.add(static_cast<std::int64_t>(s.n));
      line.add(if_any(s.mean));
      line.add(if_any(s.median));
      line.add(s.stddev);
      line.add(if_any(s.min));
      line.add(if_any(s.max));
      line.add(s.confidence95 ? std::optional(s.confidence95->low) : std::nullopt);
      line.add(s.confidence95 ? std::optional(s.confidence95->high) : std::nullopt);
    }
    line.add(run.disturbance);
    std::string tags;
    for (const std::string& tag : run.tags) tags += (tags.empty() ? "" : ";") + tag;
    line.add(tags);
    line.add(run.note);
    csv += line.finish();
  }
  return csv;
}

Expected<std::string> export_repetitions_csv(Database& database, const RunFilter& filter) {
  KRASIS_TRY(const auto runs, database.runs(filter));
  std::string csv = "uuid,model,warm_up,index,measured_at,prefill_tokens,prefill_s,ttft_s,decode_tokens,decode_s\r\n";
  for (const RunRecord& run : runs) {
    KRASIS_TRY(const auto repetitions, database.repetitions(run.id));
    for (const Repetition& r : repetitions) {
      Line line;
      line.add(run.uuid);
      line.add(run.model.name);
      line.add(std::int64_t{r.warm_up ? 1 : 0});
      line.add(std::int64_t{r.index});
      line.add(r.measured_at);
      line.add(r.prefill_tokens);
      line.add(r.prefill_s);
      line.add(r.ttft_s);
      line.add(r.decode_tokens);
      line.add(r.decode_s);
      csv += line.finish();
    }
  }
  return csv;
}

}  // namespace krasis::results
